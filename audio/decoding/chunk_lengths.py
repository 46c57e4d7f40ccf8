"""Compares the length of the samples that WAV, RF64, AIFF, CAF and W64 declare with the bytes in the file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from audio.decoding.declared import STREAMING_BYTES, Declared, is_trailer, understated
from audio.decoding.file_view import FileView

_MOST_CHUNKS: Final = 10_000
_READ_BYTES: Final = 1 << 20
WIDE: Final = (b"RF64", b"BW64")
"""First bytes of WAV files with the size of their samples in a chunk ``ds64``. EBU Tech 3306, ITU-R BS.2088."""
_DS64_DATA_AT: Final = 28
"""Position of that size."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The chunk layout of a format: ``head`` is (name, size), ``first`` the position of the first chunk."""

    first: int
    head: struct.Struct
    data: bytes
    align: int
    counts_head: bool = False
    """Whether a chunk's size includes its head."""
    size_at: int = 4
    size_form: str = "<I"
    starts: tuple[bytes, ...] = ()
    """First bytes of a file that was joined to this one."""
    second: bytes = b""
    """Bytes near the start of each joined file."""


_LAYOUTS: Final = {
    "wav": _Layout(12, struct.Struct("<4sI"), b"data", 2, starts=(b"RIFF", *WIDE), second=b"WAVE"),
    "aiff": _Layout(12, struct.Struct(">4sI"), b"SSND", 2, size_form=">I", starts=(b"FORM",), second=b"COMM"),
    "caf": _Layout(8, struct.Struct(">4sq"), b"data", 1, size_form=">q", starts=(b"caff",), second=b"desc"),
    "w64": _Layout(
        40, struct.Struct("<16sQ"), b"data", 8, True, 16, "<Q", starts=(b"riff\x2e\x91\xcf\x11",), second=b"fmt "
    ),
}


DEMUXERS: Final = tuple(_LAYOUTS)


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    head: int
    start: int
    length: int
    size_at: int
    """Position of its size, written as ``size_form``."""
    size_form: str

    @property
    def end(self) -> int:
        return self.start + self.length


def read(view: FileView, demuxer: str) -> Declared | None:
    """The declared length; None if the file has no samples, or its header declares no length."""
    layout = _LAYOUTS[demuxer]
    found = _samples(view, layout)
    if found is None:
        return None
    is_open = found.length <= 0 or (found.size_form.endswith("I") and found.length >= STREAMING_BYTES)
    if is_open or found.end >= view.size:
        return None
    end = _last_chunk_end(view, layout, found.end)
    if end is not None:
        return Declared(end)
    end = _joined(view, layout, found.end)
    warning = understated(found.end - found.start, end - found.start)
    return Declared(end, _correction(layout, found, end), (warning,))


def _samples(view: FileView, layout: _Layout) -> _Chunk | None:
    """The chunk with the samples, and its length, wherever the length is written."""
    found = next((chunk for chunk in _chunks(view, layout, layout.first) if chunk.name.startswith(layout.data)), None)
    if found is None or view.at(0, 4) not in WIDE or found.length != 0xFFFF_FFFF or view.at(12, 4) != b"ds64":
        return found
    (length,) = struct.unpack("<Q", view.at(_DS64_DATA_AT, 8))
    return _Chunk(found.name, found.head, found.start, length, _DS64_DATA_AT, "<Q")


def _chunks(view: FileView, layout: _Layout, at: int) -> Iterator[_Chunk]:
    for _ in range(_MOST_CHUNKS):
        head = view.at(at, layout.head.size)
        if len(head) < layout.head.size:
            return
        name, length = layout.head.unpack(head)
        if layout.counts_head:
            length = max(length - layout.head.size, 0)
        chunk = _Chunk(name, at, at + layout.head.size, length, at + layout.size_at, layout.size_form)
        yield chunk
        if length < 0:
            return
        at = chunk.end + -chunk.end % layout.align


def _last_chunk_end(view: FileView, layout: _Layout, end: int) -> int | None:
    """The end of the chunks behind the samples, or the start of another file; None if further samples follow."""
    first = at = end + -end % layout.align
    for chunk in _chunks(view, layout, first):
        if view.at(chunk.head, len(layout.starts[0])) in layout.starts:
            return chunk.head
        name = chunk.name[:4]
        if not (name.isascii() and name.decode("ascii").isprintable()) or chunk.end > view.size + 1:
            break
        at = min(chunk.end + -chunk.end % layout.align, view.size)
    if at > first or is_trailer(view.at(at, _READ_BYTES), view.size - at):
        return view.size
    return None


def _joined(view: FileView, layout: _Layout, at: int) -> int:
    """The start of a file of the same kind behind ``at``; the end of the file if there is none."""
    found = [view.size]
    for start in layout.starts:
        place = view.find(start, at)
        while place >= 0 and layout.second not in view.at(place, 64):
            place = view.find(start, place + 1)
        if place >= 0:
            found.append(place)
    return min(found)


def _correction(layout: _Layout, data: _Chunk, end: int) -> dict[int, bytes]:
    length = end - data.start + (layout.head.size if layout.counts_head else 0)
    if data.size_form.endswith("I"):
        length = min(length, 0xFFFF_FFFF)
    return {data.size_at: struct.pack(data.size_form, length)}
