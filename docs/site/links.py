"""Links inside the built site, checked without a network."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Collects what a page links to, and the places in it that can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.places.update(value for name in ("id", "name") if (value := values.get(name)))
        link = values.get("href" if tag in ("a", "link") else "src")
        if link and tag != "link":
            self.links.append(link)


def dead_links(folder: Path) -> list[str]:
    """``PAGE: LINK`` for each link from a page of the folder to a file or a place that isn't there."""
    pages: dict[Path, _Page] = {}
    for path in sorted(folder.rglob("*.html")):
        if "_static" in path.parts:
            continue
        pages[path.resolve()] = page = _Page()
        page.feed(path.read_text())
    dead = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link in ("#", "#top"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target in pages and parts.fragment and unquote(parts.fragment) in pages[target].places
            if not (known if target in pages and parts.fragment else target.exists()):
                dead.append(f"{path.relative_to(folder.resolve())}: {link}")
    return dead
