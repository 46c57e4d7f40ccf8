"""A manifest: one row a recording, as CSV (TSV) or Parquet.

Columns: ``url`` or ``path`` (relative to the manifest's folder), and optionally ``filename``, ``account``,
``non_speech``, ``min_speakers``, ``max_speakers``, ``language``, ``prompt``, ``keyterms`` (separated by ``;``), ``task``,
``strict``, ``audio_track``. All others are stored with the file unchanged. A row that cannot be used is a `Problem` with
its line; the others continue.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from flows.archives.sources.entries import Entry, Problem, filename_of
from schemas.api.options import LAST_AUDIO_TRACK, RecognizeBody
from schemas.api.parsing import first_problem
from schemas.domain import JobOptions, RecognizeOptions, SpeakerHint
from schemas.errors import InvalidRequest, NotFound
from schemas.settings import LimitSettings

SUFFIXES = (".csv", ".tsv", ".parquet")
_LOCATIONS = ("url", "path")
_OPTIONS = frozenset(
    {"non_speech", "min_speakers", "max_speakers", "language", "prompt", "keyterms", "task", "strict", "audio_track"}
)
_OWN = frozenset({*_LOCATIONS, "filename", "account", *_OPTIONS})
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no", ""})
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ADDRESS = re.compile(r"(?:s3|https?)://[^/\s]+/\S*|https?://[^/\s]+", re.IGNORECASE)
_ROWS_AT_ONCE = 1000
_OWN_BYTES = 16_000


@dataclass(frozen=True, slots=True)
class ManifestSource:
    """``default`` are the options where a row sets none. Raises InvalidRequest for a broken manifest."""

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
        # Invalid UTF-8 becomes surrogates, so that only its own row is lost.
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
        """The entry of a row, or what is wrong with it."""
        given = [(name, str(row[name]).strip()) for name in _LOCATIONS if row.get(name) not in (None, "")]
        if len(given) != 1:
            return "it names a url and a path; give one" if given else "it names neither url nor path"
        location = self._location(*given[0])
        if location is None:
            return f"{given[0][1]!r} is no http://, https:// or s3:// address"
        if self._leads_out(location):
            return f"{given[0][1]!r} lies outside of the manifest's folder; FLUXIONS_MANIFEST_ANYWHERE=true allows it"
        account = str(row.get("account") or "").strip()
        if account and not _ACCOUNT.fullmatch(account):
            return f"account: {account!r} is none; letters, digits, dot, hyphen and underscore, 64 at most"
        try:
            options = self._options(row)
        except ValueError as error:
            return str(error)
        own = orjson.dumps({n: v for n, v in row.items() if n not in _OWN and v is not None}, default=str)
        if len(own) > _OWN_BYTES:
            return f"its own columns take {len(own)} bytes; {_OWN_BYTES} at most are stored"
        name = str(row.get("filename") or "").strip() or filename_of(location)
        return Entry(location, name, account or None, options, orjson.loads(own), place)

    def _location(self, column: str, given: str) -> str | None:
        if "://" in given or column == "url":
            return given if _ADDRESS.fullmatch(given) else None
        return str((self.path.absolute().parent / given).resolve())

    def _leads_out(self, location: str) -> bool:
        """Whether it is a path out of the manifest's folder, links followed."""
        if "://" in location or LimitSettings().manifest_anywhere:
            return False
        return not Path(location).is_relative_to(self.path.absolute().parent.resolve())

    def _options(self, row: Mapping[str, Any]) -> JobOptions | None:
        """The row's options; None where it sets none. Raises ValueError that names the column."""
        cells = {name: str(row[name]).strip() for name in _OWN if row.get(name) not in (None, "")}
        if not cells.keys() & _OPTIONS:
            return None
        least = _number(cells, "min_speakers", self.default.speakers.least, 1, 100)
        most = _number(cells, "max_speakers", self.default.speakers.most, 1, 100)
        if most is not None and most < (least or 1):
            raise ValueError(f"max_speakers: {most} is less than min_speakers, {least}")
        return JobOptions(
            non_speech=_flag(cells, "non_speech", default=self.default.non_speech),
            speakers=SpeakerHint(least or 1, most),
            recognize=_recognize(cells, self.default.recognize),
            strict=_flag(cells, "strict", default=self.default.strict),
            audio_track=_number(cells, "audio_track", self.default.audio_track, 0, LAST_AUDIO_TRACK),
        )


def _flag(cells: dict[str, str], name: str, *, default: bool) -> bool:
    word = cells.get(name, str(default)).lower()
    if word not in _YES | _NO:
        raise ValueError(f"{name}: {word!r} is neither true nor false")
    return word in _YES


def _recognize(cells: dict[str, str], default: RecognizeOptions) -> RecognizeOptions:
    given: dict[str, Any] = {name: cells[name] for name in ("language", "prompt", "task") if name in cells}
    if "keyterms" in cells:
        given["keyterms"] = [term.strip() for term in cells["keyterms"].split(";") if term.strip()]
    try:
        return RecognizeBody.model_validate({**asdict(default), **given}).value()
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def _number(cells: dict[str, str], name: str, default: int | None, least: int, most: int) -> int | None:
    if name not in cells:
        return default
    text = cells[name].removesuffix(".0")
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"{name}: {cells[name]!r} is no whole number from {least} to {most}")
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
