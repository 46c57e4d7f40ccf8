"""A manifest: one row a recording, as CSV (TSV) or Parquet.

Columns: ``url`` or ``path`` (a path counts from the manifest's folder), and as one likes ``filename``, ``account``,
``non_speech``, ``min_speakers``, ``max_speakers``. All others are the owner's own and are kept with the file.
A row that cannot be used is a `Problem` with its line; the others go on.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from flows.sources.entries import Entry, Problem, filename_of
from schemas.domain import JobOptions, SpeakerHint
from schemas.errors import InvalidRequest, NotFound

SUFFIXES = (".csv", ".tsv", ".parquet")
_LOCATIONS = ("url", "path")
_OWN = frozenset({*_LOCATIONS, "filename", "account", "non_speech", "min_speakers", "max_speakers"})
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no", ""})
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ADDRESS = re.compile(r"(?:s3|https?)://[^/\s]+/\S*|https?://[^/\s]+", re.IGNORECASE)
_ROWS_AT_ONCE = 1000
_OWN_BYTES = 16_000


@dataclass(frozen=True, slots=True)
class ManifestSource:
    """``default`` are the options of a row that says nothing of its own. Raises InvalidRequest for a broken manifest."""

    path: Path
    default: JobOptions

    def __iter__(self) -> Iterator[Entry | Problem]:
        seen: dict[bytes, str] = {}
        rows = self._parquet() if self.path.suffix.lower() == ".parquet" else self._csv()
        for place, row in rows:
            found = row if isinstance(row, str) else self._read(row, place)
            if isinstance(found, str):
                yield Problem(f"{self.path}#{place.replace(' ', '')}", "invalid_row", found, place)
                continue
            identity = hashlib.blake2b(f"{found.account}\0{found.location}".encode(), digest_size=16).digest()
            first = seen.setdefault(identity, place)
            if first != place:
                message = f"{found.location} stands at {first} already"
                yield Problem(f"{self.path}#{place.replace(' ', '')}", "duplicate_path", message, place)
            else:
                yield found

    def _csv(self) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
        """(line, row) or (line, what is wrong with it); a row's line is its last."""
        delimiter = "\t" if self.path.suffix.lower() == ".tsv" else ","
        # Bytes that are no UTF-8 become surrogates, so that only their own row is lost.
        with self._open() as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check(self.path, header)
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield f"line {reader.line_num}", f"the line is no CSV: {error}"
                    continue
                place = f"line {reader.line_num}"
                if not cells:
                    continue
                if len(cells) != len(header):
                    yield place, f"it has {len(cells)} fields, and the header has {len(header)}"
                elif any(_broken(cell) for cell in cells):
                    yield place, "it is not UTF-8"
                else:
                    yield place, dict(zip(header, cells, strict=True))

    def _open(self) -> Any:
        try:
            return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
        except FileNotFoundError:
            raise NotFound(f"there is no manifest {self.path}", code="no_such_source", param="source") from None
        except OSError as error:
            raise _unreadable(self.path, error.strerror or str(error)) from error

    def _parquet(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                _check(self.path, file.schema_arrow.names)
                number = 0
                for batch in file.iter_batches(_ROWS_AT_ONCE):
                    for row in batch.to_pylist():
                        number += 1
                        yield f"row {number}", row
        except FileNotFoundError:
            raise NotFound(f"there is no manifest {self.path}", code="no_such_source", param="source") from None
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, str(error).splitlines()[0]) from error

    def _read(self, row: Mapping[str, Any], place: str) -> Entry | str:
        """The entry a row means, or what is wrong with it."""
        given = [(name, str(row[name]).strip()) for name in _LOCATIONS if row.get(name) not in (None, "")]
        if len(given) != 1:
            return "it names a url and a path; give one" if given else "it names neither url nor path"
        location = self._location(*given[0])
        if location is None:
            return f"{given[0][1]!r} is no http://, https:// or s3:// address"
        account = str(row.get("account") or "").strip()
        if account and not _ACCOUNT.fullmatch(account):
            return f"account: {account!r} is none; letters, digits, dot, hyphen and underscore, 64 at most"
        try:
            options = self._options(row)
        except ValueError as error:
            return str(error)
        own = orjson.dumps({n: v for n, v in row.items() if n not in _OWN and v is not None}, default=str)
        if len(own) > _OWN_BYTES:
            return f"its own columns take {len(own)} bytes; {_OWN_BYTES} at most are kept"
        name = str(row.get("filename") or "").strip() or filename_of(location)
        return Entry(location, name, account or None, options, orjson.loads(own), place)

    def _location(self, column: str, given: str) -> str | None:
        if "://" in given or column == "url":
            return given if _ADDRESS.fullmatch(given) else None
        return str((self.path.absolute().parent / given).resolve())

    def _options(self, row: Mapping[str, Any]) -> JobOptions | None:
        """None where the row says nothing. Raises ValueError that names the column."""
        said = {name: str(row[name]).strip() for name in _OWN if row.get(name) not in (None, "")}
        if not said.keys() & {"non_speech", "min_speakers", "max_speakers"}:
            return None
        word = said.get("non_speech", str(self.default.non_speech)).lower()
        if word not in _YES | _NO:
            raise ValueError(f"non_speech: {word!r} is neither true nor false")
        least = _count(said, "min_speakers", self.default.speakers.least)
        most = _count(said, "max_speakers", self.default.speakers.most)
        if most is not None and most < (least or 1):
            raise ValueError(f"max_speakers: {most} is less than min_speakers, {least}")
        return JobOptions(word in _YES, SpeakerHint(least or 1, most))


def _count(said: dict[str, str], name: str, default: int | None) -> int | None:
    if name not in said:
        return default
    text = said[name].removesuffix(".0")
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise ValueError(f"{name}: {said[name]!r} is no whole number from 1 to 100")
    return int(text)


def _check(path: Path, header: list[str]) -> None:
    if not any(header):
        raise InvalidRequest(f"{path} is empty: it has no header line", code="manifest_columns", param="source")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InvalidRequest(f"{path} has two columns `{twice[0]}`", code="manifest_columns", param="source")
    if not set(_LOCATIONS) & set(header):
        named = ", ".join(f"`{name}`" for name in header)
        raise InvalidRequest(
            f"{path} has no column `url` or `path`; its columns are {named}", code="manifest_columns", param="source"
        )


def _broken(cell: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in cell)


def _unreadable(path: Path, why: str) -> InvalidRequest:
    return InvalidRequest(f"{path} cannot be read as a manifest: {why}", code="unreadable_manifest", param="source")
