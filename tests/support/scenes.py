"""Recordings composed of speech, human sounds and noise, with their times as labels, for event detectors.

A tiny classifier is trained on some of them (`scripts/tiny_ast.py`) and tested on others: other voices, takes, sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from scipy.signal import lfilter

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Span
from schemas.engines import Samples
from schemas.speech import Cue, VoiceProfile
from serve.engines.tts.cues import render_cue

CUE_LABELS: Final[dict[Cue, str]] = {
    "laugh": "Laughter",
    "cough": "Cough",
    "sigh": "Sigh",
    "gasp": "Gasp",
    "sniff": "Sniff",
    "hesitate": "Speech",
}
"""Cues by AudioSet's names; a drawn-out "uhm" is speech to a classifier."""
SPEECH: Final = "Speech"
NOISE: Final = "White noise"
LABELS: Final = (SPEECH, *(label for label in CUE_LABELS.values() if label != SPEECH), NOISE)


@dataclass(frozen=True, slots=True)
class Planted:
    """A sound in a scene, by AudioSet's name."""

    label: str
    span: Span


@dataclass(frozen=True, slots=True)
class Scene:
    """``samples``: ``(num_samples,) float32`` at 16 kHz."""

    samples: Samples
    planted: tuple[Planted, ...]


def scene(speech: Sequence[Samples], seed: int, takes_from: int, count: int = 14) -> Scene:
    """``count`` sounds in a row with pauses between, over a soft noise floor; about every third is one of ``speech``.

    Cues are of takes from ``takes_from`` on, each in a voice of its own, at levels 12 dB apart at most.
    """
    chance = np.random.default_rng(seed)
    pieces: list[Samples] = []
    planted: list[Planted] = []
    at = 0
    for index in range(count):
        gap = np.zeros(round(chance.uniform(0.25, 1.2) * SAMPLE_RATE_HZ), np.float32)
        label, sound = _sound(chance, speech, takes_from + index)
        sound = sound * np.float32(10 ** (chance.uniform(-12, 0) / 20))
        start = at + gap.size
        at = start + sound.size
        pieces += [gap, sound]
        planted.append(Planted(label, Span(start / SAMPLE_RATE_HZ, at / SAMPLE_RATE_HZ)))
    samples = np.concatenate([*pieces, np.zeros(SAMPLE_RATE_HZ, np.float32)])
    floor = 10 ** (chance.uniform(-75, -50) / 20) * chance.standard_normal(samples.size)
    return Scene(np.asarray(samples + floor, np.float32), tuple(planted))


def cue(name: Cue, f0_hz: float, take: int) -> Samples:
    """One cue at 16 kHz, without the silence around it."""
    rendered = render_cue(name, VoiceProfile("scene", "en-us", f0_hz=f0_hz), take)
    return _trimmed(np.asarray(soxr.resample(rendered, SPEECH_RATE_HZ, SAMPLE_RATE_HZ), np.float32))


def _sound(chance: np.random.Generator, speech: Sequence[Samples], take: int) -> tuple[str, Samples]:
    kind = chance.random()
    if kind < 0.3:
        said = _trimmed(speech[chance.integers(len(speech))])
        length = round(chance.uniform(0.6, 2.5) * SAMPLE_RATE_HZ)
        start = chance.integers(max(1, said.size - length))
        return SPEECH, said[start : start + length]
    if kind < 0.42:
        return NOISE, _noise(chance)
    names: list[Cue] = list(CUE_LABELS)
    name = names[chance.integers(len(names))]
    return CUE_LABELS[name], cue(name, chance.uniform(80, 260), take)


def _noise(chance: np.random.Generator) -> Samples:
    """Steady noise of some colour, a second or two of it: what a classifier must not take for breath."""
    sound = lfilter(
        [1.0], [1.0, -chance.uniform(-0.5, 0.95)], chance.standard_normal(int(chance.uniform(1.0, 2.5) * 16_000))
    )
    return np.asarray(0.2 * sound / np.abs(sound).max(), np.float32)


def _trimmed(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]
