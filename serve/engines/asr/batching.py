"""Forms batches of utterances, and handles utterances that fail and memory that runs out.

`ray.serve.batch` takes requests in order, up to a number, after a delay. It has no lanes, ignores lengths, and cannot
handle a batch that fails. A recogniser pads a batch to its longest utterance and uses the same options for all. So a batch
has utterances with equal options and lengths near the oldest's, up to a budget of padded seconds. There is no delay: see
`serve.engines.priority_queue`.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from schemas.domain import AS_SPOKEN, SAMPLE_RATE_HZ, Recognition, RecognizeOptions, Seconds
from schemas.engines import Recognizer, Samples
from schemas.errors import EngineFailure, FluxionsError, InvalidParameter
from serve.engines.model_files import is_out_of_memory
from telemetry.metrics import BATCH_SIZE, count_engine

_MAX_PADDING: Final = 1 / 3
"""Largest share of padding in a batch's padded seconds: above it, a batch costs more time than it saves."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Utterance:
    """``samples``: ``(num_samples,) float32`` in [-1, 1] at 16 kHz mono. Utterances of one batch have equal ``options``."""

    samples: Samples
    options: RecognizeOptions = AS_SPOKEN


class Batcher:
    """Runs batches on a recogniser, and makes them smaller permanently when memory runs out."""

    def __init__(self, recognizer: Recognizer, max_items: int, budget_secs: Seconds) -> None:
        self._recognizer = recognizer
        self._max_items = max_items
        self._budget_secs = budget_secs

    @property
    def budget_secs(self) -> Seconds:
        """Most padded seconds of a batch: as configured, or half of a batch that did not fit into memory."""
        return self._budget_secs

    def choose(self, lengths_secs: Sequence[Seconds]) -> list[int]:
        """Indices of the utterances in a batch with the oldest, ``lengths_secs[0]``, nearest in length first.

        An utterance over the budget is processed alone.
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

    def run(self, utterances: Sequence[Utterance]) -> list[Recognition | Exception]:
        """A Recognition or an error for each utterance, in order; never raises for a bad utterance or a lack of memory.

        Each Recognition has its batch's time. When memory runs out the batch is halved. After any other error each
        utterance is tried alone, except for a FluxionsError about the options, which is the result of all.
        """
        began = time.monotonic()
        try:
            found = self._recognizer.recognize([u.samples for u in utterances], utterances[0].options)
        except InvalidParameter as error:
            return [error] * len(utterances)
        except Exception as error:
            short_of_memory = is_out_of_memory(error)
            if len(utterances) == 1:
                return [_failure(error, utterances[0].samples.size / SAMPLE_RATE_HZ)]
            if not short_of_memory:
                logger.warning("a batch of %d failed (%s); trying each alone", len(utterances), type(error).__name__)
        else:
            engine_secs = time.monotonic() - began
            count_engine("recognizer", engine_secs)
            BATCH_SIZE.observe(len(utterances))
            return [replace(recognition, engine_secs=engine_secs) for recognition in found]
        # Outside the except block, because in it the error's frames hold the tensors of the failed batch.
        if not short_of_memory:
            return [result for utterance in utterances for result in self.run([utterance])]
        self._shrink(utterances)
        half = len(utterances) // 2
        return self.run(utterances[:half]) + self.run(utterances[half:])

    def _shrink(self, utterances: Sequence[Utterance]) -> None:
        padded_secs = max(u.samples.size for u in utterances) / SAMPLE_RATE_HZ * len(utterances)
        self._budget_secs = min(self._budget_secs, padded_secs / 2)
        logger.warning("out of memory at %.0f padded seconds; batches hold %.0f s now", padded_secs, self._budget_secs)
        torch = sys.modules.get("torch")  # imported already if a GPU ran out of memory
        if torch is not None and torch.cuda.is_available():
            gc.collect()  # reference cycles of the failed call still hold tensors
            torch.cuda.empty_cache()


def _failure(error: Exception, duration_secs: Seconds) -> Exception:
    """FluxionsErrors unchanged; any other error becomes an EngineFailure without words of the recording."""
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
