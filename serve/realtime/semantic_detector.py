"""Semantic turn detection: at the beginning of each silence a model estimates whether the turn has ended.

The model is asked once in each silence. With more silence after the speech the model takes most pauses for an end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from audio.vad import FRAME_SECS
from schemas.api.realtime.session_config import SemanticVad
from schemas.domain import Seconds
from serve.realtime.turn_detector import Speaking, TurnBegan, TurnEnded

_THRESHOLD: Final = 0.5
_FIRST_FRAMES: Final = 7
"""Silence before the estimate, and least silence that ends a turn: .22 s."""
_FINISHED_SECS: Final[dict[str, Seconds]] = {"low": 0.8, "medium": 0.5, "auto": 0.5, "high": 0.2}
"""Silence that ends a turn which the model takes for finished."""
_UNSURE_SECS: Final[Seconds] = 1.0
"""Least silence that ends any other turn."""
_LONGEST_SECS: Final[dict[str, Seconds]] = {"low": 8.0, "medium": 4.0, "auto": 4.0, "high": 2.0}
"""Silence that ends any turn."""
_ENOUGH: Final = {"low": 0.7, "medium": 0.5, "auto": 0.5, "high": 0.4}
"""Probability from which a turn counts as finished."""


class SemanticDetector:
    """A `serve.realtime.turn_detector.TurnDetector`. ``finished`` returns the probability that the turn has ended."""

    def __init__(self, settings: SemanticVad, first_frame: int, finished: Callable[[], Awaitable[float]]) -> None:
        self._speaking = Speaking(_THRESHOLD, first_frame)
        self._finished = finished
        self._enough = _ENOUGH[settings.eagerness]
        self._finished_secs = _FINISHED_SECS[settings.eagerness]
        self._longest_secs = _LONGEST_SECS[settings.eagerness]
        self._needed_secs = self._longest_secs
        """Silence that ends the current turn."""

    @property
    def silent_frames(self) -> int:
        """See `TurnDetector.silent_frames`."""
        return self._speaking.silent_frames

    async def feed(self, probability: float) -> TurnBegan | TurnEnded | None:
        """See `TurnDetector.feed`."""
        if began := self._speaking.feed(probability):
            return began
        silent = self._speaking.silent_frames
        if not self._speaking.is_turn or silent < _FIRST_FRAMES:
            return None
        if silent == _FIRST_FRAMES:
            self._needed_secs = self._silence_secs(await self._finished())
        if silent * FRAME_SECS >= self._needed_secs:
            ended = TurnEnded(self._speaking.first_silent)
            self._speaking.reset()
            return ended
        return None

    def _silence_secs(self, probability: float) -> Seconds:
        """The silence that ends a turn. It is longer for a lower probability that the turn has ended."""
        if probability >= self._enough:
            return self._finished_secs
        return max(_UNSURE_SECS, self._longest_secs * (1 - probability / self._enough))

    def reset(self) -> None:
        """See `TurnDetector.reset`."""
        self._speaking.reset()
