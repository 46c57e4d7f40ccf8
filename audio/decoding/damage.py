"""Evaluates the damaged packets of a recording, and compares its length with the declared length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from audio.decoding.completeness import TOLERANCE_SECS
from audio.decoding.declared import wrong_header
from audio.decoding.timeline import Timeline
from schemas.domain import Seconds, TranscriptWarning
from schemas.errors import InvalidAudio

STREAMING: Final = frozenset({"mp3", "aac", "ac3", "eac3", "ogg", "amr", "mpegts", "mpeg", "flv"})
"""Containers for streams, which may end anywhere. One incomplete packet at their end is no damage."""

KNOW_LENGTH: Final = frozenset({"matroska", "flv", "avi", "asf"})
"""Containers whose header has the length, and which FFmpeg may stop reading in the middle without an error."""

DECLARE_LENGTH: Final = frozenset({"matroska", "flv", "mov", "flac"})
"""Containers whose declared length, if present, is exact, so a longer recording contradicts it."""

MAX_DAMAGED: Final = 0.5
"""Share of damaged packets above which a recording counts as unreadable."""
FEW_DAMAGED: Final = 3
"""Number of damaged packets that never makes a recording unreadable, however short it is."""


@dataclass(slots=True)
class Damage:
    """Damaged packets of a recording; ``run`` are those since the last good one, the first of them at ``run_secs``."""

    packets: int = 0
    damaged: int = 0
    first_secs: Seconds = 0.0
    run: int = 0
    run_secs: Seconds = 0.0

    def add(self, at_secs: Seconds) -> None:
        """Count a damaged packet."""
        if not self.damaged:
            self.first_secs = at_secs
        if not self.run:
            self.run_secs = at_secs
        self.damaged, self.run = self.damaged + 1, self.run + 1

    def end_run(self) -> None:
        """Record that a good packet follows."""
        self.run = 0

    def judge(
        self, demuxer: str, timeline: Timeline, known: tuple[TranscriptWarning, ...], *, has_length: bool
    ) -> tuple[TranscriptWarning, ...]:
        """``known`` and all further warnings of a recording that was read to its end.

        Damage up to the end means that the recording is truncated. The last packet of a stream is often incomplete, and
        that is no damage. ``has_length``: whether its header has the length of all of it. Raises InvalidAudio if too many
        packets are damaged.
        """
        inside, packets = self.damaged - self.run, self.packets - self.run
        if inside > max(MAX_DAMAGED * packets, FEW_DAMAGED) or (self.run and not timeline.position_secs):
            raise InvalidAudio(
                f"{self.damaged} of the recording's {self.packets} packets are damaged", code="unreadable_audio"
            )
        found = [*known, *timeline.gaps, *_length_warnings(demuxer, timeline, known, has_length=has_length)]
        if self.run > (demuxer in STREAMING) and all(w.code != "truncated_audio" for w in found):
            found.append(breaks_off(self.run_secs, "all that follows is damaged"))
        if inside:
            message = (
                f"{inside} of the recording's {self.packets} packets are damaged, the first at {self.first_secs:.1f} s; "
                "silence stands in their place"
            )
            found.append(TranscriptWarning("damaged_audio", message, round(self.first_secs, 3)))
        return tuple(found)


def breaks_off(at_secs: Seconds, why: str) -> TranscriptWarning:
    """The warning for a recording that is truncated at ``at_secs``."""
    return TranscriptWarning("truncated_audio", f"the recording breaks off at {at_secs:.1f} s ({why})", round(at_secs, 3))


def _length_warnings(
    demuxer: str, timeline: Timeline, known: tuple[TranscriptWarning, ...], *, has_length: bool
) -> list[TranscriptWarning]:
    total, held = timeline.total_secs, timeline.position_secs
    if not total:
        return []
    tolerance = max(TOLERANCE_SECS, 0.01 * total)
    if demuxer in KNOW_LENGTH and total - held > tolerance:
        return [breaks_off(held, f"it declares {total:.1f} s")]
    is_named = any(warning.code == "wrong_header" for warning in known)
    if demuxer in DECLARE_LENGTH and has_length and held - total > tolerance and not is_named:
        return [wrong_header(f"{total:.1f} s and {held:.1f} s came")]
    return []
