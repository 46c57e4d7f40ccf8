"""Splits a file into consecutive recordings, each for one demuxer.

Handles tags in front, joined files, and headers that declare less than the file contains. FFmpeg alone reads a file only
up to the declared length, and decodes all links of a chained Ogg file with the codec of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from audio.decoding import adts_holes, chunk_lengths, mp4_boxes, object_lengths, ogg_links
from audio.decoding.declared import Declared
from audio.decoding.file_view import FileView, Readable
from audio.decoding.sniff import HEAD_BYTES, sniff, tag_size
from schemas.domain import TranscriptWarning

MOST_PARTS: Final = 1000
_MOST_PADDING: Final = 1 << 20
"""Zero bytes that may stand between a tag and the recording."""
_STARTS: Final[dict[str, tuple[bytes, ...]]] = {
    "flac": (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22"),  # a STREAMINFO block follows: RFC 9639, 8.1
    "flv": tuple(b"FLV\x01" + bytes([flags]) + b"\0\0\0\x09" for flags in (1, 4, 5)),
    "asf": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",),
    "amr": (b"#!AMR\n", b"#!AMR-WB\n"),
}
"""First bytes of a file that was joined to another, for types whose joined files FFmpeg reads as one."""
_DECLARED: Final[dict[str, Callable[[FileView], Declared | None]]] = {
    **{demuxer: partial(chunk_lengths.read, demuxer=demuxer) for demuxer in chunk_lengths.DEMUXERS},
    "au": object_lengths.au,
    "asf": object_lengths.asf,
    "avi": object_lengths.avi,
    "matroska": object_lengths.matroska,
    "mov": mp4_boxes.read,
}


@dataclass(frozen=True, slots=True)
class FilePart:
    """One recording in a file."""

    view: FileView
    demuxer: str
    warnings: tuple[TranscriptWarning, ...] = ()
    """Warnings about the header."""
    has_length: bool = True
    """Whether a length in seconds in its header covers the whole part."""
    losses: tuple[int, ...] = ()
    """Positions in the view at which missing or damaged pages end."""
    holes: tuple[tuple[int, int], ...] = ()
    """The result of `audio.decoding.adts_holes.holes`."""


@dataclass(frozen=True, slots=True)
class LivePart:
    """A recording that is still being sent. It can only be read forwards, and nothing is known of the following bytes."""

    view: Readable
    demuxer: str
    warnings: tuple[TranscriptWarning, ...] = ()
    has_length: bool = False
    losses: tuple[int, ...] = ()
    holes: tuple[tuple[int, int], ...] = ()


def parts_of(whole: FileView) -> list[FilePart]:
    """All recordings of a file in their order, ignoring tags in front; none if the file does not start with a
    recording.
    """
    start = _behind_tags(whole)
    demuxer = sniff(whole.at(start, HEAD_BYTES))
    if demuxer is None:
        return []
    view = whole.part(start, whole.size)
    found: Iterable[FilePart]
    if demuxer == "ogg":
        found = (FilePart(view.part(one.start, one.end), demuxer, losses=one.losses) for one in ogg_links.links(view))
    elif demuxer == "aac":
        found = (FilePart(view, demuxer, holes=tuple(adts_holes.holes(view))),)
    else:
        found = (part for piece in _pieces(view, demuxer) for part in _declared(piece, demuxer))
    return list(islice(found, MOST_PARTS))


def _pieces(view: FileView, demuxer: str) -> Iterator[FileView]:
    """The file, split where another file of its type begins."""
    following = {marker: view.find(marker, 1) for marker in _STARTS.get(demuxer, ())}
    start = 0
    while start < view.size:
        end = min((place for place in following.values() if place >= 0), default=view.size)
        yield view.part(start, end)
        following |= {marker: view.find(marker, end + 1) for marker, place in following.items() if place == end}
        start = end


def _declared(view: FileView, demuxer: str) -> Iterator[FilePart]:
    """A recording with its corrected header, and the recordings of the same type that were joined to it."""
    read = _DECLARED.get(demuxer)
    while True:
        found = read(view) if read is not None else None
        if found is None:
            yield FilePart(view, demuxer)
            return
        yield FilePart(view.part(0, found.end, found.corrections), demuxer, found.warnings, found.has_length)
        view = view.part(found.end, view.size)
        if sniff(view.at(0, HEAD_BYTES)) != demuxer:
            return


def _behind_tags(whole: FileView) -> int:
    """The start of the recording: behind any ID3v2 tags and the zero bytes after them."""
    start = 0
    while size := tag_size(whole.at(start, 10)):
        start += size
        if start >= whole.size:
            return 0
        padding = whole.at(start, min(_MOST_PADDING, whole.size - start))
        start += len(padding) - len(padding.lstrip(b"\0"))
    return start
