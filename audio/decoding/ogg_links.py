"""Finds the links of a chained Ogg file and their missing pages. RFC 3533, sections 4 and 6."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from audio.decoding.file_view import FileView

_CAPTURE: Final = b"OggS"
_HEADER_BYTES: Final = 27
_BEGINS_STREAM: Final = 2
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Link:
    """The bytes ``[start, end)``.

    ``losses``: positions, relative to ``start``, of pages before which others are missing.
    """

    start: int
    end: int
    losses: tuple[int, ...]


def links(view: FileView) -> list[Link]:
    """All links.

    A page that begins a stream, after pages that did not, begins a new link. Pages are numbered within each stream, so a
    gap in the numbers is a loss. A page with a wrong checksum is a loss too, because FFmpeg drops it.
    """
    starts: list[int] = [0]
    losses: list[list[int]] = [[]]
    numbers: dict[bytes, int] = {}
    at, in_head, damaged = 0, True, False
    while (at := view.find(_CAPTURE, at)) >= 0:
        page = view.at(at, _HEADER_BYTES + 255)
        if len(page) < _HEADER_BYTES:
            break
        begins, serial, number = bool(page[5] & _BEGINS_STREAM), page[14:18], int.from_bytes(page[18:22], "little")
        if begins and not in_head:
            starts.append(at)
            losses.append([])
            numbers.clear()
        in_head = begins
        if damaged or number != numbers.get(serial, number - 1) + 1:
            losses[-1].append(at - starts[-1])
        numbers[serial] = number
        size = _HEADER_BYTES + page[26] + sum(page[_HEADER_BYTES : _HEADER_BYTES + page[26]])
        damaged = _checksum(view.at(at, size)) != int.from_bytes(page[22:26], "little")
        at += max(size, 1) if not damaged else len(_CAPTURE)
    ends = [*starts[1:], view.size]
    return [Link(start, end, tuple(lost)) for start, end, lost in zip(starts, ends, losses, strict=True)]


def _checksum(page: bytes) -> int:
    """CRC-32 of a page with its checksum field as zero.

    It differs from zlib's CRC-32 only in the order of bits and in inversions.
    """
    content = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    reflected = zlib.crc32(content, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{reflected:032b}"[::-1], 2)
