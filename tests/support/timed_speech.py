"""Sentences with word starts by the synthesiser."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody


@dataclass(frozen=True, slots=True)
class TimedSpeech:
    """``samples``: ``(num_samples,) float32`` at 16 kHz mono. ``words``: lower-case words and where each begins, s."""

    samples: Samples
    words: tuple[tuple[str, Seconds], ...]

    def unique_words(self) -> Iterator[tuple[str, Seconds]]:
        """Words that are said once, so that a recognised one is surely the same."""
        counts = Counter(word for word, _ in self.words)
        return ((word, start) for word, start in self.words if counts[word] == 1)


def timed(text: str, voice: str = "en-us", rate_wpm: int = 160, seed: int = 0) -> TimedSpeech:
    """``text`` spoken, with faint room noise. espeak-ng reports no event for words that it joins (``on the``)."""
    chunks = list(Espeak().render(text, voice, Prosody(rate_wpm=rate_wpm)))
    spoken = np.concatenate([chunk.samples for chunk in chunks]).astype(np.float32) / 32768
    samples = np.asarray(soxr.resample(spoken, ESPEAK_RATE_HZ, SAMPLE_RATE_HZ), np.float32)
    samples += 2e-3 * np.random.default_rng(seed).standard_normal(samples.size).astype(np.float32)
    words = tuple(
        (re.sub(r"[^\w']", "", text[event.text_position : event.text_position + event.length]).lower(), event.start_secs)
        for chunk in chunks
        for event in chunk.words
    )
    return TimedSpeech(samples, words)
