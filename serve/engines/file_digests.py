"""SHA-256 of large files, cached while a file's size and modification time stay the same."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class DigestCache:
    """Digests in one JSON file, ``{real path: [mtime_ns, size_bytes, sha256]}``; several processes may share it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def sha256(self, path: Path) -> str:
        """The digest of ``path`` in hex. Raises OSError for a file that cannot be read."""
        (digest,) = self.sha256_of([path])
        return digest

    def sha256_of(self, paths: list[Path]) -> list[str]:
        """The digests of ``paths`` in hex, in order. Raises OSError for a file that cannot be read."""
        known, found = self._read(), {}
        digests = []
        for path in paths:
            real = path.resolve()
            stat = real.stat()
            stamp = [stat.st_mtime_ns, stat.st_size]
            old = known.get(str(real))
            entry = old if old and old[:2] == stamp else [*stamp, file_sha256(real)]
            found[str(real)] = entry
            digests.append(str(entry[2]))
        if any(known.get(name) != entry for name, entry in found.items()):
            self._write(known | found)
        return digests

    def remember(self, path: Path, sha256: str) -> None:
        """Record a digest that was computed while the file was written."""
        real = path.resolve()
        stat = real.stat()
        self._write(self._read() | {str(real): [stat.st_mtime_ns, stat.st_size, sha256]})

    def _read(self) -> dict[str, list[Any]]:
        try:
            found = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, entries: Mapping[str, list[Any]]) -> None:
        """Replace the file atomically; an entry that another writer overwrites is computed again later."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        draft.write_text(json.dumps(entries))
        draft.replace(self._file)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hex, read now. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
