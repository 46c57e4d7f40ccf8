"""A model hub on loopback, with the part of its HTTP API that the client needs to download a model.

https://huggingface.co/docs/hub/api: a revision resolves to a commit, a commit lists its files. For a file, HEAD returns
size and etag, and GET its bytes, also from an offset.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_PATH = re.compile(
    r"/(?:api/models/)?(?P<name>[^/]+/[^/]+)/(?P<what>revision|tree|resolve)/(?P<revision>[^/?]+)/?(?P<file>[^?]*)"
)


@dataclass
class Hub:
    """``repos``: folders by name. ``gated``: names that require consent. ``token``: the token that has given consent.

    ``cut``: bytes after which the next responses with a file break off, one entry a response. ``ranges``: requested
    ranges, "" for whole files.
    """

    repos: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = ""
    cut: list[int] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(_Handler):
        of = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    of: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self) -> None:
        asked = _PATH.match(self.path)
        folder = self.of.repos.get(asked["name"]) if asked else None
        if asked is None or folder is None:
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif asked["name"] in self.of.gated and self.headers.get("Authorization") != f"Bearer {self.of.token}":
            self._refuse(403, "GatedRepo", "Access to this model is restricted")
        elif asked["revision"] not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
        elif asked["what"] == "revision":
            self._json({"id": asked["name"], "sha": COMMIT, "siblings": [{"rfilename": name} for name in _names(folder)]})
        elif asked["what"] == "tree":
            self._json([_entry(folder, name) for name in _names(folder)])
        else:
            self._file(folder / asked["file"])

    def _file(self, path: Path) -> None:
        data = path.read_bytes()
        wanted = self.headers.get("Range", "")
        start = int(re.sub(r"\D.*", "", wanted.removeprefix("bytes=")) or 0)
        rest = data[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(rest)))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.of.ranges.append(wanted)
        whole = len(rest)
        if self.of.cut and self.of.cut[0] < whole:
            whole = self.of.cut.pop(0)
            self.close_connection = True
        self.wfile.write(rest[:whole])

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._json({"error": message}, status, {"X-Error-Code": code, "X-Error-Message": message})

    def _json(self, body: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _entry(folder: Path, name: str) -> dict[str, object]:
    data = (folder / name).read_bytes()
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": name, "size": len(data), "oid": blob}
