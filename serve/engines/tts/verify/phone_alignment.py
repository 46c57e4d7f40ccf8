"""Aligns the expected words to the audio, once strictly and once with deviations allowed.

Both searches are Viterbi over 10 ms frames. *Forced*: every word in order, silence allowed between them. *Free*: words may
be missing, and speech may belong to no word, each at a cost. If the free search scores much better, the audio differs from
the text. Every phone takes at least two frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serve.engines.tts.verify.phone_lexicon import PHONES, SILENCE, Pronunciation

FILLER: Final = len(PHONES)
"""Emission of speech that is no expected word: the most probable phone of each frame, at a cost."""

ANY: Final = len(PHONES) + 1
"""Emission of any sound, including silence, at a cost."""

MIN_FRAMES: Final = 2
_FILLER_MIN_FRAMES: Final = 8
_FILLER_PRICE: Final = 0.7
_ANY_PRICE: Final = 0.3
"""Nats a frame."""
_SKIP_PRICE: Final = 6.0
"""Nats for a missing word."""
_FILL_PRICE: Final = 6.0
"""Nats for an interval of speech without a word."""
_MOST_SKIPPED: Final = 3
"""Most words in a row that the free search may skip between two others; at the end it may skip all."""
FLOOR: Final = -9.0
"""Least log-posterior of a frame, so that no single frame decides."""

Word = Sequence[Pronunciation]
"""Pronunciation variants of one word: none for a word without pronunciation, which matches any speech, and ``((ANY,),)``
for a sound that is no word."""


@dataclass(frozen=True, slots=True)
class PhoneSpan:
    """``word`` counts expected words, -1 for silence and filler; frames are ``[start, end)``."""

    phone: int
    word: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Path:
    """``score``: nats of the whole path, including costs."""

    score: float
    spans: tuple[PhoneSpan, ...]

    @property
    def found(self) -> frozenset[int]:
        return frozenset(span.word for span in self.spans if span.word >= 0)


@dataclass
class _Graph:
    emissions: list[int] = field(default_factory=list)
    owners: list[tuple[int, int]] = field(default_factory=list)
    """Word (-1 for none) and running number of the phone instance each state belongs to."""
    arcs: list[list[tuple[int, float]]] = field(default_factory=list)
    """Predecessors of each state and their costs; -1 is the start."""
    ends: list[tuple[int, float]] = field(default_factory=list)
    instances: int = 0

    def add_phone(self, phone: int, word: int, sources: list[tuple[int, float]], num_states: int) -> int:
        """A chain of states, each of at least one frame; returns the last."""
        for _ in range(num_states):
            self.arcs.append(list(sources))
            self.emissions.append(phone)
            self.owners.append((word, self.instances))
            sources = [(len(self.emissions) - 1, 0.0)]
        self.instances += 1
        return len(self.emissions) - 1


def align(scores: NDArray[np.float32], words: Sequence[Word], *, free: bool) -> Path | None:
    """The best path through ``(num_frames, num_phones)`` scores; None where there are too few frames for it."""
    if not len(scores) or not words:
        return None
    speech = scores[:, 1:].max(axis=1, keepdims=True)
    sound = scores.max(axis=1, keepdims=True)
    emissions = np.concatenate([np.maximum(scores, FLOOR), speech - _FILLER_PRICE, sound - _ANY_PRICE], axis=1)
    return _search(_graph(words, free=free), emissions)


def _graph(words: Sequence[Word], *, free: bool) -> _Graph:
    graph = _Graph()
    first = [(-1, 0.0)]
    gaps = [first + [(s, 0.0) for s in _gap_states(graph, first, free=free)]]
    for number, variants in enumerate(words):
        sources = list(gaps[-1])
        if free:
            for back in range(2, min(len(gaps), _MOST_SKIPPED + 1) + 1):
                sources += [(s, price + _SKIP_PRICE * (back - 1)) for s, price in gaps[-back]]
        ends: list[tuple[int, float]] = []
        for phones in variants or ((FILLER,),):
            into = sources
            for phone in phones:
                into = [(graph.add_phone(phone, number, into, _FILLER_MIN_FRAMES if phone == FILLER else MIN_FRAMES), 0.0)]
            ends += into
        gaps.append(ends + [(s, 0.0) for s in _gap_states(graph, ends, free=free)])
    graph.ends = list(gaps[-1])
    if free:
        for back, gap in enumerate(reversed(gaps[:-1]), start=1):
            graph.ends += [(s, _SKIP_PRICE * back) for s, _ in gap if s >= 0]
    return graph


def _gap_states(graph: _Graph, sources: list[tuple[int, float]], *, free: bool) -> list[int]:
    """Silence that may follow ``sources``; in the free search also other speech before or after it."""
    silence = graph.add_phone(SILENCE, -1, sources, 1)
    if not free:
        return [silence]
    into = [(s, price + _FILL_PRICE) for s, price in [*sources, (silence, 0.0)]]
    filler = graph.add_phone(FILLER, -1, into, _FILLER_MIN_FRAMES)
    after = graph.add_phone(SILENCE, -1, [(filler, 0.0)], 1)
    return [silence, filler, after]


def _search(graph: _Graph, emissions: NDArray[np.float32]) -> Path | None:
    num_states, num_frames = len(graph.emissions), len(emissions)
    width = 1 + max(len(arcs) for arcs in graph.arcs)
    # Column 0 is staying; an absent predecessor is the last, impossible score.
    sources = np.full((num_states, width), num_states)
    prices = np.zeros((num_states, width), np.float32)
    start = np.full(num_states + 1, -np.inf, np.float32)
    sources[:, 0] = np.arange(num_states)
    for state, arcs in enumerate(graph.arcs):
        for column, (source, price) in enumerate(arcs, start=1):
            if source < 0:
                start[state] = max(start[state], -price)
            else:
                sources[state, column], prices[state, column] = source, price
    emitted = emissions[:, graph.emissions]
    scores = start
    scores[:-1] += emitted[0]
    choices = np.zeros((num_frames, num_states), np.intp if width > 255 else np.uint8)
    rows = np.arange(num_states)
    for frame in range(1, num_frames):
        arriving = scores[sources] - prices
        best = arriving.argmax(axis=1)
        choices[frame] = best
        scores[:-1] = arriving[rows, best] + emitted[frame]
    final = [(float(scores[state]) - price, state) for state, price in graph.ends if state >= 0]
    score, state = max(final)
    if not np.isfinite(score):
        return None
    path = np.empty(num_frames, np.intp)
    for frame in range(num_frames - 1, -1, -1):
        path[frame] = state
        state = sources[state, choices[frame, state]] if frame else state
    return Path(score, _spans(graph, path))


def _spans(graph: _Graph, path: NDArray[np.intp]) -> tuple[PhoneSpan, ...]:
    instances = np.asarray([graph.owners[state][1] for state in path])
    bounds = [0, *(np.flatnonzero(np.diff(instances)) + 1).tolist(), len(path)]
    return tuple(PhoneSpan(graph.emissions[path[a]], graph.owners[path[a]][0], a, b) for a, b in itertools.pairwise(bounds))
