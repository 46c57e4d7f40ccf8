"""Render the voices of simulated meetings, for `benchmarks.quality.simulation.voice_bank` to load.

    .venv/bin/python -m benchmarks.quality.simulation.render_voices FOLDER

Each of Kokoro's voices says sentences and short answers in English, at paces and heights that vary from one utterance to
the next as people's do. Every other voice of each language and sex goes to the split ``dev``, to choose settings with, the
rest to ``test``, to measure on. Voices whose file is there already are left alone. Takes some fifteen minutes of one core.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import soxr

from audio.resample import Resampler
from benchmarks.quality.simulation.sentences import BACKCHANNELS, sentence
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples, Synthesizer
from schemas.settings import EngineSettings, Settings
from schemas.speech import Part, Passage, VoiceProfile
from serve.engines.registry import build_synthesizer
from serve.engines.tts.voices import built_in

SENTENCES: Final = 8
ANSWERS: Final = 5
_SPEED: Final = (0.85, 1.2)
_HEIGHT_SPREAD: Final = 0.025
"""Standard deviation of the logarithm of an utterance's pitch."""
_AUDIBLE: Final = 0.01
"""Share of the peak above which an end is not silence."""


def splits() -> dict[str, list[VoiceProfile]]:
    """The voices of ``dev`` and ``test``, all made to speak English."""
    kinds: defaultdict[str, list[VoiceProfile]] = defaultdict(list)
    for voice in sorted(built_in("kokoro"), key=lambda v: v.style):
        language = voice.language if voice.language.startswith("en") else "en-us"
        kinds[voice.style[0][0][:2]].append(replace(voice, language=language))
    ordered = [voice for kind in sorted(kinds) for voice in kinds[kind]]
    return {"dev": ordered[0::2], "test": ordered[1::2]}


def utterances(synthesizer: Synthesizer, voice: VoiceProfile, random: np.random.Generator) -> list[Samples]:
    """Each ``(num_samples,) float32`` at 16 kHz, without silence at its ends, peak 1."""
    answers = random.choice(BACKCHANNELS, ANSWERS, replace=False).tolist()
    texts = [*(sentence(random) for _ in range(SENTENCES)), *answers]
    return [_said(synthesizer, voice, text, random) for text in texts]


def _said(synthesizer: Synthesizer, voice: VoiceProfile, text: str, random: np.random.Generator) -> Samples:
    resampler = Resampler(SAMPLE_RATE_HZ)
    passage = Passage((Part(text),), len(text), 0.0)
    speed = float(random.uniform(*_SPEED))
    pieces = [resampler.feed(p, SPEECH_RATE_HZ) for p in synthesizer.render(passage, voice, 0.0, speed)]
    spoken = np.concatenate([*pieces, resampler.finish()])
    height = float(np.exp(_HEIGHT_SPREAD * random.standard_normal()))
    spoken = np.asarray(soxr.resample(spoken, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ / height), np.float32)
    spoken /= np.abs(spoken).max()
    audible = np.flatnonzero(np.abs(spoken) > _AUDIBLE)
    return spoken[audible[0] : audible[-1] + 1]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    synthesizer = build_synthesizer(Settings(engines=EngineSettings(tts_engine="kokoro", device="cpu")))
    for split, voices in splits().items():
        for number, voice in enumerate(voices):
            target = folder / f"{split}-{voice.style[0][0]}.npz"
            if target.exists():
                continue
            random = np.random.default_rng((0 if split == "dev" else 1, number))
            said = utterances(synthesizer, voice, random)
            partial = target.with_suffix(".part")
            with partial.open("wb") as file:
                np.savez(file, *[(32767 * u).astype(np.int16) for u in said])
            partial.replace(target)
            print(f"{target.name}: {sum(u.size for u in said) / SAMPLE_RATE_HZ:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
