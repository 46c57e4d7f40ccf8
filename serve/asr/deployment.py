"""The recogniser as a Ray Serve deployment: utterances in, words out, one recogniser a replica."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
from ray import serve

from audio.pcm import to_float
from schemas.domain import SAMPLE_RATE_HZ, Lane, Recognition
from schemas.engines import EngineInfo, Samples
from schemas.errors import InvalidRequest, Unavailable
from schemas.settings import Settings
from serve.asr.admission import Admission
from serve.asr.batching import Batcher
from serve.engines import build_recognizer
from serve.loading import Loaded


class _Served:
    """A recogniser and the queue before it."""

    def __init__(self, settings: Settings) -> None:
        self.recognizer = build_recognizer(settings)
        info = self.recognizer.info
        max_batch = min(info.capabilities["max_batch"], settings.engines.asr_max_batch)
        self.info = replace(info, capabilities={**info.capabilities, "max_batch": max_batch})
        batcher = Batcher(self.recognizer, max_batch, settings.engines.asr_batch_secs)
        self.admission: Admission[Samples, Recognition] = Admission(batcher.run, batcher.choose, "recognizer")

    def warm_up(self) -> None:
        self.recognizer.recognize([_warm_up_sound()])


@serve.deployment
class RecognizerDeployment:
    """A replica is ready once it has recognised something; how many there are is the application's choice."""

    def __init__(self, settings: Settings) -> None:
        self._loaded = Loaded(settings, "recognizer", _Served, _Served.warm_up)

    async def recognize(self, pcm: bytes, lane: Lane = "interactive") -> Recognition:
        """One utterance of s16le PCM at 16 kHz mono; word times count from its first sample.

        Raises InvalidRequest for half a sample, EngineFailure for an utterance the engine cannot process, Unavailable
        where its model could not be loaded.
        """
        samples, served = samples_from_pcm(pcm), self._loaded.engine
        recognition = await served.admission.submit(samples, samples.size / SAMPLE_RATE_HZ, lane)
        return replace(recognition, punctuated=served.info.capabilities["punctuation"])

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.info

    async def check_health(self) -> None:
        """Answering is the proof: the replica's loop is free, and the recogniser replaces a decoder that dies."""

    def __del__(self) -> None:
        # Absent where __init__ raised, or where nothing could be loaded.
        with suppress(AttributeError, Unavailable):
            self._loaded.engine.recognizer.close()


def samples_from_pcm(pcm: bytes) -> Samples:
    """``(num_samples,) float32`` in [-1, 1) of s16le bytes. Raises InvalidRequest for an odd number of bytes."""
    if len(pcm) % 2:
        raise InvalidRequest(f"{len(pcm)} bytes are not s16le PCM: the number must be even", param="pcm")
    return to_float(np.frombuffer(pcm, "<i2"))


def _warm_up_sound() -> Samples:
    """Half a second of noise that swells and fades: steady noise would be answered without the decoder."""
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ // 2)
    return np.asarray(0.1 * noise * np.hanning(noise.size), np.float32)
