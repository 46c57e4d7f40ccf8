"""A recogniser over a model that processes batches of utterances: the common part of NeMo and transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from schemas.domain import AS_SPOKEN, SAMPLE_RATE_HZ, Recognition, RecognizeOptions
from schemas.engines import EngineInfo, Samples
from serve.engines.asr.language import with_language
from serve.engines.asr.supported_options import check_capabilities
from serve.engines.asr.windows import recognize_in_windows


class BatchRecognizer:
    """A `schemas.engines.Recognizer` that works on batches. One call at a time.

    Batch size and window length are those of the capabilities in ``info``.
    """

    def __init__(
        self, recognize_batch: Callable[..., list[Recognition]], info: EngineInfo, language: str | None = None
    ) -> None:
        """``recognize_batch`` takes utterances and, if the model supports it, ``language``; see `configured_language`."""
        self._recognize_batch, self._info, self._language = recognize_batch, info, language

    @property
    def info(self) -> EngineInfo:
        return self._info

    def recognize(self, utterances: Sequence[Samples], options: RecognizeOptions = AS_SPOKEN) -> list[Recognition]:
        """One Recognition an utterance, in order, whatever its length.

        Raises EngineFailure for samples not finite, InvalidParameter for options that the model does not support.
        """
        check_capabilities(options, self._info)
        can = self._info.capabilities
        language = self._language or (options.language if can["takes_language"] else None)
        recognize_batch = partial(self._recognize_batch, **with_language({}, language))
        return recognize_in_windows(utterances, recognize_batch, can["max_utterance_secs"], can["max_batch"])

    def check(self, options: RecognizeOptions) -> None:
        """Raises nothing: the capabilities are the only limits."""

    def warm_up(self) -> None:
        """Recognise a second of noise, because the first call of a process compiles and allocates for seconds."""
        noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ, dtype=np.float32)
        self._recognize_batch([np.float32(0.1) * noise * np.hanning(noise.size).astype(np.float32)])

    def close(self) -> None:
        """Does nothing: the model is freed with its owner."""
