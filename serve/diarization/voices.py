"""How many voices: an average-linkage tree over speaker embeddings, cut where voices differ.

The cut was chosen on 30-second meeting excerpts, leaving out one meeting at a time, together with mixtures of two to four
known people, under the condition that a lone reader is never parted. The eigengap of a neighbour graph, tried on the same
recordings, preferred three or four voices for single readers of seven seconds. Clusters too small to be a voice give their
windows to the nearest one that is.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from schemas.domain import SpeakerHint
from serve.diarization.resegmentation import Voices, resegment
from serve.diarization.weights import MAX_SPEAKERS

Embeddings = NDArray[np.float32]

_MAX_WINDOWS: Final = 2000
"""Windows clustered exactly; a longer recording by an even sample. Time and memory grow with the square."""
_SAME_VOICE_DISTANCE: Final = 0.335
"""Mean cosine distance over which two clusters are two voices."""
_BLEND: Final = 0.88
"""Cosine of a cluster with a sum of two larger ones over which it is no voice but those two at once, or the moment
between them. In mixtures of known voices, one of its own measures .86 at most."""
_MIN_WINDOWS: Final = 2
_MIN_SHARE: Final = 0.02
"""Least evidence of a voice: what holds less is a noise, a cough, or a moment of somebody else."""


def find_voices(embeddings: Embeddings, hint: SpeakerHint | None = None) -> Voices:
    """Voices of ``(num_windows, dim)`` L2-normalised embeddings in order of time.

    Linear in the number of windows beyond 2,000. The same embeddings always give the same voices. ``hint`` bounds their
    number where there are windows enough.
    """
    count = len(embeddings)
    sample = np.arange(count)
    if count > _MAX_WINDOWS:
        sample = np.linspace(0, count - 1, _MAX_WINDOWS).round().astype(np.int64)
    centroids, sizes = _centroids(embeddings[sample], hint or SpeakerHint())
    return resegment(embeddings @ centroids.T, sizes)


def _centroids(embeddings: Embeddings, hint: SpeakerHint) -> tuple[Embeddings, NDArray[np.int64]]:
    """``(num_voices, dim) float32``, L2-normalised, of clusters large enough to be a voice, and their windows."""
    count = len(embeddings)
    if count < 2:
        return embeddings, np.ones(count, np.int64)
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
    centroids = np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9), np.float32)
    sizes = np.array([np.sum(labels == voice) for voice in voices])
    kept = _without_blends(centroids, max(hint.least, 2))
    return centroids[kept], sizes[kept]


def _voices(labels: NDArray[np.int32], least: int) -> list[int]:
    """Clusters of at least ``least`` windows, largest first; the largest of all where none has so many."""
    found, sizes = np.unique(labels, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    return [int(found[i]) for i in order if sizes[i] >= least] or [int(found[order[0]])]


def _without_blends(centroids: Embeddings, least: int) -> list[int]:
    """Indices of ``centroids``, largest cluster first, that are no blend of two larger ones; at least ``least`` stay."""
    kept: list[int] = []
    for i, centroid in enumerate(centroids):
        pairs = combinations(kept, 2)
        if len(centroids) - i + len(kept) <= least or not any(_blends(centroid, centroids[list(p)]) for p in pairs):
            kept.append(i)
    return kept


def _blends(centroid: NDArray[np.float32], pair: Embeddings) -> bool:
    """Whether a positive sum of two voices comes as near to ``centroid`` as `_BLEND`."""
    weights, *_ = np.linalg.lstsq(pair.T, centroid, rcond=None)
    return bool(weights.min() > 0 and np.linalg.norm(weights @ pair) >= _BLEND)


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
