"""Detection of the end of a turn: the protocol of detectors that analyse its audio."""

from __future__ import annotations

from typing import Final, Protocol

from schemas.domain import Seconds
from schemas.engines import EngineInfo, Samples

END_OF_TURN_SECS: Final[Seconds] = 8.0
"""Length of the latest audio that a detector uses; earlier audio has no effect."""


class EndOfTurnDetector(Protocol):
    """Decides from the audio of a turn whether the speaker has finished or only pauses."""

    @property
    def info(self) -> EngineInfo:
        """Name, model and revision."""
        ...

    def probability(self, samples: Samples) -> float:
        """Probability that the turn is over, 0 to 1.

        ``samples``: ``(num_samples,) float32`` in [-1, 1] at 16 kHz mono, the turn's audio with the silence after it. Only
        the last `END_OF_TURN_SECS` are used; for no samples it is 0. Call it about 0.2 s after the end of the speech: after
        0.5 s of silence a cut-off sentence often passes for a finished one (``docs/engines.md``). It takes about 50 ms of
        one core and releases the GIL: call it in a thread. Safe to call from several threads.
        """
        ...
