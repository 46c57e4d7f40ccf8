"""Plans the lengths of a stream's passages, so that each is rendered before the previous ones have been played.

An engine like Kokoro returns a passage only when all of it is rendered. So a stream begins with a short passage, and later
ones grow with the audio that is still to be played. The plan depends on the text alone and never on the machine's speed, so
the same text gives the same audio. No listener waits as long as a passage takes up to .24 s plus .45 s for each second of
its audio. Two quiet cores take .16 s and .30 s.
"""

from __future__ import annotations

from typing import Final

from schemas.domain import Seconds
from serve.engines.tts.text.sentences import Limits, spoken_chars

PASSAGE_SECS: Final = 0.27
SECS_PER_SEC: Final = 0.5
"""Assumed cost of a passage; includes a tenth for errors in the estimate of its length."""

FIRST_CLAUSE_CHARS: Final = 24
FIRST_PHRASE_CHARS: Final = 38
"""Longest first passage: if it ends at a clause, and otherwise."""
LONGEST_CHARS: Final = 140
"""Longest passage; 8 s of speech, for which the model takes 0.5 GB."""
_SHORTEST_CHARS: Final = 16
"""Shortest passage after a cut, because shorter ones sound worse."""
_LEAST_CHARS: Final = 10
"""Shortest first passage: "Yes." is too short to cover the rendering of the next one."""
_CLAUSE_SECS: Final = 0.3
_CHARS_PER_SEC: Final = 21.0
"""Estimated length of a passage at a usual speed: this plus 48 ms a letter. Slower voices give longer audio."""


WHOLE: Final = Limits(LONGEST_CHARS, LONGEST_CHARS)
"""Limits of passages that are not streamed."""


class StreamPlan:
    """The limits of one stream's passages; `add` must be called for each passage before the next `limits`."""

    def __init__(self, speed: float = 1.0, ahead_secs: Seconds | None = None) -> None:
        """``speed`` is relative to the voice's own. ``ahead_secs``: audio that is still to be played before the first
        passage; None if nothing is played before it."""
        self._speed = speed
        self._left_secs = ahead_secs

    def limits(self) -> Limits:
        """The limits of the next passage."""
        if self._left_secs is None:
            return Limits(FIRST_CLAUSE_CHARS, FIRST_PHRASE_CHARS, _LEAST_CHARS, _LEAST_CHARS)
        secs = (self._left_secs - PASSAGE_SECS) / SECS_PER_SEC
        chars = int((secs * self._speed - _CLAUSE_SECS) * _CHARS_PER_SEC)
        chars = min(LONGEST_CHARS, max(_SHORTEST_CHARS, chars))
        return Limits(chars, chars)

    def add(self, source: str, pause_secs: Seconds, pace: float = 1.0) -> None:
        """Record the next passage, with the text ``source``, the pause after it, and its pace relative to the stream's."""
        secs = (_CLAUSE_SECS + spoken_chars(source) / _CHARS_PER_SEC) / (self._speed * pace)
        cost = PASSAGE_SECS + SECS_PER_SEC * secs
        # Playback begins when the first passage is rendered, and continues while the others are.
        left = 0.0 if self._left_secs is None else max(0.0, self._left_secs - cost)
        self._left_secs = left + secs + pause_secs / self._speed
