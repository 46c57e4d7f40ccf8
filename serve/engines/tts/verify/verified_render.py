"""Renders a passage until its check passes, or as often as allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.settings import Settings
from serve.engines.tts.verify.verdict import Expected, Verdict, Verifier

RETRY_PACES: Final = (1.0, 0.94, 1.06)
"""Relative speed of the first rendering and of those after it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """``samples``: ``(num_samples,) float32`` at 24 kHz, with their verdict; ``retries``: number of further renderings."""

    samples: Samples
    verdict: Verdict
    retries: int


def render_checked(
    render: Callable[[float], Iterable[Samples]], expected: Expected, verifier: Verifier, max_retries: int
) -> Checked:
    """The first rendering that passes, else of ``1 + max_retries`` the one with the lowest score.

    ``render`` renders the passage at each call, in pieces at 24 kHz, at the given speed relative to the requested one,
    because an engine that does not sample gives the same audio at the same speed. Raises as ``render`` and ``verifier`` do.
    """
    best: tuple[Samples, Verdict] | None = None
    for retries in range(max_retries + 1):
        pieces = list(render(RETRY_PACES[retries % len(RETRY_PACES)]))
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
    """The check for the configured synthesiser: the phone model for espeak-ng, Whisper for all others, whose weights are
    loaded at the first check. Raises EngineFailure."""
    from serve.engines.registry import choice

    if choice(settings, "synthesizer").engine == "espeak":
        from serve.engines.tts.verify.phone_verifier import PhoneVerifier

        return PhoneVerifier()
    from serve.engines.bundled_weights import find_weights
    from serve.engines.tts.verify.whisper_verifier import WhisperVerifier
    from serve.engines.weights_catalog import WHISPER_BASE

    return WhisperVerifier(lambda: find_weights(WHISPER_BASE, settings.home / "cache").folder)
