"""How many voices, and which window is whose: an average-linkage tree over speaker embeddings, cut where voices differ.

The cut was chosen on 30-second meeting excerpts, leaving out one meeting at a time, under the condition that a lone reader
is never parted: the eigengap of a neighbour graph, tried on the same recordings, preferred three or four voices for single
readers of seven seconds. Clusters too small to be a voice give their windows to the nearest one that is. A second pass then
walks the windows in time and lets a change of voice cost something (Viterbi), and a window that fits two voices nearly
alike is both: in a meeting that is where people talk at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from schemas.domain import SpeakerHint
from serve.diarization.weights import MAX_SPEAKERS

Embeddings = NDArray[np.float32]
Labels = NDArray[np.int64]

_MAX_WINDOWS: Final = 2000
"""Windows clustered exactly; a longer recording by an even sample. Time and memory grow with the square."""
_SAME_VOICE_DISTANCE: Final = 0.39
"""Mean cosine distance over which two clusters are two voices; .37 to .40 count and score about alike."""
_MIN_WINDOWS: Final = 2
_MIN_SHARE: Final = 0.02
"""Least evidence of a voice: what holds less is a noise, a cough, or a moment of somebody else."""
_CHANGE_COST: Final = 0.05
"""Cosine a window must gain before the voice changes for it."""
_BOTH_WITHIN: Final = 0.05
"""A window whose second voice is at most so much less alike than its first holds both."""


@dataclass(frozen=True, slots=True)
class Voices:
    """``first``: ``(num_windows,) int64``, the voice of each window, numbered 0, 1, ... by first window.

    ``second``: the same, a voice heard over the first, or -1.
    """

    first: Labels
    second: Labels


def find_voices(embeddings: Embeddings, hint: SpeakerHint | None = None) -> Voices:
    """Voices of ``(num_windows, dim)`` L2-normalised embeddings in order of time.

    Linear in the number of windows beyond 2,000. The same embeddings always give the same voices. ``hint`` bounds their
    number where there are windows enough.
    """
    count = len(embeddings)
    if count == 0:
        return Voices(np.zeros(0, np.int64), np.zeros(0, np.int64))
    sample = np.arange(count)
    if count > _MAX_WINDOWS:
        sample = np.linspace(0, count - 1, _MAX_WINDOWS).round().astype(np.int64)
    centroids = _centroids(embeddings[sample], hint or SpeakerHint())
    likeness = embeddings @ centroids.T
    first = _smoothed(likeness)
    return _by_first_window(Voices(first, _second(likeness, first)))


def _centroids(embeddings: Embeddings, hint: SpeakerHint) -> Embeddings:
    """``(num_voices, dim) float32``, L2-normalised, of clusters large enough to be a voice."""
    count = len(embeddings)
    if count < 2:
        return embeddings
    # Rounding takes equal windows below zero, which scipy refuses.
    distances = np.maximum(1.0 - (embeddings @ embeddings.T)[np.triu_indices(count, 1)], 0.0)
    tree = linkage(distances, "average")
    labels = fcluster(tree, _SAME_VOICE_DISTANCE, "distance")
    least = max(_MIN_WINDOWS, int(np.ceil(_MIN_SHARE * count)))
    voices = _voices(labels, least)
    wanted = min(max(len(voices), hint.least), hint.most or MAX_SPEAKERS, MAX_SPEAKERS)
    if wanted != len(voices):
        labels, voices = _cut_into(tree, wanted, least)
    means = np.stack([embeddings[labels == voice].mean(axis=0) for voice in voices])
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9), np.float32)


def _voices(labels: NDArray[np.int32], least: int) -> list[int]:
    """Clusters of at least ``least`` windows, largest first; the largest of all where none has so many."""
    found, sizes = np.unique(labels, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    return [int(found[i]) for i in order if sizes[i] >= least] or [int(found[order[0]])]


def _cut_into(tree: NDArray[np.float64], wanted: int, least: int) -> tuple[NDArray[np.int32], list[int]]:
    """The highest cut with ``wanted`` voices; small clusters count where no cut has as many large ones."""
    for smallest in (least, _MIN_WINDOWS, 1):
        # Below one cluster a window there is nothing to find; voices appear early or not at all.
        for clusters in range(wanted, min(len(tree) + 1, 50 * wanted) + 1):
            labels = fcluster(tree, clusters, "maxclust")
            voices = _voices(labels, smallest)
            if len(voices) >= wanted:
                return labels, voices[:wanted]
    labels = fcluster(tree, wanted, "maxclust")
    return labels, _voices(labels, 1)[:wanted]


def _smoothed(likeness: Embeddings) -> Labels:
    """The voice of each window, ``(n,)``, by the path of greatest likeness that pays `_CHANGE_COST` at each change."""
    count, voices = likeness.shape
    came_from = np.zeros((count, voices), np.int64)
    score = likeness[0].astype(np.float64)
    stay = np.arange(voices)
    for i in range(1, count):
        best = int(score.argmax())
        changed = score[best] - _CHANGE_COST
        came_from[i] = np.where(score >= changed, stay, best)
        score = np.maximum(score, changed) + likeness[i]
    path = np.zeros(count, np.int64)
    path[-1] = int(score.argmax())
    for i in range(count - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def _second(likeness: Embeddings, first: Labels) -> Labels:
    count, voices = likeness.shape
    none = np.full(count, -1, np.int64)
    if voices < 2:
        return none
    rows = np.arange(count)
    others = likeness.copy()
    others[rows, first] = -np.inf
    best = others.argmax(axis=1)
    return np.where(others[rows, best] > likeness[rows, first] - _BOTH_WITHIN, best, none)


def _by_first_window(voices: Voices) -> Voices:
    found, first = np.unique(voices.first, return_index=True)
    rank = np.full(int(max(voices.first.max(), voices.second.max())) + 1, -1, np.int64)
    rank[found[np.argsort(first)]] = np.arange(len(found))
    # A voice heard only ever over others is no speaker of its own.
    second = np.where(voices.second >= 0, rank[voices.second], -1)
    return Voices(rank[voices.first], second)
