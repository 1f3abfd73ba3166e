"""A hub in a folder, on the loopback address: the few requests that sending and fetching a repository make."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub(BaseHTTPRequestHandler):
    """Repositories are folders ``KIND/OWNER/NAME/COMMIT``; the newest commit stands in ``main``."""

    folder: Path
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:3] == ["api", "repos", "create"]:
            asked = json.loads(body)
            owner = asked.get("organization") or "me"
            place = self.folder / f"{asked.get('type') or 'model'}s" / owner / asked["name"]
            place.mkdir(parents=True, exist_ok=True)
            kind = "datasets/" if asked.get("type") == "dataset" else ""
            self._answer({"url": f"http://{self.headers['Host']}/{kind}{owner}/{asked['name']}"})
        elif parts == ["api", "validate-yaml"]:
            self._answer({"errors": [], "warnings": []})
        elif "preupload" in parts:
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._answer({"files": [{**file, "shouldIgnore": False, "oid": None} for file in files]})
        elif "commit" in parts:
            self._commit(self.folder.joinpath(*parts[1:4]), [json.loads(line) for line in body.splitlines()])
        else:
            self._answer({}, 404)

    def _commit(self, place: Path, lines: list[dict[str, Any]]) -> None:
        files = {x["value"]["path"]: base64.b64decode(x["value"]["content"]) for x in lines if x["key"] == "file"}
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        for name, content in files.items():
            path = place / commit / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (place / "main").write_text(commit)
        kind = "datasets/" if place.parts[-3] == "datasets" else ""
        url = f"http://{self.headers['Host']}/{kind}{'/'.join(place.parts[-2:])}/commit/{commit}"
        self._answer({"success": True, "commitOid": commit, "commitUrl": url})

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[0] == "api":
            kind, owner, name = parts[1:4]
            place = self.folder / kind / owner / name
            if not place.is_dir():
                return self._answer({"error": "no such repository"}, 404, "RepoNotFound")
            if len(parts) > 5:
                return self._listed(place, parts[4], parts[5])
            return self._answer({"id": f"{owner}/{name}", "sha": (place / "main").read_text(), "siblings": []})
        if parts[0] != "datasets":
            parts = ["models", *parts]
        kind, owner, name, _, commit, *rest = parts
        path = self.folder.joinpath(kind, owner, name, commit, *rest)
        if not path.is_file():
            return self._answer({}, 404, "EntryNotFound")
        content = path.read_bytes()
        self._send(content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit})

    do_HEAD = do_GET

    def _listed(self, place: Path, what: str, revision: str) -> None:
        commit = (place / "main").read_text() if revision == "main" else revision
        if not (place / commit).is_dir():
            return self._answer({"error": "no such commit"}, 404, "RevisionNotFound")
        files = [path for path in sorted((place / commit).rglob("*")) if path.is_file()]
        names = [path.relative_to(place / commit).as_posix() for path in files]
        if what == "tree":
            sizes = [path.stat().st_size for path in files]
            tree = [
                {"type": "file", "path": name, "size": size, "oid": "0" * 40}
                for name, size in zip(names, sizes, strict=True)
            ]
            return self._answer(tree)
        owner = "/".join(place.parts[-2:])
        self._answer({"id": owner, "sha": commit, "siblings": [{"rfilename": name} for name in names]})

    def _answer(self, value: Any, status: int = 200, error: str = "") -> None:
        headers = {"Content-Type": "application/json", **({"X-Error-Code": error} if error else {})}
        self._send(json.dumps(value).encode(), headers, status)

    def _send(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def hub_in(folder: Path) -> Iterator[str]:
    """The hub's address, while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHere", (Hub,), {"folder": folder}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
