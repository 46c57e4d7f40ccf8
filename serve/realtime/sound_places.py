"""Where a stream of sound lies in the recording of its conversation."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from schemas.domain import Seconds

_RESOLUTION_SECS: Final[Seconds] = 0.005
"""A shorter pause counts as none."""
_SLACK_SECS: Final[Seconds] = 0.05
"""What speech is found with: frames of 32 ms, and the delay of resamplers. A pause so close to it is not within it."""


class SoundPlaces:
    """Maps positions in the stream, in seconds of its sound, to seconds of the recording. The stream may pause."""

    def __init__(self) -> None:
        self.length_secs: Seconds = 0.0
        """Length of the stream without pauses."""
        self._positions: list[Seconds] = []
        """Where sound begins after each pause: in the stream, and in `_times` in the recording."""
        self._times: list[Seconds] = []

    def add(self, at_secs: Seconds, secs: Seconds) -> None:
        """Further ``secs`` of sound, which lie at ``at_secs`` of the recording."""
        if secs <= 0:
            return
        if not self._times or abs(self._times[-1] + self.length_secs - self._positions[-1] - at_secs) > _RESOLUTION_SECS:
            self._positions.append(self.length_secs)
            self._times.append(at_secs)
        self.length_secs += secs

    def begin(self, position: Seconds, before_secs: Seconds = 0.0) -> Seconds | None:
        """The time ``before_secs`` before the sound at ``position``, though not before the pause that precedes it; None if
        there is no sound."""
        place = bisect_right(self._positions, position + _SLACK_SECS) - 1
        if place < 0:
            return None
        since = self._times[place]
        return max(since, since + position - self._positions[place] - before_secs)

    def end(self, position: Seconds) -> Seconds | None:
        """The time at which the sound before ``position`` has ended; None if there is no sound."""
        if not self._times:
            return None
        place = max(0, bisect_left(self._positions, position - _SLACK_SECS) - 1)
        following = self._positions[place + 1] if place + 1 < len(self._positions) else self.length_secs
        return self._times[place] + min(position, following) - self._positions[place]
