"""Inputs of `fluxions transcribe`: files, folders of recordings, and web addresses, each opened as a stream."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import typer

from audio.decoding.refusals import reject_non_audio
from audio.decoding.sniff import HEAD_BYTES, SUPPORTED
from cli.output import note
from clients.public import Upload
from runtime.file_names import download_name, readable
from runtime.untrusted_urls import NO_URL, AddressRefused, check_encoding, client
from schemas.errors import FluxionsError, InvalidAudio, InvalidRequest
from schemas.settings import LimitSettings

_CHUNK_BYTES = 256 * 1024
_NAMED = 10
"""Number of skipped files that are named."""
_MEDIA_TYPES = {
    ".aac": "audio/aac",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
    ".caf": "audio/x-caf",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mka": "audio/x-matroska",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".w64": "audio/x-w64",
    ".wav": "audio/wav",
    ".webm": "audio/webm",
}


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file on this machine. ``relative`` is its path below the folder that was searched."""

    path: Path
    relative: Path

    @property
    def label(self) -> str:
        """The name of the source in messages."""
        return readable(str(self.path))

    @property
    def filename(self) -> str:
        """The name sent to the server."""
        return readable(self.path.name)

    @contextmanager
    def open(self) -> Iterator[Upload]:
        """The file's bytes. Raises OSError."""
        with self.path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            yield Upload(media_type(self.filename), size_bytes, iter(lambda: file.read(_CHUNK_BYTES), b""))


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A recording on the web; this machine downloads it and forwards it as it arrives."""

    url: str

    @property
    def label(self) -> str:
        """The name of the source in messages."""
        return self.url

    @property
    def filename(self) -> str:
        """The name sent to the server."""
        return download_name(self.url)

    @property
    def relative(self) -> Path:
        """The path its transcript gets in an output folder."""
        return Path(self.filename.replace("/", "_").replace("\\", "_"))

    @contextmanager
    def open(self) -> Iterator[Upload]:
        """Raises InvalidRequest when the download is refused, FluxionsError when it breaks."""
        try:
            fetching = client(allow_private=LimitSettings().fetch_private, timeout=httpx.Timeout(30.0))
            with fetching, fetching.stream("GET", self.url) as response:
                if not response.is_success:
                    raise InvalidRequest(f"{self.url} answered HTTP {response.status_code}", code="download_failed")
                check_encoding(response)
                kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
                length = response.headers.get("Content-Length", "")
                plain = not response.headers.get("Content-Encoding")
                size_bytes = int(length) if length.isascii() and length.isdecimal() and plain else None
                name = download_name(str(response.url), response.headers.get("Content-Disposition"))
                yield Upload(kind or media_type(name), size_bytes, self._chunks(response), name)
        except AddressRefused as error:
            raise InvalidRequest(
                f"{self.url} is, or leads to, an address that is not of the wide internet; "
                "FLUXIONS_FETCH_PRIVATE=true allows it",
                code="address_refused",
            ) from error
        except (httpx.RequestError, *NO_URL) as error:
            raise self._broken(error) from error

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        # The upload reads this within its own request; an error of the download must not look like one of the upload.
        try:
            yield from response.iter_bytes(_CHUNK_BYTES)
        except httpx.RequestError as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> FluxionsError:
        return FluxionsError(f"cannot download {self.url} ({type(error).__name__})", code="download_failed")


Source = FileSource | UrlSource


def find(arguments: Sequence[str]) -> list[Source]:
    """Sources in the given order, the contents of folders by name. Raises typer.BadParameter for a missing one."""
    found: list[Source] = []
    for argument in arguments:
        if argument.startswith(("http://", "https://")):
            found.append(UrlSource(argument))
            continue
        path = Path(argument)
        if path.is_dir():
            passed_over: list[tuple[Path, str]] = []
            inside = list(_walk(path, passed_over))
            if passed_over:
                _report(argument, passed_over)
            if not inside:
                raise typer.BadParameter(f"no recordings in {argument}; looked for {SUPPORTED}")
            found.extend(inside)
        elif path.is_file():
            found.append(FileSource(path, Path(path.name)))
        else:
            raise typer.BadParameter(f"{argument!r} is neither a file, a folder nor an http:// or https:// address")
    return found


def media_type(filename: str) -> str:
    """The media type of a file name."""
    known = _MEDIA_TYPES.get(Path(filename).suffix.lower())
    return known or mimetypes.guess_type(filename)[0] or "application/octet-stream"


def _walk(folder: Path, passed_over: list[tuple[Path, str]]) -> Iterator[FileSource]:
    """The recordings below ``folder``, by their first bytes as `fluxions archive run` knows them, and what is none."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith(".") or not path.is_file():
                continue
            if why := _why_none(path):
                passed_over.append((path, why))
            else:
                yield FileSource(path, path.relative_to(folder))


def _why_none(path: Path) -> str | None:
    """Why a file is no recording; None for one that may be. What cannot be read is left to the upload, which says so."""
    try:
        with path.open("rb") as file:
            reject_non_audio(file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size)
    except InvalidAudio as error:
        return "empty" if error.code == "empty_audio" else error.message.partition(",")[0].removeprefix("this is ")
    except OSError:
        return None
    return None


def _report(folder: str, passed_over: Sequence[tuple[Path, str]]) -> None:
    note(f"passed over in {readable(folder)}, which are no recordings: {len(passed_over)}")
    for path, why in passed_over[:_NAMED]:
        note(f"  {readable(str(path))}: {why}")
    if len(passed_over) > _NAMED:
        note(f"  and {len(passed_over) - _NAMED} more")
