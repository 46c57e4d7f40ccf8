"""Rendering a passage until it says its text, or as often as allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Passage, Samples
from schemas.settings import Settings
from serve.tts.verify.verdict import Verdict, Verifier, expected_of


@dataclass(frozen=True, slots=True)
class Checked:
    """``samples``: ``(num_samples,) float32`` at 24 kHz, with the verdict on them; ``retries`` came before or after."""

    samples: Samples
    verdict: Verdict
    retries: int


def render_checked(
    render: Callable[[], Iterable[Samples]], passage: Passage, verifier: Verifier, max_retries: int
) -> Checked:
    """The first rendering that passes, else of ``1 + max_retries`` the one least likely wrong.

    ``render`` makes the passage anew at each call, in pieces at 24 kHz. Raises what it raises, and EngineFailure.
    """
    expected = expected_of(passage)
    best: tuple[Samples, Verdict] | None = None
    for retries in range(max_retries + 1):
        pieces = list(render())
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        verdict = verifier.check(for_listening(samples), expected)
        if best is None or verdict.score < best[1].score:
            best = samples, verdict
        if verdict.ok:
            return Checked(samples, verdict, retries)
    assert best is not None  # noqa: S101  # max_retries is no less than zero
    return Checked(*best, max_retries)


def for_listening(samples: Samples) -> Samples:
    """``(num_samples,) float32`` at 24 kHz to 16 kHz."""
    resampler = Resampler(SAMPLE_RATE_HZ)
    return np.concatenate((resampler.feed(samples, SPEECH_RATE_HZ), resampler.finish()))


def build_verifier(settings: Settings) -> Verifier:
    """The check that fits the synthesiser that is chosen, loaded. Raises Unavailable or EngineFailure.

    The embedded one knows the embedded voices and no others; every other synthesiser is heard by a recogniser.
    """
    from serve.engines import build_recognizer, choice

    if choice(settings, "synthesizer").engine == "espeak":
        from serve.tts.verify.phonetic import PhoneVerifier

        return PhoneVerifier()
    from serve.tts.verify.recognized import MAX_WORD_ERROR_RATE, MAX_WORD_ERROR_RATE_EMBEDDED, RecognizerVerifier

    is_embedded = choice(settings, "recognizer").engine == "pocketsphinx"
    limit = MAX_WORD_ERROR_RATE_EMBEDDED if is_embedded else MAX_WORD_ERROR_RATE
    recognizer = build_recognizer(settings)
    return RecognizerVerifier(recognizer.recognize, limit, recognizer.close)
