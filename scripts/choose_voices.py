"""Choose where the embedded diariser parts voices without the meeting that is scored, nor a voice of it.

    .venv/bin/python -m scripts.choose_voices MEETINGS READINGS

cuts clean speech out of recordings with .rttm references (MEETINGS) and of readers (READINGS: files whose names agree up
to the first ``-`` are one person), makes each voice three by playing it slower and faster, and puts talks of two, three
and four voices together. For each meeting it takes the cut and the blend that count best on talks without its people,
under the condition that no lone reader is parted, and scores the meeting with them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import soxr

from audio.bandwidth import narrow_band
from audio.segment import talk
from audio.vad import VoiceActivity, regions
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, Turn
from schemas.engines import Samples, VoiceWindows
from schemas.settings import Settings
from serve.cli.quality.corpus import Reference, Spoken, read_corpus
from serve.cli.quality.listening import decode_all
from serve.cli.quality.scores import speaker_errors, speaker_rate
from serve.diarization import voices
from serve.diarization.clustering import EmbeddingDiarizer

SPEEDS = (0.87, 1.0, 1.15)
"""A voice played at another speed is another voice: speed perturbation (Yamamoto et al., Interspeech 2019)."""
CUTS = [round(0.305 + 0.005 * i, 3) for i in range(13)]
BLENDS = (0.86, 0.88, 0.9)
TALKS = 216
"""Of each number of voices."""
TALK_SECS: Seconds = 30.0
LEAST_SECS: Seconds = 3.0
"""Clean speech a person must have to lend the voice."""
TURN_SECS = (0.8, 1.5, 2.5, 4.0)

Choice = tuple[float, float]
"""Cut and blend."""
Voice = tuple[str, list[Samples]]
"""The recording it comes from, and what it says."""


def voices_in(turns: Iterable[Spoken | Turn]) -> int:
    return len({turn.speaker for turn in turns})


@dataclass(frozen=True)
class Case:
    """Something heard once: ``sources`` are the recordings its voices come from."""

    sources: frozenset[str]
    turns: tuple[Spoken, ...]
    duration_secs: Seconds
    speech: list[Span]
    windows: VoiceWindows

    @property
    def num_voices(self) -> int:
        return voices_in(self.turns)


class Ear:
    """Voice activity and the diariser; what is observed once is resolved again and again."""

    def __init__(self) -> None:
        self.voice_activity = VoiceActivity()
        self.diarizer = EmbeddingDiarizer()

    def case(self, samples: Samples, turns: Sequence[Spoken], sources: Iterable[str]) -> Case:
        duration_secs = samples.size / SAMPLE_RATE_HZ
        speech = talk(self.voice_activity.probabilities(samples), duration_secs, narrow=narrow_band(samples))
        return Case(frozenset(sources), tuple(turns), duration_secs, speech, self.diarizer.observe(samples, speech))

    def turns(self, case: Case, choice: Choice) -> list[Turn]:
        """Who speaks when, parted at another place than the one in use."""
        voices._SAME_VOICE_DISTANCE, voices._BLEND = choice  # type: ignore[misc]
        return self.diarizer.resolve([case.windows], case.speech)


def clean(reference: Reference, samples: Samples) -> dict[str, list[Samples]]:
    """What each person says while nobody else does, in pieces of half a second or more."""
    found: dict[str, list[Samples]] = {}
    for turn in reference.turns:
        spans = [(turn.start_secs, turn.end_secs)]
        for other in (t for t in reference.turns if t.speaker != turn.speaker):
            halves = [half for a, b in spans for half in ((a, min(b, other.start_secs)), (max(a, other.end_secs), b))]
            spans = [(a, b) for a, b in halves if b - a > 0.5]
        pieces = [samples[int(a * SAMPLE_RATE_HZ) : int(b * SAMPLE_RATE_HZ)] for a, b in spans if b - a > 0.5]
        found.setdefault(turn.speaker, []).extend(pieces)
    return {who: pieces for who, pieces in found.items() if sum(p.size for p in pieces) > LEAST_SECS * SAMPLE_RATE_HZ}


def together(people: Sequence[Sequence[Samples]], random: np.random.Generator) -> tuple[Samples, list[Spoken]]:
    """A talk in which each of ``people`` has a share, a quarter of the turns begun before the last has ended."""
    shares = np.maximum(random.dirichlet(np.full(len(people), 2.0)), 0.12)
    levels = random.uniform(-34, -25, len(people))
    first = random.permutation(len(people)).tolist()
    taken, end = [0] * len(people), SAMPLE_RATE_HZ // 4
    said: list[tuple[int, int, Samples]] = []
    while end < TALK_SECS * SAMPLE_RATE_HZ:
        who = first.pop() if first else int(random.choice(len(people), p=shares / shares.sum()))
        length = round(random.choice(TURN_SECS) * SAMPLE_RATE_HZ)
        got: list[Samples] = []
        while sum(p.size for p in got) < length:
            got.append(people[who][taken[who] % len(people[who])])
            taken[who] += 1
        sound = np.concatenate(got)[:length]
        sound = sound * np.float32(10 ** (levels[who] / 20) / np.sqrt(np.mean(np.square(sound)) + 1e-12))
        gap_secs = -random.uniform(0.2, 0.8) if random.random() < 0.25 else random.uniform(0.1, 0.8)
        start = max(0, end + round(gap_secs * SAMPLE_RATE_HZ))
        said.append((who, start, sound))
        end = max(end, start + sound.size)
    mixed = random.normal(0, 10 ** (random.uniform(-60, -50) / 20), end + SAMPLE_RATE_HZ // 2).astype(np.float32)
    for _, start, sound in said:
        mixed[start : start + sound.size] += sound
    return mixed, [Spoken(str(w), s / SAMPLE_RATE_HZ, (s + x.size) / SAMPLE_RATE_HZ) for w, s, x in said]


def voices_of(ear: Ear, meetings: dict[str, dict[str, list[Samples]]], readings: dict[str, list[Samples]]) -> list[Voice]:
    """Every person at each of `SPEEDS`."""
    people = [(name, pieces) for name, who in meetings.items() for pieces in who.values()]
    for name, read in readings.items():
        spans = [(r, s) for r in read for s in _spoken(ear, r)]
        people.append((name, [r[int(s.start_secs * SAMPLE_RATE_HZ) : int(s.end_secs * SAMPLE_RATE_HZ)] for r, s in spans]))
    return [(name, [at(piece, speed) for piece in pieces]) for (name, pieces), speed in product(people, SPEEDS)]


def at(samples: Samples, speed: float) -> Samples:
    """``samples`` played ``speed`` times as fast, pitch and all."""
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ / speed), np.float32)


def _spoken(ear: Ear, reading: Samples) -> list[Span]:
    probabilities, duration_secs = ear.voice_activity.probabilities(reading), reading.size / SAMPLE_RATE_HZ
    return regions(probabilities, duration_secs=duration_secs, min_speech_secs=0.4, pad_secs=0.05)


def chosen(counts: dict[Choice, list[int]], cases: Sequence[Case], without: str) -> Choice:
    """The cut and blend whose cut and its neighbours count best on cases without that recording."""
    used = [i for i, case in enumerate(cases) if without not in case.sources]

    def right(choice: Choice) -> float:
        found = counts[choice]
        if any(found[i] != 1 for i in used if cases[i].num_voices == 1):
            return -1.0
        return float(np.mean([found[i] == cases[i].num_voices for i in used if cases[i].num_voices > 1]))

    def around(choice: Choice) -> float:
        place = CUTS.index(choice[0])
        return float(np.mean([right((cut, choice[1])) for cut in CUTS[max(0, place - 1) : place + 2]]))

    return max(product(CUTS, BLENDS), key=around)


def main() -> None:
    ear, settings = Ear(), Settings()
    references = [r for r in read_corpus(Path(sys.argv[1])) if r.turns]
    heard = dict(zip([r.name for r in references], decode_all(settings, [r.audio for r in references]), strict=True))
    paths = sorted(p for p in Path(sys.argv[2]).iterdir() if p.suffix in (".wav", ".flac"))
    readings: dict[str, list[Samples]] = {}
    for path, samples in zip(paths, decode_all(settings, paths), strict=True):
        readings.setdefault(path.name.split("-")[0], []).append(samples)
    speaking = voices_of(ear, {r.name: clean(r, heard[r.name]) for r in references}, readings)
    random = np.random.default_rng(0)
    cases = [
        ear.case(at(reading, speed), [Spoken("0", 0.0, 1.0)], ())
        for reader in readings.values()
        for reading, speed in product(reader, SPEEDS)
    ]
    for number in (2, 3, 4):
        for _ in range(TALKS):
            mine = [speaking[i] for i in random.choice(len(speaking), number, replace=False)]
            cases.append(ear.case(*together([pieces for _, pieces in mine], random), {name for name, _ in mine}))
    counts = {choice: [voices_in(ear.turns(case, choice)) for case in cases] for choice in product(CUTS, BLENDS)}
    exact, errors = 0, []
    for reference in references:
        choice = chosen(counts, cases, reference.name)
        case = ear.case(heard[reference.name], reference.turns, {reference.name})
        turns = ear.turns(case, choice)
        found, wrong = voices_in(turns), speaker_errors(case.turns, turns, case.duration_secs, 0.0)
        exact += found == case.num_voices
        errors.append(wrong)
        print(f"{reference.name}: cut {choice[0]}, blend {choice[1]}: {found} of {case.num_voices}, error {wrong.rate:.3f}")
    mean = np.mean([e.rate for e in errors])
    print(f"number exact {exact} of {len(references)}, error rate {speaker_rate(errors):.3f}, mean {mean:.3f}")


if __name__ == "__main__":
    main()
