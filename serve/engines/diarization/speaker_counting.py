"""Counts speakers by average-linkage clustering of embeddings.

The count of a single tree is unstable: a few windows more or less move two clusters across the cut. So the number is the
mean of the counts of trees over many random halves of the windows (consensus clustering by subsampling: Monti et al.,
Machine Learning 52, 2003), and the tree over all windows is cut into as many clusters. docs/quality.md has the choice of
the cut and the accuracy of the number. The eigengap of a neighbour graph, tried on the same recordings, found three or four
voices in single readers of seven seconds. Windows of clusters too small for a voice are assigned to the nearest voice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from schemas.domain import SpeakerHint
from serve.engines.diarization.resegmentation import Overlap, Voices, resegment
from serve.engines.diarization.weights import MAX_SPEAKERS

Embeddings = NDArray[np.float32]

_MAX_WINDOWS: Final = 2000
"""Most windows that are clustered exactly; a longer recording is sampled evenly. Time and memory are quadratic."""
_SAME_VOICE_DISTANCE: Final = 0.31
"""Mean cosine distance above which two clusters are two voices."""
_SAME_VOICE_NARROW: Final = 0.29
"""The same on a telephone line, where voices are more alike."""
_BLEND: Final = 0.86
"""Cosine of a cluster with a positive sum of two larger ones above which the cluster is not a voice, but overlapped
speech of those two or the transition between them. In mixtures of known voices, a separate voice measures at most .86.
"""
_DRAWS: Final = 64
_MAX_DRAWN: Final = 75
"""Windows of one random subset: half of the windows of half a minute of speech, for any length of the recording. Talks of
three minutes are counted no better with 150 or 300, for twice or four times the work.
"""
_ALONE: Final = 0.5
"""Probability of overlap from which a window is left out of the clustering."""
_LEAST_ALONE: Final = 20
_LEAST_ALONE_SHARE: Final = 0.3
"""Least number and share of windows that must remain."""
_MIN_WINDOWS: Final = 2
_MIN_SHARE: Final = 0.03
"""Least number of windows of a voice: a smaller cluster is noise, a cough, or a moment of another speaker."""


def find_voices(
    embeddings: Embeddings, hint: SpeakerHint | None = None, overlap: Overlap | None = None, *, narrow: bool = False
) -> Voices:
    """Voices of ``(num_windows, dim)`` L2-normalised embeddings in order of time.

    Linear in the number of windows beyond 2,000. The same embeddings always give the same voices. ``hint`` bounds their
    number if there are enough windows. Windows with overlapped speech, by ``overlap``, are not clustered. ``narrow``: the
    recording came over a telephone line.
    """
    count = len(embeddings)
    if count < 2:
        return resegment(embeddings @ embeddings.T, np.ones(count, np.int64))
    alone = _alone(embeddings, overlap)
    sample = alone
    if len(alone) > _MAX_WINDOWS:
        sample = alone[np.linspace(0, len(alone) - 1, _MAX_WINDOWS).round().astype(np.int64)]
    tree, bounds = _tree(sample), hint or SpeakerHint()
    clusters = _as_counted(sample, tree, _number(alone, _SAME_VOICE_NARROW if narrow else _SAME_VOICE_DISTANCE))
    found = len(clusters.sizes)
    wanted = min(max(found, bounds.least), bounds.most or MAX_SPEAKERS, MAX_SPEAKERS)
    if wanted != found:
        clusters = _as_required(sample, tree, wanted)
    return resegment(embeddings @ clusters.centroids.T, clusters.sizes, min(bounds.least, wanted), overlap)


def _alone(embeddings: Embeddings, overlap: Overlap | None) -> Embeddings:
    """Windows that probably have one voice only; all windows if too few of these remain."""
    if overlap is None:
        return embeddings
    alone = embeddings[overlap < _ALONE]
    return alone if len(alone) >= max(_LEAST_ALONE, _LEAST_ALONE_SHARE * len(embeddings)) else embeddings


@dataclass(frozen=True, slots=True)
class _Clusters:
    """``centroids``: ``(num_voices, dim) float32``, L2-normalised, largest cluster first; ``sizes``: their windows."""

    centroids: Embeddings
    sizes: NDArray[np.int64]

    def only(self, kept: slice | list[int]) -> _Clusters:
        return _Clusters(self.centroids[kept], self.sizes[kept])


def _number(embeddings: Embeddings, cut: float) -> int:
    """The mean number of voices of trees over halves of the windows, each cut at ``cut``; at least 1."""
    random = np.random.default_rng(0)
    half = min((len(embeddings) + 1) // 2, _MAX_DRAWN)
    counted = 0
    for _ in range(_DRAWS):
        drawn = embeddings[random.choice(len(embeddings), half, replace=False)]
        counted += 1 if half < 2 else len(_voices(drawn, fcluster(_tree(drawn), cut, "distance")).sizes)
    return int(counted / _DRAWS + 0.5)


def _as_counted(embeddings: Embeddings, tree: NDArray[np.float64], wanted: int) -> _Clusters:
    """The clusters of the highest cut with ``wanted`` voices; if there is none, of the highest cut with most voices."""
    best = _Clusters(embeddings[:0], np.zeros(0, np.int64))
    for clusters in _numbers_of_clusters(tree, wanted):
        found = _voices(embeddings, fcluster(tree, clusters, "maxclust"))
        if len(found.sizes) > len(best.sizes):
            best = found
        if len(best.sizes) >= wanted:
            break
    return best.only(slice(wanted))


def _as_required(embeddings: Embeddings, tree: NDArray[np.float64], wanted: int) -> _Clusters:
    """The highest cut with ``wanted`` clusters, including blends of voices.

    Small clusters count if no cut has as many large ones.
    """
    for least in (_least(embeddings), _MIN_WINDOWS, 1):
        for clusters in _numbers_of_clusters(tree, wanted):
            found = _clusters(embeddings, fcluster(tree, clusters, "maxclust"), least)
            if len(found.sizes) >= wanted:
                return found.only(slice(wanted))
    return _clusters(embeddings, fcluster(tree, wanted, "maxclust"), 1)


def _numbers_of_clusters(tree: NDArray[np.float64], wanted: int) -> range:
    """Numbers of clusters to try: voices appear in a few cuts or not at all."""
    return range(wanted, min(len(tree) + 1, 50 * wanted) + 1)


def _tree(embeddings: Embeddings) -> NDArray[np.float64]:
    distances = 1.0 - (embeddings @ embeddings.T)[np.triu_indices(len(embeddings), 1)]
    # Rounding makes distances of equal windows negative, which scipy refuses.
    return np.asarray(linkage(np.maximum(distances, 0.0), "average"))


def _least(embeddings: Embeddings) -> int:
    return max(_MIN_WINDOWS, int(np.ceil(_MIN_SHARE * len(embeddings))))


def _clusters(embeddings: Embeddings, labels: NDArray[np.int32], least: int) -> _Clusters:
    """Clusters of at least ``least`` windows, largest first; if there is no such cluster, the largest."""
    found, sizes = np.unique(labels, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    large = [i for i in order if sizes[i] >= least] or [order[0]]
    means = np.stack([embeddings[labels == found[i]].mean(axis=0) for i in large])
    norms = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return _Clusters(np.asarray(means / norms, np.float32), sizes[large])


def _voices(embeddings: Embeddings, labels: NDArray[np.int32]) -> _Clusters:
    """Clusters that are large enough for a voice and no blend of two larger ones, at most `MAX_SPEAKERS`."""
    found = _clusters(embeddings, labels, _least(embeddings)).only(slice(MAX_SPEAKERS))
    kept: list[int] = []
    for i, centroid in enumerate(found.centroids):
        if not any(_blends(centroid, found.centroids[list(pair)]) for pair in combinations(kept, 2)):
            kept.append(i)
    return found.only(kept)


def _blends(centroid: NDArray[np.float32], pair: Embeddings) -> bool:
    """Whether the cosine of ``centroid`` and a positive sum of two voices is at least `_BLEND`."""
    weights, *_ = np.linalg.lstsq(pair.T, centroid, rcond=None)
    return bool(weights.min() > 0 and np.linalg.norm(weights @ pair) >= _BLEND)
