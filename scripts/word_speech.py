"""Rendered sentences of twenty words with the time of every word, to train the tests' recognisers on.

The synthesiser reports where each word starts. The end of a word before a pause is found in its audio, which is exactly
zero there. Everything is drawn from a seeded generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import soxr

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span
from schemas.engines import Samples
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody

WORDS: Final = tuple(
    "zero one two three four five six seven eight nine yes no go stop left right up down hello world".split()  # noqa: SIM905
)
VOICES: Final = ("en-us", "en-us+f2", "en-us+m3")
_MOST_WORDS: Final = 4
_SILENT_SHARE: Final = 0.04
_LOUD: Final = 2e-3
"""Level at which a word begins and ends; between words the audio is zero, and fades are below this level."""


@dataclass(frozen=True, slots=True)
class SpokenUtterance:
    """``samples``: ``(num_samples,) float32`` at 16 kHz mono. ``words`` as written, ``spans`` where each was said."""

    samples: Samples
    words: tuple[str, ...]
    spans: tuple[Span, ...]


def utterances(count: int, seed: int, voices: tuple[str, ...] = VOICES) -> list[SpokenUtterance]:
    """Utterances of one or two sentences, with noise under them; one in 25 holds nothing but noise."""
    random, espeak = np.random.default_rng(seed), Espeak()
    made: list[SpokenUtterance] = []
    while len(made) < count:
        if random.random() < _SILENT_SHARE:
            made.append(SpokenUtterance(_noisy(np.zeros(random.integers(8_000, 48_000), np.float32), random), (), ()))
            continue
        prosody = Prosody(rate_wpm=int(random.integers(125, 170)), pitch=int(random.integers(35, 66)))
        spoken = render(espeak, _sentences(random), str(random.choice(voices)), prosody)
        if spoken is not None:
            made.append(_embedded(spoken, random))
    return made


def render(espeak: Espeak, text: str, voice: str, prosody: Prosody) -> SpokenUtterance | None:
    """``text`` without noise; None where the synthesiser's events are not one a word."""
    pcm, events = espeak.synthesize(text, voice, prosody)
    samples = np.asarray(soxr.resample(pcm.astype(np.float32) / 32768, ESPEAK_RATE_HZ, SAMPLE_RATE_HZ), np.float32)
    words = tuple(text.split())
    if len(events) != len(words):
        return None
    starts = [event.start_secs for event in events]
    return SpokenUtterance(samples, words, tuple(_spans(samples, starts)))


def _sentences(random: np.random.Generator) -> str:
    """``Hello seven. Stop left.``: capitals and full stops are what a model that writes them must learn from pauses."""
    sentences = []
    for _ in range(random.integers(1, 3)):
        words = random.choice(WORDS, random.integers(1, _MOST_WORDS + 1))
        sentences.append(" ".join(words).capitalize() + ".")
    return " ".join(sentences)


def _spans(samples: Samples, starts: list[Seconds]) -> list[Span]:
    bounds = [*starts, samples.size / SAMPLE_RATE_HZ]
    spans = []
    for start, limit in pairwise(bounds):
        loud = np.flatnonzero(np.abs(samples[round(start * SAMPLE_RATE_HZ) : round(limit * SAMPLE_RATE_HZ)]) > _LOUD)
        spans.append(Span(start, start + (int(loud[-1]) + 1) / SAMPLE_RATE_HZ if loud.size else limit))
    return spans


def _embedded(spoken: SpokenUtterance, random: np.random.Generator) -> SpokenUtterance:
    before, after = random.integers(0, 6_000, 2)
    level = random.uniform(0.3, 1.2)
    samples = _noisy(np.pad(spoken.samples * np.float32(level), (before, after)), random)
    shift = before / SAMPLE_RATE_HZ
    return SpokenUtterance(
        samples, spoken.words, tuple(Span(s.start_secs + shift, s.end_secs + shift) for s in spoken.spans)
    )


def _noisy(samples: Samples, random: np.random.Generator) -> Samples:
    """White noise of -80 to -50 dBFS; none at all for one in four, as rendered speech has none."""
    level = 0.0 if random.random() < 0.25 else 10 ** random.uniform(-4, -2.5)
    return samples + np.float32(level) * random.standard_normal(samples.size, dtype=np.float32)
