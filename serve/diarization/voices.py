"""How many voices: average-linkage trees over speaker embeddings, cut where voices differ.

One tree counts unsteadily: a few windows more or less, and two clusters join on the other side of the cut. So the number is
the mean of what trees over many halves of the windows count (consensus clustering by subsampling: Monti et al., Machine
Learning 52, 2003), and the tree over all of them is cut into as many. docs/quality.md says how the cut was chosen, and how
far the number may be trusted. The eigengap of a neighbour graph, tried on the same recordings, preferred three or four
voices for single readers of seven seconds. Clusters too small to be a voice give their windows to the nearest one that is.
"""

from __future__ import annotations

from dataclasses import dataclass
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
_SAME_VOICE_DISTANCE: Final = 0.325
"""Mean cosine distance over which two clusters are two voices."""
_BLEND: Final = 0.86
"""Cosine of a cluster with a sum of two larger ones over which it is no voice but those two at once, or the moment
between them. In mixtures of known voices, one of its own measures .86 at most."""
_DRAWS: Final = 64
_MAX_DRAWN: Final = 75
"""Windows of one draw: half of what half a minute of speech has, whatever the length. Talks of three minutes are counted no
better with 150 or 300, for twice or four times the work."""
_MIN_WINDOWS: Final = 2
_MIN_SHARE: Final = 0.02
"""Least evidence of a voice: what holds less is a noise, a cough, or a moment of somebody else."""


def find_voices(embeddings: Embeddings, hint: SpeakerHint | None = None) -> Voices:
    """Voices of ``(num_windows, dim)`` L2-normalised embeddings in order of time.

    Linear in the number of windows beyond 2,000. The same embeddings always give the same voices. ``hint`` bounds their
    number where there are windows enough.
    """
    count = len(embeddings)
    if count < 2:
        return resegment(embeddings @ embeddings.T, np.ones(count, np.int64))
    sample = embeddings
    if count > _MAX_WINDOWS:
        sample = embeddings[np.linspace(0, count - 1, _MAX_WINDOWS).round().astype(np.int64)]
    tree, bounds = _tree(sample), hint or SpeakerHint()
    clusters = _as_counted(sample, tree, _number(embeddings))
    found = len(clusters.sizes)
    wanted = min(max(found, bounds.least), bounds.most or MAX_SPEAKERS, MAX_SPEAKERS)
    if wanted != found:
        clusters = _as_told(sample, tree, wanted)
    return resegment(embeddings @ clusters.centroids.T, clusters.sizes)


@dataclass(frozen=True, slots=True)
class _Clusters:
    """``centroids``: ``(num_voices, dim) float32``, L2-normalised, largest cluster first; ``sizes``: their windows."""

    centroids: Embeddings
    sizes: NDArray[np.int64]

    def only(self, kept: slice | list[int]) -> _Clusters:
        return _Clusters(self.centroids[kept], self.sizes[kept])


def _number(embeddings: Embeddings) -> int:
    """Voices that trees over halves of the windows count, on average; at least 1."""
    random = np.random.default_rng(0)
    half = min((len(embeddings) + 1) // 2, _MAX_DRAWN)
    counted = 0
    for _ in range(_DRAWS):
        drawn = embeddings[random.choice(len(embeddings), half, replace=False)]
        counted += 1 if half < 2 else len(_voices(drawn, fcluster(_tree(drawn), _SAME_VOICE_DISTANCE, "distance")).sizes)
    return int(counted / _DRAWS + 0.5)


def _as_counted(embeddings: Embeddings, tree: NDArray[np.float64], wanted: int) -> _Clusters:
    """The highest cut with ``wanted`` voices; where there is none, the highest with most."""
    best = _Clusters(embeddings[:0], np.zeros(0, np.int64))
    for clusters in _numbers_of_clusters(tree, wanted):
        found = _voices(embeddings, fcluster(tree, clusters, "maxclust"))
        if len(found.sizes) > len(best.sizes):
            best = found
        if len(best.sizes) >= wanted:
            break
    return best.only(slice(wanted))


def _as_told(embeddings: Embeddings, tree: NDArray[np.float64], wanted: int) -> _Clusters:
    """The highest cut with ``wanted`` clusters, blends or not; small ones count where no cut has as many large ones."""
    for least in (_least(embeddings), _MIN_WINDOWS, 1):
        for clusters in _numbers_of_clusters(tree, wanted):
            found = _clusters(embeddings, fcluster(tree, clusters, "maxclust"), least)
            if len(found.sizes) >= wanted:
                return found.only(slice(wanted))
    return _clusters(embeddings, fcluster(tree, wanted, "maxclust"), 1)


def _numbers_of_clusters(tree: NDArray[np.float64], wanted: int) -> range:
    """Below one cluster a window there is nothing to find; voices appear early or not at all."""
    return range(wanted, min(len(tree) + 1, 50 * wanted) + 1)


def _tree(embeddings: Embeddings) -> NDArray[np.float64]:
    distances = 1.0 - (embeddings @ embeddings.T)[np.triu_indices(len(embeddings), 1)]
    # Rounding takes equal windows below zero, which scipy refuses.
    return np.asarray(linkage(np.maximum(distances, 0.0), "average"))


def _least(embeddings: Embeddings) -> int:
    return max(_MIN_WINDOWS, int(np.ceil(_MIN_SHARE * len(embeddings))))


def _clusters(embeddings: Embeddings, labels: NDArray[np.int32], least: int) -> _Clusters:
    """Clusters of at least ``least`` windows, largest first; the largest of all where none has so many."""
    found, sizes = np.unique(labels, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    large = [i for i in order if sizes[i] >= least] or [order[0]]
    means = np.stack([embeddings[labels == found[i]].mean(axis=0) for i in large])
    norms = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return _Clusters(np.asarray(means / norms, np.float32), sizes[large])


def _voices(embeddings: Embeddings, labels: NDArray[np.int32]) -> _Clusters:
    """Clusters large enough to be a voice, `MAX_SPEAKERS` at most, that are no blend of two larger ones; two are none."""
    found = _clusters(embeddings, labels, _least(embeddings)).only(slice(MAX_SPEAKERS))
    kept: list[int] = []
    for i, centroid in enumerate(found.centroids):
        if not any(_blends(centroid, found.centroids[list(pair)]) for pair in combinations(kept, 2)):
            kept.append(i)
    return found.only(kept)


def _blends(centroid: NDArray[np.float32], pair: Embeddings) -> bool:
    """Whether a positive sum of two voices comes as near to ``centroid`` as `_BLEND`."""
    weights, *_ = np.linalg.lstsq(pair.T, centroid, rcond=None)
    return bool(weights.min() > 0 and np.linalg.norm(weights @ pair) >= _BLEND)
