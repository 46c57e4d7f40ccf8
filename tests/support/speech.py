"""Speech that tests render themselves, so that no recordings are needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache

import numpy as np
import soxr

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span
from schemas.engines import Samples
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Prosody
from tests.support.processes import python

SENTENCES = (
    "the old man walked slowly along the river in the morning",
    "she opened the window and looked out over the garden",
    "the committee will discuss the budget next week",
    "the children played in the garden until the evening",
    "he put the letter on the table and left the room",
    "the train to the city leaves at seven in the morning",
)
"""Sentences of plain words, for any recogniser under test."""

LOW_VOICE = ("en-us+m3", Prosody(rate_wpm=150, pitch=25))
HIGH_VOICE = ("en-us+f3", Prosody(rate_wpm=150, pitch=75))


# The first render of a process is the same every time; later ones differ by milliseconds with what was said before.
_RENDER = """
import json, sys
from serve.engines.tts.espeak import Espeak, Prosody
text, voice, prosody = json.load(sys.stdin)
samples, _ = Espeak().synthesize(text, voice, Prosody(**prosody))
sys.stdout.buffer.write(samples.astype("<i2").tobytes())
"""


def say(text: str, voice: str = "en-us", prosody: Prosody | None = None) -> Samples:
    """``(num_samples,) float32`` at 16 kHz mono, the same bytes in every run; digital silence around and between words."""
    return _said(text, voice, prosody).copy()


@cache
def _said(text: str, voice: str, prosody: Prosody | None) -> Samples:
    asked = json.dumps([text, voice, asdict(prosody or Prosody(rate_wpm=150))])
    done = python(_RENDER, input=asked.encode())
    samples = np.frombuffer(done.stdout, "<i2").astype(np.float32) / 32768
    return np.asarray(soxr.resample(samples, ESPEAK_RATE_HZ, SAMPLE_RATE_HZ), np.float32)


def silence(duration_secs: Seconds) -> Samples:
    return np.zeros(round(duration_secs * SAMPLE_RATE_HZ), np.float32)


def noise(duration_secs: Seconds, level: float, seed: int = 0) -> Samples:
    """White noise of RMS ``level``."""
    generator = np.random.default_rng(seed)
    return np.asarray(level * generator.standard_normal(round(duration_secs * SAMPLE_RATE_HZ)), np.float32)


def sequence(parts: Sequence[Samples], gap_secs: Seconds = 0.6) -> tuple[Samples, list[Span]]:
    """The parts one after another with silence between them, and the span of each."""
    pieces: list[Samples] = []
    spans: list[Span] = []
    at = 0
    for part in parts:
        spans.append(Span(at / SAMPLE_RATE_HZ, (at + part.size) / SAMPLE_RATE_HZ))
        pieces += [part, silence(gap_secs)]
        at += part.size + round(gap_secs * SAMPLE_RATE_HZ)
    return np.concatenate(pieces), spans
