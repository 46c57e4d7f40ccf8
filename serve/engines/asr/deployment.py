"""The recogniser as a Ray Serve deployment: utterances in, words out, one recogniser a replica."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import replace

import numpy as np
from ray import serve

from audio.pcm import to_float
from schemas.domain import AS_SPOKEN, SAMPLE_RATE_HZ, Lane, Recognition, RecognizeOptions, Seconds
from schemas.engines import EngineInfo, Samples
from schemas.errors import InvalidRequest, Unavailable
from schemas.settings import Settings
from serve.engines.asr.batching import Batcher, Utterance
from serve.engines.asr.supported_options import check_capabilities
from serve.engines.priority_queue import Admission
from serve.engines.registry import build_recognizer
from serve.engines.replica_load import ReplicaLoad
from serve.engines.replica_loader import Loaded


class _Served:
    """A recogniser and its queue."""

    def __init__(self, settings: Settings) -> None:
        self.recognizer = build_recognizer(settings)
        info = self.recognizer.info
        max_batch = min(info.capabilities["max_batch"], settings.engines.asr_max_batch)
        self.info = replace(info, capabilities={**info.capabilities, "max_batch": max_batch})
        batcher = Batcher(self.recognizer, max_batch, settings.engines.asr_batch_secs)
        workers = getattr(self.recognizer, "workers", 1)
        self.batch_key: Callable[[Seconds], Hashable] = getattr(self.recognizer, "batch_key", lambda _: None)
        self.admission: Admission[Utterance, Recognition] = Admission(batcher.run, batcher.choose, "recognizer", workers)

    def warm_up(self) -> None:
        self.recognizer.recognize([_warm_up_sound()])


@serve.deployment
class RecognizerDeployment:
    """A replica is ready after its warm-up. The application sets the number of replicas."""

    def __init__(self, settings: Settings) -> None:
        self._loaded = Loaded(settings, "recognizer", _Served, _Served.warm_up)
        self._load = ReplicaLoad()

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        """One utterance of s16le PCM at 16 kHz mono; word times count from its first sample.

        Raises InvalidRequest for half a sample, InvalidParameter for options that the engine does not support,
        EngineFailure for an utterance it cannot process, Unavailable where its model could not be loaded.
        """
        samples, served = samples_from_pcm(pcm), self._loaded.engine
        utterance, secs = Utterance(samples, options), samples.size / SAMPLE_RATE_HZ
        with self._load.request() as begun:
            group = options, served.batch_key(secs)
            recognition = await served.admission.submit(utterance, secs, lane, group, begun)
        return replace(recognition, punctuated=served.info.capabilities["punctuation"])

    async def check_options(self, options: RecognizeOptions) -> None:
        """Raises InvalidParameter, naming the parameter, for an option that the engine does not support."""
        served = self._loaded.engine
        check_capabilities(options, served.info)
        await asyncio.to_thread(served.recognizer.check, options)

    async def info(self) -> EngineInfo:
        """Raises Unavailable where the model could not be loaded."""
        return self._loaded.engine.info

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray Serve where the number of replicas follows the load."""
        return self._load.report()

    async def check_health(self) -> None:
        """Called by Ray Serve; an answer shows that the replica's event loop is not blocked."""

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
    """Half a second of noise with an envelope, because steady noise is recognised as silence without the decoder."""
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ // 2)
    return np.asarray(0.1 * noise * np.hanning(noise.size), np.float32)
