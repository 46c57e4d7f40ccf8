"""Batches of utterances: which go together, and what happens when one is bad or memory is short.

`ray.serve.batch` takes requests in their order, up to a number, after a linger; it knows neither lanes, nor lengths, nor
what to do with a batch that fails. A recogniser pads a batch to its longest utterance, so here those go together whose
lengths are near the oldest's, up to a budget of padded seconds, and nothing lingers: see `serve.asr.admission`.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Sequence
from typing import Final

from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds
from schemas.engines import Recognizer, Samples
from schemas.errors import EngineFailure, FluxionsError
from serve.models import is_out_of_memory

_MAX_PADDING: Final = 1 / 3
"""Most of a batch's padded seconds that may be padding: above it, the batch costs more time than it saves."""

logger = logging.getLogger(__name__)


class Batcher:
    """Runs batches on a recogniser, on one thread, and shrinks them for good where memory turns out to be short."""

    def __init__(self, recognizer: Recognizer, max_items: int, budget_secs: Seconds) -> None:
        self._recognizer = recognizer
        self._max_items = max_items
        self._budget_secs = budget_secs

    @property
    def budget_secs(self) -> Seconds:
        """Padded seconds a batch may have: as set, or half of a batch that did not fit into memory."""
        return self._budget_secs

    def choose(self, lengths_secs: Sequence[Seconds]) -> list[int]:
        """Places of the utterances that go together with the oldest, ``lengths_secs[0]``: nearest in length first.

        One that is over the budget goes alone.
        """
        oldest = lengths_secs[0]
        chosen, longest, total = [0], oldest, oldest
        if self._max_items == 1:
            return chosen
        for place in sorted(range(1, len(lengths_secs)), key=lambda place: abs(lengths_secs[place] - oldest)):
            length = lengths_secs[place]
            padded = max(longest, length) * (len(chosen) + 1)
            if len(chosen) == self._max_items:
                break
            if padded <= self._budget_secs and padded - total - length <= _MAX_PADDING * padded:
                chosen.append(place)
                longest, total = max(longest, length), total + length
        return chosen

    def run(self, utterances: Sequence[Samples]) -> list[Recognition | Exception]:
        """A Recognition or an error for each utterance, in order; never raises for what an utterance or memory does.

        Out of memory halves the batch and goes on. Any other error of a batch is found out by trying each alone.
        """
        try:
            return list(self._recognizer.recognize(utterances))
        except Exception as error:
            short_of_memory = is_out_of_memory(error)
            if len(utterances) == 1:
                return [_failure(error, utterances[0].size / SAMPLE_RATE_HZ)]
            if not short_of_memory:
                logger.warning("a batch of %d failed (%s); trying each alone", len(utterances), type(error).__name__)
        # Outside the handler: while it runs, the error's frames hold the tensors of the batch that failed.
        if not short_of_memory:
            return [result for utterance in utterances for result in self.run([utterance])]
        self._shrink(utterances)
        half = len(utterances) // 2
        return self.run(utterances[:half]) + self.run(utterances[half:])

    def _shrink(self, utterances: Sequence[Samples]) -> None:
        padded_secs = max(u.size for u in utterances) / SAMPLE_RATE_HZ * len(utterances)
        self._budget_secs = min(self._budget_secs, padded_secs / 2)
        logger.warning("out of memory at %.0f padded seconds; batches hold %.0f s now", padded_secs, self._budget_secs)
        torch = sys.modules.get("torch")  # whoever ran out of a GPU's memory has imported it
        if torch is not None and torch.cuda.is_available():
            gc.collect()  # cycles of the failed call hold tensors still
            torch.cuda.empty_cache()


def _failure(error: Exception, duration_secs: Seconds) -> Exception:
    """Our own errors as they are; whatever else an engine raises is EngineFailure, without words of the recording."""
    if isinstance(error, FluxionsError):
        return error
    if is_out_of_memory(error):
        return EngineFailure(
            f"out of memory for an utterance of {duration_secs:.1f} s alone; lower FLUXIONS_UTTERANCE_MAX_SECS, or give "
            "the recogniser more memory",
            code="out_of_memory",
        )
    logger.error("an utterance of %.1f s failed alone", duration_secs, exc_info=error)
    return EngineFailure(f"the recogniser failed on an utterance of {duration_secs:.1f} s ({type(error).__name__})")
