"""Places decoded frames by the file's own clock, with silence for missing audio before a frame.

Timestamps jitter, and damage may falsify one of them. So a jump counts only if the next frame confirms it, and small
deviations are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from av.audio.frame import AudioFrame

from schemas.domain import Seconds, TranscriptWarning

JITTER_SECS: Final[Seconds] = 0.08
"""Tolerance in a `JITTERING` container: a frame that deviates by less is placed directly after the last frame."""
TOLERANCE_SECS: Final[Seconds] = 0.02
"""The same tolerance for all other containers, which count samples."""
EXACT_SECS: Final[Seconds] = 0.005
"""The same tolerance for the first frame after damaged packets."""
OVERLAP_SECS: Final[Seconds] = 1.0
"""If timestamps go back by less than this, audio is repeated, and the repetition is dropped. If they go back by more, the
clock has restarted, and the audio is placed directly after the last frame.
"""
LONGEST_GAP_SECS: Final[Seconds] = 3600.0
"""Longer gaps count as wrong timestamps, unless the container's declared length covers them."""
LATEST_START_SECS: Final[Seconds] = 60.0
"""If all tracks start later than this, the clock is that of a live stream, and times count from its start."""
REPORTED_GAP_SECS: Final[Seconds] = 0.25
"""Shorter gaps of a `JITTERING` container are no loss."""
MOST_REPORTED: Final = 20
"""Warnings of missing audio in one recording."""
LONGEST_WAIT_SECS: Final[Seconds] = 10.0
"""Length of frames that are held back after a loss, until a timestamp shows the loss."""

ABSOLUTE: Final = frozenset({"mov", "matroska", "ogg", "flv", "asf", "avi"})
"""Containers whose clock starts at zero, so that a track that begins later is preceded by silence."""
JITTERING: Final = frozenset({"matroska", "mpegts", "mpeg", "flv", "asf", "avi"})
"""Containers with timestamps by the clock of a recorder or in milliseconds."""
RELATIVE: Final = frozenset({"mpegts", "mpeg"})
"""Containers whose clock starts at any value: times count from the earliest track."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame after ``silence_secs`` of silence, without its first ``drop_secs``."""

    frame: AudioFrame
    silence_secs: Seconds = 0.0
    drop_secs: Seconds = 0.0


class Timeline:
    """Places the frames of one track, in seconds from the start of the recording.

    ``start_secs`` and ``end_secs``: timestamps at which the container says that its earliest track starts and all end.
    """

    def __init__(self, demuxer: str, start_secs: Seconds | None, end_secs: Seconds | None) -> None:
        self.position_secs: Seconds = 0.0
        """Length of the placed audio, including silences."""
        self._gaps: list[tuple[Seconds, Seconds]] = []
        origin = _origin_secs(demuxer, start_secs)
        self._offset: Seconds | None = None if origin is None else -origin
        self._tolerance_secs = JITTER_SECS if demuxer in JITTERING else TOLERANCE_SECS
        self._reported_secs = REPORTED_GAP_SECS if demuxer in JITTERING else TOLERANCE_SECS
        self._start_secs = origin or 0.0
        self._end_secs = end_secs
        self._held: AudioFrame | None = None
        self._skipped_secs: Seconds = 0.0
        self._waiting: list[Placed] | None = None
        self._waiting_secs: Seconds = 0.0
        self._drop_secs: Seconds = 0.0
        self._exact = False
        self._started = False

    def damaged(self) -> None:
        """Record that a packet before the next frame could not be decoded."""
        self._exact = True

    def skip(self, secs: Seconds) -> None:
        """Record missing audio before the next frame, whose timestamp counts frames and does not show the loss."""
        self._skipped_secs += secs

    def lost(self) -> None:
        """Record that audio is missing before the next frame. Timestamps show the loss only some frames later."""
        if self._waiting is None:
            self._waiting, self._waiting_secs = [], 0.0

    @property
    def gaps(self) -> list[TranscriptWarning]:
        """A warning for each gap, up to `MOST_REPORTED`. The last warning also counts the gaps after it."""
        found = []
        for first, last in self._gaps[:MOST_REPORTED]:
            message = f"nothing is recorded from {first:.2f} to {last:.2f} s; silence stands in its place"
            found.append(TranscriptWarning("missing_audio", message, round(first, 3)))
        if left := len(self._gaps) - len(found):
            found[-1] = replace(found[-1], message=f"{found[-1].message}, and in that of {left} more gaps after it")
        return found

    @property
    def total_secs(self) -> Seconds | None:
        """Length of the whole recording that the container declares; None if it declares none."""
        return None if self._end_secs is None else self._end_secs - self._start_secs

    def place(self, frame: AudioFrame) -> list[Placed]:
        """The frames whose places are decided: none while a jump waits for confirmation by the next frame."""
        placed = self._place(frame)
        if self._waiting is None:
            return placed
        jump = next((number for number, one in enumerate(placed) if one.silence_secs), None)
        self._waiting += placed
        if jump is None:
            self._waiting_secs += sum(_secs(one.frame) for one in placed)
            return self._release() if self._waiting_secs > LONGEST_WAIT_SECS else []
        first, jumped = self._waiting[0], self._waiting[len(self._waiting) - len(placed) + jump]
        if first is not jumped:
            silence = jumped.silence_secs
            self._waiting[self._waiting.index(jumped)] = Placed(jumped.frame, 0.0, jumped.drop_secs)
            self._waiting[0] = Placed(first.frame, silence, first.drop_secs)
        return self._release()

    def _release(self) -> list[Placed]:
        waiting, self._waiting = self._waiting or [], None
        return waiting

    def _place(self, frame: AudioFrame) -> list[Placed]:
        at = _timestamp(frame)
        if at is None:
            return [*self._settle(), self._append(frame)]
        if self._skipped_secs:
            settled = self._settle()
            self._offset = self.position_secs + self._skipped_secs - at
            self._skipped_secs = 0.0
            return [*settled, self._jump(frame, at)]
        if self._offset is None:
            self._offset = -at
        if self._held is None:
            if self._in_place(at, self.position_secs):
                return [self._append(frame)]
            self._held = frame
            return []
        held, self._held = self._held, None
        since = _timestamp(held)
        if since is not None and self._in_place(at, since + self._offset + _secs(held)):
            return [self._jump(held, since), self._append(frame)]
        # The frame before had a wrong time, so it is placed directly after the last frame.
        return [self._append(held), *self._place(frame)]

    def finish(self) -> list[Placed]:
        """The last frames, if their places were still undecided."""
        settled = self._settle()
        return [*self._release(), *settled]

    def _settle(self) -> list[Placed]:
        if self._held is None:
            return []
        held, self._held = self._held, None
        at = _timestamp(held)
        return [self._append(held) if at is None else self._jump(held, at)]

    def _in_place(self, at: Seconds, expected_secs: Seconds) -> bool:
        tolerance = EXACT_SECS if self._exact and self._held is None else self._tolerance_secs
        return abs(at + (self._offset or 0.0) - expected_secs) <= tolerance

    def _jump(self, frame: AudioFrame, at: Seconds) -> Placed:
        drift = at + (self._offset or 0.0) - self.position_secs
        if 0 < drift <= LONGEST_GAP_SECS or (self._end_secs is not None and drift > 0 and at <= self._end_secs + 1.0):
            self._report(drift)
            self.position_secs += drift
            return self._append(frame, drift)
        if -OVERLAP_SECS <= drift <= 0:
            self._drop_secs = -drift
        else:
            self._offset = (self._offset or 0.0) - drift
        return self._append(frame)

    def _append(self, frame: AudioFrame, silence_secs: Seconds = 0.0) -> Placed:
        self._exact, self._started = False, True
        secs = _secs(frame)
        dropped = min(self._drop_secs, secs)
        self._drop_secs -= dropped
        self.position_secs += secs - dropped
        return Placed(frame, silence_secs, dropped)

    def _report(self, secs: Seconds) -> None:
        """Record a gap. A late start is not a gap, and damaged packets are reported separately."""
        if self._started and secs >= self._reported_secs and not self._exact:
            self._gaps.append((self.position_secs, self.position_secs + secs))


def _origin_secs(demuxer: str, start_secs: Seconds | None) -> Seconds | None:
    """The timestamp at which a recording starts; None if it starts with the first frame."""
    if demuxer in RELATIVE:
        return start_secs
    if demuxer not in ABSOLUTE:
        return None
    return 0.0 if start_secs is None or start_secs <= LATEST_START_SECS else start_secs


def _timestamp(frame: AudioFrame) -> Seconds | None:
    if frame.pts is None or (base := frame.time_base) is None:
        return None
    # A quotient of integers is rounded once, as that of a Fraction is, whose arithmetic takes longer than decoding PCM.
    return frame.pts * base.numerator / base.denominator


def _secs(frame: AudioFrame) -> Seconds:
    return frame.samples / frame.sample_rate if frame.sample_rate else 0.0
