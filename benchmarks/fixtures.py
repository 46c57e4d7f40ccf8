"""Recordings for benchmarks (rendered speech, WAV files), and transcribing them on a running server."""

from __future__ import annotations

import io
import itertools
import time
import wave
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.public import Client, Upload
from schemas.domain import SAMPLE_RATE_HZ
from schemas.errors import FluxionsError

Pcm = NDArray[np.int16]
"""``(num_samples,) int16`` at 16 kHz mono."""

POLL_SECS = 0.02
# Recordings never have digital silence; -54 dBFS is the noise of a quiet room.
_NOISE_SIGMA = 2e-3 * 32_768
_SENTENCES = (
    "the morning was bright and the harbour was full of small boats",
    "she asked him twice whether the letter had come and he shook his head",
    "nobody in the village remembered when the old mill had last been used",
    "we walked along the river until the road turned towards the hills",
    "it takes about two hours to drive from here to the nearest station",
    "the committee will meet again on thursday to settle the remaining questions",
)


def speech(duration_secs: float, seed: int) -> Pcm:
    """Rendered sentences with pauses and room noise, cut to ``duration_secs``."""
    import soxr

    from serve.engines.tts.espeak import Espeak

    random = np.random.default_rng(seed)
    espeak = Espeak()
    voices = ("en-us", "en-us+f3", "en-gb-x-rp")
    parts: list[NDArray[np.float64]] = []
    missing = round(duration_secs * SAMPLE_RATE_HZ)
    for number in itertools.count():
        if missing <= 0:
            break
        spoken, _ = espeak.synthesize(_SENTENCES[number % len(_SENTENCES)], voices[number // 2 % len(voices)])
        resampled = soxr.resample(spoken.astype(np.float64), 22_050, SAMPLE_RATE_HZ)
        pause = np.zeros(round(random.uniform(0.5, 1.2) * SAMPLE_RATE_HZ))
        parts += [resampled, pause]
        missing -= len(resampled) + len(pause)
    whole = np.concatenate(parts)[: round(duration_secs * SAMPLE_RATE_HZ)]
    noisy = whole + random.normal(0.0, _NOISE_SIGMA, len(whole))
    return np.clip(np.rint(noisy), -32_768, 32_767).astype(np.int16)


def retouched(pcm: Pcm) -> Pcm:
    """The same audio with random lowest bits, different in each call."""
    thrown = np.random.default_rng().integers(-1, 2, len(pcm))
    again: Pcm = np.clip(pcm.astype(np.int32) + thrown, -32_768, 32_767).astype(np.int16)
    return again


def wav(pcm: Pcm) -> bytes:
    """A WAV file of it."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm.astype("<i2").tobytes())
    return buffer.getvalue()


def complete(
    client: Client, recording: bytes, *, cache: bool, follow: bool = False, wait_secs: float = 0.0
) -> tuple[float, dict[str, Any]]:
    """(time from the first byte sent to the received result in s, the result).

    ``follow`` waits by the job's event stream, because polling for a minute takes half a core from the measurement.
    ``wait_secs``: how long each request for the result waits for it.
    """
    began = time.perf_counter()
    job = client.submit(
        lambda: nullcontext(Upload("audio/wav", len(recording), iter([recording]))),
        filename="bench.wav",
        cache="true" if cache else "false",
    )
    if follow:
        client.until_final(job["id"])
    while True:
        body: dict[str, Any] = client.get(f"/transcriptions/{job['id']}", **({"wait_secs": wait_secs} if wait_secs else {}))
        if body["status"] == "completed":
            return time.perf_counter() - began, body
        if body["status"] not in ("submitted", "processing"):
            raise FluxionsError(
                f"transcription {job['id']} {body['status']}: {body.get('error_message')}", code="bench_failed"
            )
        client.wait(POLL_SECS)
