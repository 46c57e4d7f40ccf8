"""Decides when silence ends an utterance: by the length of the silence, and optionally by an end-of-turn model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from audio.vad import FRAME_SAMPLES
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from schemas.turn_taking import EndOfTurnDetector

_FRAME_SECS: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ
_LAG_SECS: Final[Seconds] = 0.06
"""Silence before the first frame that voice activity detection calls silent:
the median of 24 rendered utterances is .065 s."""
_ASKED_AFTER_SECS: Final[Seconds] = 0.2
"""Silence after which the detector is asked. After 0.5 s the detector often takes an unfinished sentence for a finished
one.
"""
_FINISHED: Final = 0.5
"""Probability from which an utterance counts as finished."""


class Endpointing:
    """Processes the frames of an utterance.

    With a detector, silence of ``endpoint_secs`` ends an utterance that the detector takes for finished, and silence of
    ``unfinished_secs`` ends any utterance.
    """

    def __init__(self, detector: EndOfTurnDetector | None = None) -> None:
        self._detector = detector
        self._silent = 0
        self._asking: asyncio.Task[float] | None = None

    def begin(self) -> None:
        """An utterance begins."""
        self._silent = 0
        self._forget()

    def add_frame(
        self, *, silent: bool, endpoint_secs: Seconds, unfinished_secs: Seconds | None, audio: Callable[[], Samples]
    ) -> float | None:
        """The confidence that the utterance has ended with this frame, (0, 1]; None while it continues.

        ``audio`` is called for the utterance so far, if the detector is asked.
        """
        if not silent:
            self.begin()
            return None
        self._silent += 1
        silence_secs = _LAG_SECS + self._silent * _FRAME_SECS
        if self._detector is None or unfinished_secs is None:
            return 1.0 if silence_secs >= endpoint_secs else None
        if self._asking is None and silence_secs >= min(_ASKED_AFTER_SECS, endpoint_secs):
            self._asking = asyncio.create_task(asyncio.to_thread(self._detector.probability, audio()))
        found = self._answer()
        if silence_secs >= unfinished_secs or (silence_secs >= endpoint_secs and found >= _FINISHED):
            return max(found, 1e-4)
        return None

    def _answer(self) -> float:
        """The detector's probability; 0 while it has not answered."""
        if self._asking is None or not self._asking.done():
            return 0.0
        return self._asking.result()

    def _forget(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
