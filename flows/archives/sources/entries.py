"""One entry of an archive's source, or the problem with one that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes, urlsplit

from runtime.file_names import readable
from schemas.domain import JobOptions


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording and its location. ``account`` and ``options`` are None where those of the run apply.

    ``location`` is an absolute path, or an ``s3://``, ``http://`` or ``https://`` address; together with the account it
    identifies the entry. ``place`` is where a manifest lists it (``line 7``), for messages.
    """

    location: str
    filename: str
    account: str | None = None
    options: JobOptions | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    place: str = ""
    version: str = ""
    """Changes whenever the bytes change; empty where listing the source does not give it."""

    def to_json(self) -> dict[str, Any]:
        """As it travels in a batch."""
        return {
            "location": self.location,
            "filename": self.filename,
            "account": self.account,
            "options": None if self.options is None else asdict(self.options),
            "metadata": self.metadata,
            "place": self.place,
            "version": self.version,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Entry:
        """The inverse of `to_json`."""
        found = data["options"]
        options = None if found is None else JobOptions.from_json(found)
        return cls(**{**data, "options": options})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a source lists that cannot be used: a line that cannot be parsed, a folder that must not be opened."""

    location: str
    code: str
    message: str
    place: str = ""


class Source(Protocol):
    """A stream of entries. Iterating blocks on disk or network, so it belongs in a thread."""

    def __iter__(self) -> Iterator[Entry | Problem]: ...


def filename_of(location: str) -> str:
    """The last part of a path or address, without query; ``audio`` where there is none."""
    if (path := local_path(location)) is not None:
        return readable(path.name) or "audio"
    return PurePosixPath(unquote(urlsplit(location).path)).name or "audio"


def location_of(path: Path) -> str:
    """The location of an absolute path: itself, or a ``file://`` address where its bytes are no UTF-8 (RFC 8089)."""
    return str(path) if readable(str(path)) == str(path) else f"file://{quote_from_bytes(os.fsencode(path))}"


def local_path(location: str) -> Path | None:
    """The path of a location on this machine; None for other addresses."""
    if location.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(location.removeprefix("file://"))))
    return None if "://" in location else Path(location)
