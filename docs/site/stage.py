"""The site's sources in one folder: the Markdown of the repository, and the pages that are made from the code."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from docs.site.pages import ROOT, pages

BESIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "steer_env/assets/tiles-generator/README.md": "cards/generator.md",
    "steer_env/assets/tiles-metric/README.md": "cards/metric.md",
    "steer_env/assets/tiles-predictor/README.md": "cards/predictor.md",
}
"""Pages outside docs/ → where they stand on the site."""
_PICTURES = (".png", ".svg", ".gif", ".jpg")
_TREE = re.compile(r"```{toctree}\n(.*?)```", flags=re.DOTALL)
_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def sources() -> dict[Path, Path]:
    """Each Markdown file of the site → where it is staged, below the site's root."""
    docs = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
    staged = {path: path.relative_to(ROOT / "docs") for path in docs}
    return staged | {ROOT / name: Path(place) for name, place in BESIDE.items() if (ROOT / name).exists()}


def stage(folder: Path) -> None:
    """Write all sources; files that haven't changed keep their time, so that Sphinx reads only the others."""
    staged = sources()
    texts = {place: _linked(path, staged) for path, place in staged.items()}
    files = {target for path in staged for target in _files(path, staged)}
    texts |= {_page_of(path): _source(path) for path in files}
    texts |= {Path(f"{name}.md"): write() for name, write in pages().items()}
    texts[Path("source/index.md")] = _source_index(files)
    _adopt(texts)
    for place, text in texts.items():
        _write(folder / place, text)
    for path, place in staged.items():
        for picture in _pictures(path):
            (folder / place.parent / picture).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path.parent / picture, folder / place.parent / picture)
    known = {folder / place for place in texts}
    for old in folder.rglob("*.md"):
        if old not in known:
            old.unlink()


def _adopt(texts: dict[Path, str]) -> None:
    """Give a place to pages of docs/ that no page lists: a folder's below its README, the others below howto."""
    listed = {
        os.path.normpath(place.parent / line)
        for place, text in texts.items()
        for block in _TREE.findall(text)
        for line in block.splitlines()
    }
    for place in sorted(texts):
        parent = place.parent / "README.md" if place.parent != Path() else Path("howto.md")
        if (
            place not in (parent, Path("index.md"))
            and parent in texts
            and place.with_suffix("").as_posix() not in listed
        ):
            texts[parent] += f"\n```{{toctree}}\n:hidden:\n\n{place.stem}\n```\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _linked(path: Path, staged: dict[Path, Path]) -> str:
    """A page's text, with links that lead to where the files are staged."""
    here = staged[path].parent

    def mended(match: re.Match[str]) -> str:
        target = (path.parent / match[2]).resolve()
        if target == ROOT / "README.md":
            place = Path("index.md")
        elif target in staged:
            place = staged[target]
        elif _is_source(target):
            place = _page_of(target)
        else:
            return match[0]
        return f"{match[1]}{os.path.relpath(place, here)}{match[3]}"

    return _LINK.sub(mended, path.read_text())


def _files(path: Path, staged: dict[Path, Path]) -> set[Path]:
    """Files of the repository that a page links to, and that aren't pages or pictures."""
    targets = {(path.parent / match[2]).resolve() for match in _LINK.finditer(path.read_text())}
    return {target for target in targets if target not in staged and _is_source(target)}


def _pictures(path: Path) -> set[str]:
    """Links of a page to pictures; they keep their place beside it."""
    links = {match[2] for match in _LINK.finditer(path.read_text())}
    return {link for link in links if Path(link).suffix in _PICTURES and (path.parent / link).is_file()}


def _is_source(target: Path) -> bool:
    return target.is_file() and target.suffix not in _PICTURES and target != ROOT / "README.md"


def _page_of(path: Path) -> Path:
    return Path("source") / f"{path.relative_to(ROOT)}.md"


def _source(path: Path) -> str:
    language = {".py": "python", ".sh": "bash", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}
    name = path.relative_to(ROOT).as_posix()
    block = f"````{{code-block}} {language.get(path.suffix, 'text')}\n{path.read_text()}````"
    return f"---\norphan: true\n---\n# {name}\n\n{block}\n"


def _source_index(files: set[Path]) -> str:
    names = sorted(path.relative_to(ROOT).as_posix() for path in files)
    return "\n".join(
        ["# Files", "", "Files of the repository that these pages name.", "", "```{toctree}", *names, "```"]
    )
