"""Rendered readings, on which settings of the recogniser are chosen: no recordings of people are used.

    python -m benchmarks.quality.tuning.rendered_readings FOLDER

Two sets of 18 windows of 4 to 14 s are written, ``fit-NN.npz`` to choose on and ``check-NN.npz`` to measure on, with
``samples`` (``(num_samples,) float32`` in [-1, 1] at 16 kHz mono), ``text`` and ``voice``. The sets share no voice and no
sentence. Takes six minutes of one core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Seconds
from schemas.engines import Samples, Synthesizer
from schemas.settings import EngineSettings, Settings
from schemas.speech import Part, Passage, VoiceProfile
from serve.engines.registry import build_synthesizer
from serve.engines.tts.voices import built_in

WINDOWS: Final = 18
_LENGTH_SECS: Final = (4.0, 13.0)
_LONGEST_SECS: Final = 14.0
_GAP_SECS: Final = (0.1, 0.6)
_SPEED: Final = (0.9, 1.15)

SENTENCES: Final = tuple(
    line
    for line in (Path(__file__).parent / "readings.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)
"""Thirty of the Harvard sentences (IEEE, 1969) and prose of our own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """``samples``: ``(num_samples,) float32`` in [-1, 1] at 16 kHz mono."""

    samples: Samples
    text: str
    voice: str


def load(folder: Path, name: str) -> list[Reading]:
    """The set ``fit`` or ``check``. Raises FileNotFoundError where it has not been rendered."""
    files = sorted(folder.glob(f"{name}-*.npz"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no {name}-*.npz; make them with {__spec__.name} {folder}")
    return [Reading(found["samples"], str(found["text"]), str(found["voice"])) for found in map(np.load, files)]


def with_noise(samples: Samples, snr_db: float, seed: int) -> Samples:
    """White noise under ``samples`` so far below their mean power."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    noise = np.random.default_rng(seed).standard_normal(samples.size)
    return np.asarray(samples + noise * np.sqrt(power / 10 ** (snr_db / 10)), np.float32)


def render(
    synthesizer: Synthesizer, voices: Sequence[VoiceProfile], sentences: Sequence[str], seed: int
) -> Iterator[Reading]:
    """Windows of some sentences each, voices in turn; every sentence is read once before any is repeated."""
    random = np.random.default_rng(seed)
    left: list[int] = []
    for number in range(WINDOWS):
        voice, wanted = voices[number % len(voices)], random.uniform(*_LENGTH_SECS)
        pieces: list[Samples] = []
        texts: list[str] = []
        length: Seconds = 0.0
        while length < wanted:
            left = left or list(random.permutation(len(sentences)))
            sentence = sentences[left.pop()]
            said = _say(synthesizer, sentence, voice, float(random.uniform(*_SPEED)))
            if texts and length + said.size / SAMPLE_RATE_HZ > _LONGEST_SECS:
                break
            gap = np.zeros(round(random.uniform(*_GAP_SECS) * SAMPLE_RATE_HZ), np.float32)
            pieces += [gap, said] if pieces else [said]
            texts.append(sentence)
            length = sum(piece.size for piece in pieces) / SAMPLE_RATE_HZ
        yield Reading(np.concatenate(pieces), " ".join(texts), voice.voice_id)


def _say(synthesizer: Synthesizer, text: str, voice: VoiceProfile, speed: float) -> Samples:
    resampler = Resampler(SAMPLE_RATE_HZ)
    passage = Passage((Part(text),), len(text), 0.0)
    spoken = [resampler.feed(piece, SPEECH_RATE_HZ) for piece in synthesizer.render(passage, voice, 0.0, speed)]
    return np.concatenate([*spoken, resampler.finish()])


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    synthesizer = build_synthesizer(Settings(engines=EngineSettings(tts_engine="kokoro", device="cpu")))
    voices = [voice for voice in built_in("kokoro") if voice.language.startswith("en")]
    for seed, name in enumerate(("fit", "check")):
        for number, reading in enumerate(render(synthesizer, voices[seed::2], SENTENCES[seed::2], seed)):
            target = folder / f"{name}-{number:02}.npz"
            np.savez(target, samples=reading.samples, text=reading.text, voice=reading.voice)
            print(f"{target.name}: {reading.samples.size / SAMPLE_RATE_HZ:.1f} s, {reading.voice}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
