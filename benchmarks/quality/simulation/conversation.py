"""Plans a simulated conversation: turns, pauses, backchannels and interruptions, before any audio is rendered.

The reference follows the convention of the AMI corpus's annotation, in which pauses of one speaker shorter than 0.8 s
belong to the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from schemas.domain import Seconds

BRIDGED_SECS: Final[Seconds] = 0.8
"""Pauses of one speaker that are shorter belong to the turn: the shortest gap in AMI's references is 0.84 s."""


@dataclass(frozen=True, slots=True)
class Style:
    """How people take turns.

    ``turn_secs``: median of a turn; ``spread``: standard deviation of its logarithm. ``overlap``: share of turns that begin
    before the last one ends. ``gap_secs``: median silence between other turns. ``backchannels``: a minute of another's
    talk. ``lead``: Dirichlet concentration of the shares of speech; small values let one person dominate.
    ``floors``: conversations that go on at the same time.
    """

    turn_secs: Seconds
    spread: float
    overlap: float
    gap_secs: Seconds
    backchannels: float
    lead: float
    floors: int = 1


STYLES: Final = {
    "discussion": Style(2.0, 0.8, 0.5, 0.3, 12.0, 2.0),
    "presentation": Style(8.0, 0.9, 0.3, 0.6, 12.0, 0.4),
    "quick": Style(1.2, 0.6, 0.6, 0.15, 12.0, 2.0),
    "sparse": Style(1.5, 0.8, 0.3, 4.0, 4.0, 1.0),
    "side talk": Style(2.5, 0.8, 0.3, 0.5, 6.0, 1.0, floors=2),
    "interview": Style(4.0, 0.9, 0.15, 0.5, 3.0, 1.0),
    "reading": Style(12.0, 0.5, 0.0, 0.6, 0.0, 1.0),
}
_INTERRUPTED_SECS: Final[Seconds] = 1.0
"""Mean of how long before the end of a turn the next one begins where they overlap."""


@dataclass(frozen=True, slots=True)
class Part:
    """``speaker`` makes a sound of up to ``max_secs`` from ``start_secs`` on; ``short`` for a backchannel."""

    speaker: int
    start_secs: Seconds
    max_secs: Seconds
    short: bool = False


def plan(random: np.random.Generator, style: Style, num_speakers: int, duration_secs: Seconds) -> list[Part]:
    """Turns of ``num_speakers`` people, each of whom is meant to talk at least once where time allows, by start."""
    shares = random.dirichlet(np.full(num_speakers, style.lead)) + 0.02
    parts: list[Part] = []
    order = random.permutation(num_speakers)
    floors = min(style.floors, max(1, num_speakers // 2))
    for floor in range(floors):
        parts += _floor(random, style, order[floor::floors].tolist(), shares, duration_secs)
    if num_speakers > 1:
        parts += _backchannels(random, style, parts, num_speakers)
    return sorted(parts, key=lambda p: p.start_secs)


def _floor(
    random: np.random.Generator, style: Style, people: Sequence[int], shares: np.ndarray, duration_secs: Seconds
) -> list[Part]:
    parts: list[Part] = []
    weights = shares[people] / shares[people].sum()
    end, last = float(random.exponential(style.gap_secs)), -1
    waiting = [int(person) for person in people]
    while end < duration_secs:
        if waiting and random.random() < 0.4:
            who = waiting[0]
        else:
            who = int(random.choice(people, p=weights))
            if who == last and len(people) > 1 and random.random() < 0.7:
                who = int(random.choice([p for p in people if p != last]))
        waiting = [p for p in waiting if p != who]
        length = float(np.clip(random.lognormal(np.log(style.turn_secs), style.spread), 0.4, 30.0))
        if parts and who != last and random.random() < style.overlap:
            start = max(parts[-1].start_secs + 0.2, end - float(random.exponential(_INTERRUPTED_SECS)))
        else:
            start = end + float(random.lognormal(np.log(style.gap_secs), 0.8))
        parts.append(Part(who, start, length))
        end, last = max(end, start + length), who
    return parts


def _backchannels(random: np.random.Generator, style: Style, parts: Sequence[Part], num_speakers: int) -> list[Part]:
    found = []
    for part in parts:
        for _ in range(int(random.poisson(style.backchannels * part.max_secs / 60))):
            who = int(random.choice([s for s in range(num_speakers) if s != part.speaker]))
            found.append(Part(who, part.start_secs + float(random.uniform(0, part.max_secs)), 1.2, short=True))
    return found
