"""Training speech of the phone model: random sequences of frequent words by espeak-ng, which reports their starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody

VOICES: Final = (
    "en-us", "en-us+f1", "en-us+f3", "en-us+f5", "en-us+m1", "en-us+m2", "en-us+m4", "en-us+m6", "en-us+m7", "en-us+klatt",
    "en-us+klatt3", "en-us+Annie", "en-us+anika", "en-us+Michael", "en-us+steph", "en-us+Mario", "en-us+belinda",
    "en", "en+f1", "en+m2", "en-gb-x-rp", "en-gb-x-rp+f3", "en-gb-x-rp+m1", "en-gb-scotland", "en-gb-scotland+f5", "en-029",
)  # fmt: skip
_SHORT_WORDS, _SHORT_SHARE = 150, 0.4
"""The most frequent words are drawn more often, because they are short, reduced, and half of any text."""


@dataclass(frozen=True, slots=True)
class TrainingRender:
    """``samples``: ``(num_samples,) float32`` at 16 kHz mono; word starts are those that the synthesiser reports."""

    samples: Samples
    words: tuple[str, ...]
    word_starts_secs: tuple[Seconds, ...]


@cache
def frequent_words() -> tuple[str, ...]:
    """3,000 English words, the most frequent first."""
    return tuple(Path(__file__).with_name("frequent_words.txt").read_text("utf-8").split())


def training_renders(count: int, seed: int) -> Iterator[TrainingRender]:
    """Sequences of 4 to 12 words in all of `VOICES`, at many rates, pitches and vocal tract lengths."""
    random, espeak, words = np.random.default_rng(seed), Espeak(), frequent_words()
    while count:
        chosen = [
            words[random.integers(_SHORT_WORDS if random.random() < _SHORT_SHARE else len(words))]
            for _ in range(random.integers(4, 13))
        ]
        prosody = Prosody(rate_wpm=int(random.integers(130, 215)), pitch=int(random.integers(25, 76)))
        samples, starts = _speak(
            espeak, " ".join(chosen), str(random.choice(VOICES)), prosody, float(random.uniform(0.92, 1.08))
        )
        if len(starts) == len(chosen):
            count -= 1
            yield TrainingRender(samples, tuple(chosen), starts)


def _speak(espeak: Espeak, text: str, voice: str, prosody: Prosody, warp: float) -> tuple[Samples, tuple[Seconds, ...]]:
    """Audio and word starts; ``warp`` above 1 makes it faster and higher, formants included."""
    import soxr

    pcm, events = espeak.synthesize(text, voice, prosody)
    samples = soxr.resample(pcm.astype(np.float32) / 32768, ESPEAK_RATE_HZ * warp, SAMPLE_RATE_HZ)
    return np.asarray(samples, np.float32), tuple(event.start_secs / warp for event in events)
