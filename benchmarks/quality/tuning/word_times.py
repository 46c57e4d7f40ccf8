"""Delay of Whisper's attention: word starts against the synthesiser's word events, on two sets of espeak voices.

    python -m benchmarks.quality.tuning.word_times whisper-base whisper-tiny.en

The median on the first set is the correction (`LATE_SECS` in `serve.engines.asr.whisper`). The reported errors are those on
the second set: eighty sentences of `benchmarks.verification` in other voices, one by one, and three together
in windows of long recordings.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

import numpy as np
import soxr

from benchmarks.quality.tuning.rendered_readings import SENTENCES
from benchmarks.verification.planted_renders import sentences
from schemas.domain import SAMPLE_RATE_HZ, RecognizeOptions, Seconds
from schemas.engines import Samples
from schemas.settings import EngineSettings, Settings
from serve.engines.asr.whisper import LATE_SECS, load_model
from serve.engines.asr.whisper_confidence import calibration_of
from serve.engines.asr.whisper_listener import WhisperListener
from serve.engines.registry import choice
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody

_FIT_VOICES: Final = ("en-us", "en-us+m3", "en-us+f2")
_CHECK_VOICES: Final = ("en-us+f3", "en-gb-x-rp", "en-us+m1", "en-us+f4", "en-us+m7", "en-gb-scotland+m2")
_READINGS: Final = 8
_FIT_RATES_WPM, _CHECK_RATES_WPM = (170, 150), (150, 165, 180)

Reading = tuple[str, str, int]
"""A text, its voice and its pace in words a minute."""


def fitting() -> Iterator[Reading]:
    """Readings for the correction."""
    every_other = SENTENCES[::2]
    pairs = zip(every_other[-_READINGS:], every_other[:_READINGS], strict=True)
    texts = [f"{long} {short}" for long, short in pairs]
    for number, text in enumerate(texts):
        for voice in (_FIT_VOICES[number % 3], _FIT_VOICES[(number + 1) % 3]):
            yield text, voice, _FIT_RATES_WPM[number % 2]


def checking(together: int) -> Iterator[Reading]:
    """Readings for the reported errors, ``together`` sentences each."""
    texts = sentences("en")[1::2]
    for number, first in enumerate(range(0, len(texts) - together + 1, together)):
        text = " ".join(texts[first : first + together])
        yield text, _CHECK_VOICES[number % len(_CHECK_VOICES)], _CHECK_RATES_WPM[number % 3]


def spoken(text: str, voice: str, rate_wpm: int, seed: int) -> tuple[Samples, list[tuple[str, Seconds]]]:
    """``(num_samples,) float32`` at 16 kHz with faint room noise, and the start of each word."""
    chunks = list(Espeak().render(text, voice, Prosody(rate_wpm=rate_wpm)))
    sound = np.concatenate([chunk.samples for chunk in chunks]).astype(np.float32) / 32768
    samples = np.asarray(soxr.resample(sound, ESPEAK_RATE_HZ, SAMPLE_RATE_HZ), np.float32)
    samples += np.float32(2e-3) * np.random.default_rng(seed).standard_normal(samples.size, dtype=np.float32)
    events = [event for chunk in chunks for event in chunk.words]
    return samples, [(_plain(text[e.text_position : e.text_position + e.length]), e.start_secs) for e in events]


def errors_secs(listener: WhisperListener, readings: Iterable[Reading]) -> Iterator[Seconds]:
    """Recognised start minus spoken start, for each word that is recognised."""
    for seed, (text, voice, rate_wpm) in enumerate(readings):
        samples, words = spoken(text, voice, rate_wpm, seed)
        (recognition,) = listener([samples], RecognizeOptions("en"))
        heard = [_plain(word.text) for word in recognition.words]
        for block in SequenceMatcher(None, [word for word, _ in words], heard, autojunk=False).get_matching_blocks():
            for place in range(block.size):
                yield recognition.words[block.b + place].start_secs - words[block.a + place][1]


def main(models: Sequence[str]) -> None:
    for model in models:
        settings = Settings(engines=EngineSettings(asr_engine="whisper", asr_model=model, device="cpu"))
        whisper, calibration = load_model(choice(settings, "recognizer")), calibration_of(model)
        raw = np.asarray(list(errors_secs(WhisperListener(whisper, calibration), fitting())))
        print(f"{model}: late by {np.median(raw):.3f} s on {raw.size} words; LATE_SECS has {LATE_SECS.get(model, 0.0)}")
        listener = WhisperListener(whisper, calibration, late_secs=LATE_SECS.get(model, 0.0))
        for together in (1, 3):
            left = np.abs(np.asarray(list(errors_secs(listener, checking(together)))))
            median, tail = np.median(left), np.percentile(left, 95)
            print(f"  sentences by {together}: {left.size} words, median {median:.3f} s, 95 % within {tail:.3f} s")


def _plain(text: str) -> str:
    return re.sub(r"[^\w']", "", text).lower()


if __name__ == "__main__":
    main(sys.argv[1:])
