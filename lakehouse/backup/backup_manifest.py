"""The contents of a backup: table versions, and for each file its path and the digest of its content."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.errors import DamagedObject


@dataclass(frozen=True, slots=True)
class BackedUpFile:
    """A file of the storage root.

    ``mark`` changes whenever the file is written: its ETag, or the time of the last write where the store has none.
    """

    path: str
    sha256: str
    size_bytes: int
    mark: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup. ``tables``: Delta version by table. ``missing``: paths that rows name and that did not exist."""

    name: str
    format: int
    tables: Mapping[str, int]
    entries: tuple[BackedUpFile, ...]
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    """Recordings whose content does not have the digest in their name. The backup has them unchanged."""

    @property
    def size_bytes(self) -> int:
        """Size of all files."""
        return sum(entry.size_bytes for entry in self.entries)

    def dumps(self) -> bytes:
        """As compressed JSON."""
        return gzip.compress(orjson.dumps(self), compresslevel=6)

    @classmethod
    def loads(cls, data: bytes) -> Manifest:
        """The inverse of `dumps`. Raises DamagedObject."""
        try:
            found: dict[str, Any] = orjson.loads(gzip.decompress(data))
            entries = tuple(BackedUpFile(**one) for one in found.pop("entries"))
            missing, damaged = tuple(found.pop("missing")), tuple(found.pop("damaged"))
            return cls(**found, entries=entries, missing=missing, damaged=damaged)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise DamagedObject("the manifest of the backup is damaged; restore an earlier one with --at") from error
