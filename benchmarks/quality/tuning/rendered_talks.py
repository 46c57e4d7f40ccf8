"""Write rendered talks whose pauses and hesitations are known, for `fluxions bench quality` to score.

    .venv/bin/python -m benchmarks.quality.tuning.rendered_talks FOLDER
    .venv/bin/fluxions bench quality FOLDER

Two voices alternate, with silences of .2 to 3 s between their sentences and faint noise throughout. A third of the
sentences have a filler, drawn out and between pauses. The reference is an .stm file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import numpy as np
import soxr

from audio.raw_pcm import RawFormat, wav_header
from benchmarks.quality.corpus import Spoken
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody

TALKS: Final = 24
TURNS: Final = 12
FILLER_SHARE: Final = 1 / 3
FILLERS: Final = ("um", "uh", "er")
FILLER_WPM: Final = 120
"""At this speed, fillers last .3 to .7 s."""
GAP_SECS: Final = (0.2, 3.0)
FILLER_GAP_SECS: Final = (0.1, 0.4)
LOUD: Final = 2e-3
"""Level at which rendered speech begins and ends: around it are zeros and fades."""
VOICES: Final = (
    ("en-us+m3", "en-us+f2"),
    ("en-us+m1", "en-us+f4"),
    ("en-gb-scotland+m3", "en-gb-scotland+f3"),
    ("en-us+m7", "en-us+f5"),
)
SENTENCES: Final = (
    ("the old man walked slowly along the river", "in the morning"),
    ("she opened the window", "and looked out over the garden"),
    ("the committee will discuss the budget", "next week"),
    ("the children played in the garden", "until the evening"),
    ("he put the letter on the table", "and left the room"),
    ("the train to the city leaves", "at seven in the morning"),
    ("we have to talk about the money", "before the end of the year"),
    ("my brother bought a house", "near the old church"),
    ("the doctor told him to stay at home", "and drink a lot of water"),
    ("nobody knows the answer to this question", "but they will find it"),
)


def talk(espeak: Espeak, random: np.random.Generator) -> tuple[Samples, list[Spoken]]:
    """One talk, ``(num_samples,) float32`` at 16 kHz mono, and its reference."""
    voices = VOICES[random.integers(len(VOICES))]
    parts = [silence(0.25)]
    turns: list[Spoken] = []
    for number in range(TURNS):
        said, words = sentence(espeak, random, voices[number % 2])
        start = sum(part.size for part in parts)
        end = start + said.size
        turns.append(Spoken(str(number % 2), start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ, words))
        parts += [said, silence(random.uniform(*GAP_SECS))]
    sound = np.concatenate(parts)
    level = 10 ** (random.uniform(-65, -50) / 20)
    return sound + np.float32(level) * random.standard_normal(sound.size, dtype=np.float32), turns


def sentence(espeak: Espeak, random: np.random.Generator, voice: str) -> tuple[Samples, str]:
    """A sentence and its words, in a third of all with a filler between its halves."""
    first, second = SENTENCES[random.integers(len(SENTENCES))]
    rate_wpm, pitch = int(random.integers(135, 165)), int(random.integers(35, 66))
    if random.random() >= FILLER_SHARE:
        return rendered(espeak, f"{first} {second}.", voice, Prosody(rate_wpm, pitch)), f"{first} {second}"
    filler = str(random.choice(FILLERS))
    parts = [rendered(espeak, text, voice, Prosody(rate_wpm, pitch)) for text in (f"{first},", f"{second}.")]
    between = [silence(random.uniform(*FILLER_GAP_SECS)) for _ in parts]
    drawn = rendered(espeak, filler, voice, Prosody(FILLER_WPM, pitch))
    return np.concatenate([parts[0], between[0], drawn, between[1], parts[1]]), f"{first} {filler} {second}"


def rendered(espeak: Espeak, text: str, voice: str, prosody: Prosody) -> Samples:
    """``text`` from its first sound to its last."""
    pcm, _ = espeak.synthesize(text, voice, prosody)
    samples = np.asarray(soxr.resample(pcm.astype(np.float32) / 32768, ESPEAK_RATE_HZ, SAMPLE_RATE_HZ), np.float32)
    loud = np.flatnonzero(np.abs(samples) > LOUD)
    return samples[loud[0] : loud[-1] + 1]


def silence(secs: Seconds) -> Samples:
    return np.zeros(round(secs * SAMPLE_RATE_HZ), np.float32)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    espeak, random = Espeak(), np.random.default_rng(0)
    lines = []
    for number in range(TALKS):
        sound, turns = talk(espeak, random)
        pcm = np.clip(sound * 32767, -32768, 32767).astype("<i2").tobytes()
        (folder / f"talk{number:02}.wav").write_bytes(wav_header(RawFormat("s16le", SAMPLE_RATE_HZ), len(pcm)) + pcm)
        lines += [f"talk{number:02} 1 {t.speaker} {t.start_secs:.3f} {t.end_secs:.3f} {t.words}" for t in turns]
    (folder / "talks.stm").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
