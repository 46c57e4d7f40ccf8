"""One entry of an archive's source, and what is wrong with one that cannot be worked on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from schemas.domain import JobOptions, SpeakerHint


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording by where it lies. ``account`` and ``options`` are None where the run's own apply.

    ``location`` is an absolute path, or an ``s3://``, ``http://`` or ``https://`` address: with the account it is the
    entry's identity. ``place`` is where a manifest names it (``line 7``), for people.
    """

    location: str
    filename: str
    account: str | None = None
    options: JobOptions | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    place: str = ""
    version: str = ""
    """Changes when the bytes do; empty where listing the source does not tell it."""

    def to_json(self) -> dict[str, Any]:
        options = None
        if self.options is not None:
            speakers = self.options.speakers
            options = [self.options.non_speech, speakers.least, speakers.most]
        return {
            "location": self.location,
            "filename": self.filename,
            "account": self.account,
            "options": options,
            "metadata": self.metadata,
            "place": self.place,
            "version": self.version,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Entry:
        found = data["options"]
        options = None if found is None else JobOptions(found[0], SpeakerHint(found[1], found[2]))
        return cls(**{**data, "options": options})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something named by a source that is no entry: a line that cannot be read, a folder that may not be opened."""

    location: str
    code: str
    message: str
    place: str = ""


class Source(Protocol):
    """A stream of entries. Iterating blocks on disk or network, so it belongs in a thread."""

    def __iter__(self) -> Iterator[Entry | Problem]: ...


def filename_of(location: str) -> str:
    """The last part of a path or address, without query; ``audio`` where there is none."""
    path = unquote(urlsplit(location).path) if "://" in location else location
    return PurePosixPath(path).name or "audio"
