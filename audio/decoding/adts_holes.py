"""Finds damaged or foreign bytes of an ADTS stream. FFmpeg's demuxer skips them without reporting a position."""

from __future__ import annotations

from audio.decoding.file_view import FileView
from audio.decoding.frame_headers import HEADER_BYTES, adts_size
from audio.decoding.sniff import tag_size


def holes(view: FileView) -> list[tuple[int, int]]:
    """``(bytes of good frames before the hole, bytes of the hole)`` for each hole; ID3 tags do not count as holes."""
    found: list[tuple[int, int]] = []
    at = good = 0
    while at < view.size:
        size = adts_size(view.at(at, HEADER_BYTES))
        if size and _follows(view, at + size):
            at, good = at + size, good + size
            continue
        end = at + (tag_size(view.at(at, 10)) or 0)
        if end == at:
            end = _next_frame(view, at + 1)
            found.append((good, end - at))
        at = end
    return found


def _follows(view: FileView, at: int) -> bool:
    """Whether a frame or a tag begins at ``at``, or the file ends there."""
    head = view.at(at, 10)
    return len(head) < HEADER_BYTES or bool(adts_size(head)) or bool(tag_size(head))


def _next_frame(view: FileView, at: int) -> int:
    while (at := view.find(b"\xff", at)) >= 0:
        size = adts_size(view.at(at, HEADER_BYTES))
        if size and _follows(view, at + size):
            return at
        at += 1
    return view.size
