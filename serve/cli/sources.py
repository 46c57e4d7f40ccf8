"""What `fluxions transcribe` may be given: files, folders of recordings, and web addresses; each opened as a stream."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import httpx
import typer

from schemas.errors import FluxionsError, InvalidRequest
from serve.cli.client import Upload

_CHUNK_BYTES = 256 * 1024
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
    """A file on this machine. ``relative`` is its place below the folder it was found in."""

    path: Path
    relative: Path

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def filename(self) -> str:
        return self.path.name

    @contextmanager
    def open(self) -> Iterator[Upload]:
        with self.path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            yield Upload(media_type(self.filename), size_bytes, iter(lambda: file.read(_CHUNK_BYTES), b""))


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A recording on the web; this machine downloads it and forwards it as it comes."""

    url: str

    @property
    def label(self) -> str:
        return self.url

    @property
    def filename(self) -> str:
        return PurePosixPath(unquote(urlsplit(self.url).path)).name or "audio"

    @property
    def relative(self) -> Path:
        return Path(self.filename.replace("/", "_").replace("\\", "_"))

    @contextmanager
    def open(self) -> Iterator[Upload]:
        """Raises InvalidRequest when the download is refused, FluxionsError when it breaks."""
        try:
            with httpx.stream("GET", self.url, follow_redirects=True, timeout=30.0) as response:
                if not response.is_success:
                    raise InvalidRequest(f"{self.url} answered HTTP {response.status_code}", code="download_failed")
                kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
                length = response.headers.get("Content-Length", "")
                plain = not response.headers.get("Content-Encoding")
                size_bytes = int(length) if length.isdecimal() and plain else None
                chunks = self._chunks(response)
                yield Upload(kind or media_type(self.filename), size_bytes, chunks)
        except (httpx.TransportError, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise self._broken(error) from error

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        # The upload reads this inside its own request; a break of the download must not look like one of the upload.
        try:
            yield from response.iter_bytes(_CHUNK_BYTES)
        except httpx.TransportError as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> FluxionsError:
        return FluxionsError(f"cannot download {self.url} ({type(error).__name__})", code="download_failed")


Source = FileSource | UrlSource


def find(arguments: Sequence[str]) -> list[Source]:
    """Sources in the order given, folders walked in order of names. Raises typer.BadParameter for what is not there."""
    found: list[Source] = []
    for argument in arguments:
        if argument.startswith(("http://", "https://")):
            found.append(UrlSource(argument))
            continue
        path = Path(argument)
        if path.is_dir():
            inside = list(_walk(path))
            if not inside:
                raise typer.BadParameter(f"no recordings in {argument} (looked for {', '.join(sorted(_MEDIA_TYPES))})")
            found.extend(inside)
        elif path.is_file():
            found.append(FileSource(path, Path(path.name)))
        else:
            raise typer.BadParameter(f"{argument!r} is neither a file, a folder nor an http:// or https:// address")
    return found


def media_type(filename: str) -> str:
    known = _MEDIA_TYPES.get(Path(filename).suffix.lower())
    return known or mimetypes.guess_type(filename)[0] or "application/octet-stream"


def _walk(folder: Path) -> Iterator[FileSource]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if path.suffix.lower() in _MEDIA_TYPES and not name.startswith(".") and path.is_file():
                yield FileSource(path, path.relative_to(folder))
