"""A model hub on this machine: repositories as folders, in the shapes that huggingface_hub asks for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE_BYTES = 10_000


@dataclass
class FakeHub:
    """`repositories` by name; those in `gated` ask for a login. `requests` are what came: method, path, range."""

    repositories: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    lies: set[str] = field(default_factory=set)
    """Files that are published with another hash than they have."""
    strangers: tuple[str, ...] = ()
    """Files that are listed, and are none of the repository's."""
    endless: bool = False
    """Large files never end."""
    breaks: int = 0
    """So many of the next answers with a large file end a little behind where they begin."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def fetched(self) -> set[str]:
        """Names of the files whose content was asked for."""
        return {
            path.rsplit(f"/resolve/{COMMIT}/", 1)[1]
            for method, path, _ in self.requests
            if method == "GET" and "/resolve/" in path
        }

    def listing(self, name: str) -> dict[str, object]:
        folder = self.repositories[name]
        rows: list[dict[str, object]] = []
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            relative, size = file.relative_to(folder).as_posix(), file.stat().st_size
            row: dict[str, object] = {"rfilename": relative, "size": size, "blobId": "b" * 40}
            if size > _LARGE_BYTES:
                digest = "0" * 64 if relative in self.lies else _sha256(file)
                row["lfs"] = {"sha256": digest, "size": size, "pointerSize": 130}
            rows.append(row)
        rows += [{"rfilename": stranger, "size": 5, "blobId": "b" * 40} for stranger in self.strangers]
        return {"id": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "likes": 0, "siblings": rows}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer on a free port of this machine for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path, self.headers.get("Range", "")))
            parts = path.removeprefix("/api/models/").strip("/").split("/")
            name = "/".join(parts[:2])
            if name not in hub.repositories:
                self._send(404, {"X-Error-Code": "RepoNotFound"}, b"{}")
            elif name in hub.gated and "/resolve/" in path:
                self._send(403, {"X-Error-Code": "GatedRepo"}, b"{}")
            elif path.startswith("/api/"):
                self._send(200, {"Content-Type": "application/json"}, json.dumps(hub.listing(name)).encode())
            else:
                self._file(hub.repositories[name] / "/".join(parts[4:]))

        def _file(self, file: Path) -> None:
            content = file.read_bytes()
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
            rest = content[start:]
            headers = {"ETag": f'"{_sha256(file)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206 if start else 200, headers, rest)

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            endless = hub.endless and len(body) > _LARGE_BYTES
            for name, value in {**headers, "Content-Length": str(len(body) << 30 if endless else len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET" and hub.breaks and len(body) > _LARGE_BYTES:
                hub.breaks -= 1
                self.wfile.write(body[: 0 if hub.breaks > 10 else 40_000])
                self.close_connection = True
            elif self.command == "GET":
                with suppress(OSError):  # who asked may have had enough
                    self.wfile.write(body)
                    while endless:
                        self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
