"""The simulated recordings of a split, and their simulation from the split's voices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.quality.simulation.meeting import Meeting, Voice, simulate
from schemas.domain import Seconds
from serve.engines.tts.voices import built_in

_TWO_MEN: Final = "two men"
_SPEED_SPREAD: Final = 0.06
"""Standard deviation of the logarithm of the speed at which a rendered voice is played."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recording. ``kind`` is what it is reported under."""

    kind: str
    seed: int
    style: str
    room: str
    num_voices: int
    duration_secs: Seconds

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed:03}".replace(" ", "-")


def recipes() -> list[Recipe]:
    """The recordings of a split, the same for each: 134 of them, 2.8 hours."""
    men, meeting = ("interview",), ("discussion", "presentation", "quick", "sparse", "side talk")
    return [
        *_series("meeting", 60, meeting, ("headset mix", "table", "far"), (2, 3, 4, 5, 6), 30.0),
        *_series("interview", 12, ("interview", "discussion"), ("studio", "table"), (2, 3), 60.0),
        *_series("telephone", 16, ("discussion", "interview"), ("telephone",), (2,), 45.0),
        *_series(_TWO_MEN, 12, men, ("studio", "table", "telephone"), (2,), 80.0),
        *_series("reader", 20, ("reading",), ("studio", "table", "far", "telephone", "headset mix"), (1,), 20.0),
        *_series("three minutes", 10, meeting[:2], ("headset mix", "table"), (2, 3, 4, 5), 180.0),
        *_series("ten minutes", 3, meeting[:2], ("headset mix", "table", "far"), (4,), 600.0),
        *_series("half an hour", 1, meeting[:1], ("headset mix",), (4,), 1800.0),
    ]


def _series(
    kind: str, count: int, styles: Sequence[str], rooms: Sequence[str], voices: Sequence[int], secs: Seconds
) -> Iterator[Recipe]:
    """Every room comes before the next number of voices does."""
    for number in range(count):
        style, room = styles[number % len(styles)], rooms[number % len(rooms)]
        yield Recipe(kind, number, style, room, voices[(number // len(rooms)) % len(voices)], secs)


def made(recipe: Recipe, voices: Sequence[Voice]) -> Meeting:
    """The recording, the same each time for the same voices."""
    kinds = sorted({r.kind for r in recipes()})
    random = np.random.default_rng((recipe.seed, kinds.index(recipe.kind), len(voices)))
    if recipe.kind == _TWO_MEN:
        chosen = _alike(random, voices, recipe.num_voices)
    else:
        chosen = [voices[i] for i in random.choice(len(voices), recipe.num_voices, replace=False).tolist()]
        chosen = [voice.at_speed(float(np.exp(_SPEED_SPREAD * random.standard_normal()))) for voice in chosen]
    return simulate(random, chosen, recipe.style, recipe.room, recipe.duration_secs)


def _alike(random: np.random.Generator, voices: Sequence[Voice], count: int) -> list[Voice]:
    """Male voices with similar pitch."""
    heights_hz = {voice.style[0][0]: voice.f0_hz for voice in built_in("kokoro")}
    styles = {voice.name: voice.name.partition("-")[2] for voice in voices}
    men = sorted((v for v in voices if styles[v.name][1] == "m"), key=lambda v: heights_hz[styles[v.name]])
    first = int(random.integers(len(men) - count + 1))
    return men[first : first + count]
