"""Online diarization of a live stream by the voiceprints of utterances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serve.engines.diarization.block_linking import SAME_VOICE

_MOST_SPEAKERS = 20


class LiveSpeakers:
    """Speakers are numbered in the order in which they first speak. Earlier utterances are not changed later."""

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float32]] = []

    def number(self, voiceprint: NDArray[np.float32] | None) -> int:
        """The speaker of an utterance with this voiceprint, ``(dim,) float32``, L2-normalised; without a voiceprint the
        first speaker.
        """
        if voiceprint is None:
            return 0
        cosines = [float(voiceprint @ total) / float(np.linalg.norm(total)) for total in self._sums]
        best = int(np.argmax(cosines)) if cosines else -1
        if best >= 0 and (cosines[best] >= SAME_VOICE or len(self._sums) >= _MOST_SPEAKERS):
            self._sums[best] = self._sums[best] + voiceprint
            return best
        self._sums.append(voiceprint)
        return len(self._sums) - 1
