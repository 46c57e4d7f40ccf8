"""Recordings for end-to-end tests, rendered here. Cached: two renders of one text differ by milliseconds."""

from __future__ import annotations

import io
import wave
from functools import cache

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from tests.support import speech


def wav(samples: Samples, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


@cache
def sentence(index: int = 0, seed: int = 0) -> bytes:
    """A spoken sentence; ``seed`` makes the bytes, not the words, unique."""
    samples = speech.say(speech.SENTENCES[index])
    return wav(samples + speech.noise(samples.size / SAMPLE_RATE_HZ, 1e-3, seed)[: samples.size])


@cache
def conversation(seed: int = 0) -> bytes:
    """Two clearly different voices taking turns."""
    parts = [
        speech.say(text, *(speech.LOW_VOICE if i % 2 == 0 else speech.HIGH_VOICE))
        for i, text in enumerate(speech.SENTENCES[:4])
    ]
    samples, _ = speech.sequence(parts)
    return wav(samples + speech.noise(samples.size / SAMPLE_RATE_HZ, 1e-3, seed)[: samples.size])


@cache
def long(seconds: float, seed: int = 0) -> bytes:
    """Speech of about that length, for jobs that must still be running when something is killed."""
    parts: list[Samples] = []
    total = 0
    while total < seconds * SAMPLE_RATE_HZ:
        part = speech.say(speech.SENTENCES[len(parts) % len(speech.SENTENCES)])
        parts.append(part)
        total += part.size + int(0.6 * SAMPLE_RATE_HZ)
    samples, _ = speech.sequence(parts)
    return wav(samples + speech.noise(samples.size / SAMPLE_RATE_HZ, 1e-3, seed)[: samples.size])
