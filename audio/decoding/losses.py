"""Finds missing bytes and pages in streams whose timestamps count frames. FFmpeg skips them without an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from av.audio.stream import AudioStream
from av.packet import Packet

from audio.decoding.declared import TRAILERS
from audio.decoding.frame_headers import FRAME_SIZES, HEADER_BYTES
from audio.decoding.timeline import Timeline
from schemas.domain import Seconds

_LEAST_SECS: Final[Seconds] = 0.01
_AVI_GAP: Final = 4
"""A distance between packets of an AVI file that exceeds the longest distance before by this factor is a loss."""


class LossFinder:
    """Reports missing data before each packet to the timeline of one recording."""

    def __init__(self, demuxer: str, losses: Sequence[int], holes: Sequence[tuple[int, int]]) -> None:
        """``losses``: positions at which missing pages end. ``holes``: result of `audio.decoding.adts_holes.holes`."""
        self._size_of: Callable[[bytes], int] | None = dict(FRAME_SIZES).get(demuxer)
        self._is_adts = demuxer == "aac"
        self._is_avi = demuxer == "avi"
        self._losses = list(losses)
        self._holes = list(holes)
        self._bytes = 0
        self._expected: int | None = None
        self._longest = 0

    def look(self, packet: Packet[AudioStream], timeline: Timeline) -> None:
        """Must be called with each packet before its frames are placed."""
        while self._losses and packet.pos is not None and packet.pos >= self._losses[0]:
            self._losses.pop(0)
            timeline.lost()
        if not packet.size:
            return
        if self._size_of is not None:
            self._count_junk(packet, timeline, self._size_of)
        elif self._is_avi and packet.pos is not None:
            self._measure_distance(packet.pos, packet.size, timeline)

    def _count_junk(self, packet: Packet[AudioStream], timeline: Timeline, size_of: Callable[[bytes], int]) -> None:
        """Count bytes that FFmpeg's parsers could not parse.

        The parsers return them with the frame before, or as a separate packet.
        """
        content = bytes(packet)
        size = min(size_of(content[:HEADER_BYTES]), packet.size)
        junk = content[size:]
        # FFmpeg's ADTS demuxer drops most bytes of the holes, so these bytes are not counted twice.
        lost = 0 if self._is_adts or junk.startswith(TRAILERS) else len(junk)
        while self._holes and self._bytes >= self._holes[0][0]:
            lost += self._holes.pop(0)[1]
        if lost and self._bytes and (secs := lost * timeline.position_secs / self._bytes) >= _LEAST_SECS:
            timeline.skip(secs)
        self._bytes += size

    def _measure_distance(self, position: int, size: int, timeline: Timeline) -> None:
        distance = 0 if self._expected is None else position - self._expected
        if self._longest and distance > _AVI_GAP * self._longest:
            secs = (distance - self._longest) * timeline.position_secs / position
            total = timeline.total_secs
            if secs > _LEAST_SECS and (total is None or timeline.position_secs + secs <= total):
                timeline.skip(secs)
        else:
            self._longest = max(self._longest, distance)
        self._expected = position + size
