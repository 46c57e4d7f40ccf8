"""The boxes of an MP4 file.

A box with a damaged header or a too small length is corrected or skipped, so that the following boxes are read.

FFmpeg stops at the first box that it cannot read, without an error. ISO/IEC 14496-12, 4.2 and 8.8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from audio.decoding.declared import Declared, is_trailer, understated
from audio.decoding.file_view import FileView
from schemas.domain import TranscriptWarning

_KNOWN: Final = frozenset(b"ftyp styp pdin moov moof mfra mdat free skip wide pnot meta sidx prft emsg uuid udta".split())
"""Boxes on the top level; others count if they end within the file."""
_INDEXES: Final = ((b"moof", b"mfhd"), (b"moov", b"mvhd"))
"""Boxes with the positions of samples, and the first box inside."""
_MOST_REPAIRS: Final = 10_000
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Box:
    name: bytes
    at: int
    end: int
    """The end of the box according to its header."""


def read(view: FileView) -> Declared:
    """The end of the file, or the start of a joined file, with corrections of headers."""
    boxes = _Boxes(view)
    seen: set[bytes] = set()
    end = view.size
    for box in boxes.walk():
        if box.name == b"ftyp" and seen & {b"mdat", b"moov"}:
            end = box.at
            break
        seen.add(box.name)
    warnings = tuple(boxes.warnings)
    if boxes.lost:
        message = f"damaged headers within the file: {boxes.lost}; sound that only they describe is lost"
        warnings = (*warnings, TranscriptWarning("damaged_audio", message))
    return Declared(min(end, boxes.end), boxes.corrections, warnings, has_length=b"moof" not in seen)


@dataclass
class _Boxes:
    """All boxes on the top level of ``view``, and the corrections that make them consecutive."""

    view: FileView
    corrections: dict[int, bytes] = field(default_factory=dict)
    warnings: list[TranscriptWarning] = field(default_factory=list)
    lost: int = 0
    """Number of damaged headers."""
    end: int = 0
    """The end of the last box that could be read."""

    def walk(self) -> Iterator[_Box]:
        """The boxes in their order. The attributes are complete when it is exhausted."""
        before: _Box | None = None
        is_fragmented = False
        self.end = self.view.size
        while (at := 0 if before is None else before.end) + 8 <= self.view.size:
            box = _box(self.view, at) or self._mended(at, before, is_fragmented=is_fragmented)
            if box is None:
                self.end = at
                return
            is_fragmented = is_fragmented or box.name == b"moof"
            yield box
            before = box

    def _mended(self, at: int, before: _Box | None, *, is_fragmented: bool) -> _Box | None:
        """A box from ``at``, where no box begins, to the next index; None if the rest of the file is to be ignored."""
        view = self.view
        until = _next_index(view, at + 1)
        if until == view.size:
            if is_trailer(view.at(at, _READ_BYTES), view.size - at):
                return None
            if is_fragmented or before is None:
                self.warnings.append(TranscriptWarning("truncated_audio", "the file's index breaks off before its end"))
                return None
        if until - at < 8 or len(self.corrections) >= _MOST_REPAIRS:
            return None
        after_samples = before is not None and before.name == b"mdat"
        if before is not None and after_samples and _has_room(view, before, until):
            self.corrections[before.at] = _header(b"mdat", until - before.at, wide=_is_wide(view, before))
            if is_fragmented:
                self.lost += 1
            else:
                self.warnings.append(understated(before.end - before.at, until - before.at))
            return _Box(b"mdat", before.at, until)
        # The samples that a fragment's index describes follow the index.
        name = b"mdat" if (before is not None and before.name == b"moof") or view.at(at + 4, 4) == b"mdat" else b"free"
        self.lost += is_fragmented and name == b"free"
        self.corrections[at] = _header(name, until - at)
        return _Box(name, at, until)


def _box(view: FileView, at: int) -> _Box | None:
    """The box at ``at``; None if no box can begin there, or if the next index lies within it."""
    head = view.at(at, 16)
    length, name = struct.unpack(">I4s", head[:8])
    if length == 1 and len(head) == 16:
        length = struct.unpack(">Q", head[8:])[0]
    elif length == 0:
        length = view.size - at
    is_whole = at + length <= view.size and head[:4] != bytes(4)
    if length < 8 or not (name in _KNOWN or (is_whole and name.isalnum())):
        return None
    # The end of the file may truncate a box, but then no other box follows.
    return _Box(name, at, at + length) if is_whole or _next_index(view, at + 8) == view.size else None


def _next_index(view: FileView, at: int) -> int:
    """The start of the next intact index from ``at`` on; the end of the file if there is none."""
    at += 4
    while (at := view.find(b"moo", at)) >= 0:
        head = view.at(at - 4, 16)
        if (head[4:8], head[12:]) in _INDEXES and at - 4 + int.from_bytes(head[:4], "big") <= view.size:
            return at - 4
        at += 1
    return view.size


def _is_wide(view: FileView, box: _Box) -> bool:
    """Whether the length of the box is written in 64 bits."""
    return view.at(box.at, 4) == b"\0\0\0\1"


def _has_room(view: FileView, box: _Box, end: int) -> bool:
    """Whether the header of the box has enough bytes for the length to another end."""
    return _is_wide(view, box) or end - box.at <= 0xFFFF_FFFF


def _header(name: bytes, length: int, *, wide: bool = False) -> bytes:
    if wide or length > 0xFFFF_FFFF:
        return struct.pack(">I4sQ", 1, name, length)
    return struct.pack(">I4s", length, name)
