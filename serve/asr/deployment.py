"""The recogniser as a Ray Serve deployment: utterances in, words out, one decoder a replica."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
from ray import serve

from audio.pcm import to_float
from schemas.domain import SAMPLE_RATE_HZ, Recognition
from schemas.engines import EngineInfo, Samples
from schemas.errors import InvalidRequest
from schemas.settings import Settings
from serve.engines import build_recognizer


# Two at a time keep the decoder fed; the rest queue at the router, which gives them to whichever replica is free first.
@serve.deployment(max_ongoing_requests=2)
class RecognizerDeployment:
    """A replica is ready once it has recognised something; how many there are is the application's choice."""

    def __init__(self, settings: Settings) -> None:
        self._recognizer = build_recognizer(settings)
        self._recognizer.recognize([_warm_up_sound()])

    async def recognize(self, pcm: bytes) -> Recognition:
        """One utterance of s16le PCM at 16 kHz mono; word times count from its first sample.

        Raises InvalidRequest for half a sample, EngineFailure for an utterance the engine cannot process.
        """
        samples = samples_from_pcm(pcm)
        (recognition,) = await asyncio.to_thread(self._recognizer.recognize, [samples])
        return replace(recognition, punctuated=self._recognizer.info.capabilities["punctuation"])

    async def info(self) -> EngineInfo:
        return self._recognizer.info

    async def check_health(self) -> None:
        """Answering is the proof: the replica's loop is free, and the recogniser replaces a decoder that dies."""

    def __del__(self) -> None:
        # Absent where __init__ raised.
        if hasattr(self, "_recognizer"):
            self._recognizer.close()


def samples_from_pcm(pcm: bytes) -> Samples:
    """``(num_samples,) float32`` in [-1, 1) of s16le bytes. Raises InvalidRequest for an odd number of bytes."""
    if len(pcm) % 2:
        raise InvalidRequest(f"{len(pcm)} bytes are not s16le PCM: the number must be even", param="pcm")
    return to_float(np.frombuffer(pcm, "<i2"))


def _warm_up_sound() -> Samples:
    """Half a second of noise that swells and fades: steady noise would be answered without the decoder."""
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ // 2)
    return np.asarray(0.1 * noise * np.hanning(noise.size), np.float32)
