"""One simulated recording: a planned conversation, spoken by given voices in a randomly drawn room, with its
reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from benchmarks.quality.corpus import Spoken
from benchmarks.quality.simulation.conversation import BRIDGED_SECS, STYLES, plan
from benchmarks.quality.simulation.rooms import ROOMS, between, gain, noise, over_telephone, reverberated
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples

SHORT_SECS: Seconds = 1.3
"""An utterance that is shorter serves as a backchannel."""
_EDGE = round(0.01 * SAMPLE_RATE_HZ)


@dataclass(frozen=True, slots=True)
class Voice:
    """One person: utterances ``(num_samples,) float32`` at 16 kHz without silence at their ends, peak near 1."""

    name: str
    utterances: Sequence[Samples]

    def at_speed(self, speed: float) -> Voice:
        """The voice played ``speed`` times as fast. Pitch and formants change too, so it sounds like another person."""
        made = [np.asarray(soxr.resample(u, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ / speed), np.float32) for u in self.utterances]
        return Voice(f"{self.name}@{speed:.2f}", made)


@dataclass(frozen=True, slots=True)
class Meeting:
    """``samples``: ``(num_samples,) float32`` at 16 kHz; ``turns``: who speaks when, by speaker and start."""

    samples: Samples
    turns: tuple[Spoken, ...]

    @property
    def duration_secs(self) -> Seconds:
        return len(self.samples) / SAMPLE_RATE_HZ

    @property
    def num_speakers(self) -> int:
        return len({turn.speaker for turn in self.turns})


def simulate(
    random: np.random.Generator, voices: Sequence[Voice], style: str, room: str, duration_secs: Seconds
) -> Meeting:
    """A conversation of all ``voices``; ``style`` and ``room`` are names in `STYLES` and `ROOMS`."""
    place, count = ROOMS[room], round(duration_secs * SAMPLE_RATE_HZ)
    tracks = np.zeros((len(voices), count), np.float32)
    spans: list[list[tuple[int, int]]] = [[] for _ in voices]
    for part in plan(random, STYLES[style], len(voices), duration_secs):
        start = round(part.start_secs * SAMPLE_RATE_HZ)
        mine = spans[part.speaker]
        if mine and start < mine[-1][1] + SAMPLE_RATE_HZ // 10:
            continue  # already talking
        mine += _say(random, tracks[part.speaker], voices[part.speaker], start, part.max_secs, part.short)
    loudest = between(random, place.level_dbfs)
    below = [0.0, *(between(random, place.below_db) for _ in voices[1:])]
    mixed = noise(random, place, count, loudest)
    for track, mine, db in zip(tracks, spans, random.permutation(below), strict=True):
        if mine:
            heard = np.concatenate([track[a:b] for a, b in mine])
            level = float(np.sqrt(np.mean(heard**2)))
            mixed += reverberated(random, place, track) * np.float32(gain(loudest - db) / max(level, 1e-6))
    if place.telephone:
        mixed = over_telephone(mixed)
    turns = [t for who, mine in enumerate(spans) for t in _turns(str(who), mine)]
    return Meeting(np.clip(mixed, -1, 1), tuple(turns))


def _say(
    random: np.random.Generator, track: Samples, voice: Voice, start: int, max_secs: Seconds, short: bool
) -> list[tuple[int, int]]:
    """Adds utterances to ``track`` from sample ``start`` on until ``max_secs`` are full; the spans of those added."""
    end, spans = start + round(max_secs * SAMPLE_RATE_HZ), []
    while start < min(end, len(track) - SAMPLE_RATE_HZ // 10):
        fitting = [u for u in voice.utterances if (len(u) < SHORT_SECS * SAMPLE_RATE_HZ) == short] or voice.utterances
        said = fitting[int(random.integers(len(fitting)))]
        if start + len(said) > end + (0 if short else SAMPLE_RATE_HZ):
            said = _piece(random, said, max(end - start, SAMPLE_RATE_HZ // 3))
        said = said[: len(track) - start] * np.float32(gain(random.normal(0, 2)))
        track[start : start + len(said)] += said
        spans.append((start, start + len(said)))
        if short:
            break
        start += len(said) + round(float(np.clip(random.lognormal(np.log(0.25), 0.7), 0.05, 1.2)) * SAMPLE_RATE_HZ)
    return spans


def _piece(random: np.random.Generator, said: Samples, length: int) -> Samples:
    if len(said) <= length:
        return said
    first = int(random.integers(len(said) - length)) if random.random() < 0.5 else 0
    piece = said[first : first + length].copy()
    ramp = np.linspace(0, 1, _EDGE, dtype=np.float32)
    piece[:_EDGE] *= ramp
    piece[-_EDGE:] *= ramp[::-1]
    return piece


def _turns(speaker: str, spans: Sequence[tuple[int, int]]) -> list[Spoken]:
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] < BRIDGED_SECS * SAMPLE_RATE_HZ:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return [Spoken(speaker, a / SAMPLE_RATE_HZ, b / SAMPLE_RATE_HZ) for a, b in merged]
