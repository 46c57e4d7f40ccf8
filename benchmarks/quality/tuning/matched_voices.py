"""Similarity of matched voices to the people they were matched to, on words that were not used for matching.

    .venv/bin/python -m benchmarks.quality.tuning.matched_voices FOLDER [WITHOUT ...]

FOLDER has recordings with references (`benchmarks.quality.corpus`). A person is whoever speaks alone for `LEAST_SECS` of a
recording with turns, and the reader of recordings without (files whose names agree up to the first ``-``); names of people
in WITHOUT are left out. A voice is matched to half of a person's speech, or to one file of a reader. Cosines of voiceprints
are computed to that clip and to the rest, which the search did not use, for the nearest built-in voice and for the matched
voice.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from benchmarks.quality.corpus import Reference, read_corpus
from benchmarks.quality.local_pipeline import decode_all
from benchmarks.quality.scores import word_errors
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Seconds
from schemas.engines import Recognizer, Samples
from schemas.settings import EngineSettings, Settings
from schemas.speech import VoiceProfile
from serve.engines.registry import build_recognizer, choice
from serve.engines.tts.kokoro import build
from serve.engines.tts.kokoro_styles import StyleBook
from serve.engines.tts.kokoro_synthesizer import KokoroSynthesizer
from serve.engines.tts.pitch import melody
from serve.engines.tts.voice_matching import SpeakerEncoder
from serve.engines.tts.voice_matching_kokoro import KokoroMatcher, known_voices, spoken

LEAST_SECS: Seconds = 5.0
HALVED_FROM_SECS: Seconds = 12.0
"""Shorter clips are matched whole, and there is no rest to compare with."""
SENTENCES = ("We should leave before the shops close this afternoon.", "My brother plays the violin in a small orchestra.")


@dataclass(frozen=True, slots=True)
class Person:
    """``clip`` and ``rest``: ``(num_samples,) float32`` at 24 kHz; ``rest`` is empty where there is too little."""

    name: str
    clip: Samples
    rest: Samples


@dataclass(frozen=True, slots=True)
class Likeness:
    """Cosines of a voice to the clip and to the rest of the person's speech (nan where there is none)."""

    clip: float
    rest: float


class Bench:
    def __init__(self) -> None:
        settings = Settings(engines=EngineSettings(tts_engine="kokoro"))
        self._synthesizer: KokoroSynthesizer = build(choice(settings, "synthesizer"))
        self._recognizer: Recognizer = build_recognizer(settings)
        self._encoder = SpeakerEncoder()
        book = StyleBook()
        self._names = sorted(book.names)
        styles = {name: book.style(name) for name in self._names}
        self._matcher = KokoroMatcher(self._synthesizer, styles, settings.speech.clone_search_secs)

    def measure(self, person: Person) -> tuple[Likeness, Likeness]:
        """Prints a line for ``person``; returns the similarity of the nearest voice and of the matched one."""
        began = time.monotonic()
        match = self._matcher.match(person.clip, "bench")
        took_secs = time.monotonic() - began
        print_ = self._encoder.embed(person.clip)
        nearest = self._names[int(np.argmax(known_voices(self._names)[:, :-1] @ print_))]
        base, _ = self._likeness(person, VoiceProfile("nearest", "", style=((nearest, 1.0),)))
        found, sound = self._likeness(person, match.voice)
        print(
            f"{person.name:24} {person.clip.size / SPEECH_RATE_HZ:5.1f} s"
            f"  nearest {nearest:11} {base.clip:.2f} {base.rest:.2f}"
            f"  matched {found.clip:.2f} {found.rest:.2f}  errors {self._word_error_rate(sound):.2f}"
            f"  pitch {melody(person.clip).median_hz:3.0f} {melody(sound).median_hz:3.0f} Hz"
            f"  peak {np.abs(sound).max():.2f}  {took_secs:.0f} s",
            flush=True,
        )
        return base, found

    def close(self) -> None:
        self._synthesizer.close()
        self._recognizer.close()

    def _likeness(self, person: Person, voice: VoiceProfile) -> tuple[Likeness, Samples]:
        sound = spoken(self._synthesizer, voice, SENTENCES)
        own = self._encoder.embed(sound)
        cosines = [float(own @ self._encoder.embed(x)) if x.size else float("nan") for x in (person.clip, person.rest)]
        return Likeness(*cosines), sound

    def _word_error_rate(self, sound: Samples) -> float:
        listened = np.asarray(soxr.resample(sound, SPEECH_RATE_HZ, SAMPLE_RATE_HZ), np.float32)
        heard = self._recognizer.recognize([listened])[0]
        return word_errors(" ".join(SENTENCES), " ".join(word.text for word in heard.words)).rate


def people_of(references: Sequence[Reference], recordings: Sequence[Samples]) -> Iterator[Person]:
    """Everybody who speaks alone long enough, by name."""
    readers: dict[str, list[Samples]] = {}
    for reference, samples in zip(references, recordings, strict=True):
        if not reference.turns:
            readers.setdefault(reference.name.split("-")[0], []).append(samples)
            continue
        for speaker in sorted({turn.speaker for turn in reference.turns}):
            alone = samples[_alone(reference, speaker, samples.size)]
            if alone.size >= LEAST_SECS * SAMPLE_RATE_HZ:
                yield _person(f"{reference.name}:{speaker}", alone)
    for name, read in readers.items():
        yield Person(name, _at_24k(read[0]), _at_24k(np.concatenate(read[1:]))) if len(read) > 1 else _person(name, read[0])


def _alone(reference: Reference, speaker: str, num_samples: int) -> NDArray[np.bool_]:
    talking = np.zeros(num_samples, np.int64)
    own = np.zeros(num_samples, np.bool_)
    for turn in reference.turns:
        stretch = slice(round(turn.start_secs * SAMPLE_RATE_HZ), round(turn.end_secs * SAMPLE_RATE_HZ))
        talking[stretch] += 1
        own[stretch] |= turn.speaker == speaker
    alone: NDArray[np.bool_] = own & (talking == 1)
    return alone


def _person(name: str, samples: Samples) -> Person:
    half = samples.size // 2 if samples.size >= HALVED_FROM_SECS * SAMPLE_RATE_HZ else samples.size
    return Person(name, _at_24k(samples[:half]), _at_24k(samples[half:]))


def _at_24k(samples: Samples) -> Samples:
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ, SPEECH_RATE_HZ), np.float32)


def main() -> None:
    references = read_corpus(Path(sys.argv[1]))
    recordings = decode_all(Settings(), [reference.audio for reference in references])
    bench = Bench()
    pairs = [bench.measure(p) for p in people_of(references, recordings) if p.name not in sys.argv[2:]]
    bench.close()
    for title, found in (("nearest", [base for base, _ in pairs]), ("matched", [match for _, match in pairs])):
        clip, rest = np.mean([f.clip for f in found]), np.nanmean([f.rest for f in found])
        print(f"{title}: mean of {len(found)} people {clip:.3f} to the clip, {rest:.3f} to the rest of their speech")


if __name__ == "__main__":
    main()
