"""How many voices, and which window is whose: spectral clustering of speaker embeddings.

Affinities are cosine similarities of which each window keeps its nearest 35 % as ones (Park et al. 2020, arXiv:2003.02405,
with the pruning share fixed: on meeting excerpts a share of .2 to .4 does about as well, and chosen per file it does
worse). The largest gap among the Laplacian's first eigenvalues gives the number of voices.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.cluster import KMeans

from serve.diarization.weights import MAX_SPEAKERS

Embeddings = NDArray[np.float32]
Labels = NDArray[np.int64]

_NEIGHBOUR_SHARE: Final = 0.35
_MAX_WINDOWS: Final = 2000
"""Windows clustered exactly; a longer recording by an even sample. Time and memory grow with the square."""
_SAME_VOICE_COSINE: Final = 0.88
_SEED: Final = 0


def cluster(embeddings: Embeddings) -> Labels:
    """``(num_windows, dim)`` L2-normalised embeddings to ``(num_windows,)`` labels 0, 1, ... in order of first window.

    Linear in the number of windows beyond 2,000. The same embeddings always give the same labels.
    """
    count = len(embeddings)
    if count <= _MAX_WINDOWS:
        labels = _merge_alike(embeddings, _spectral(embeddings))
    else:
        sample = np.linspace(0, count - 1, _MAX_WINDOWS).round().astype(np.int64)
        sampled = _merge_alike(embeddings[sample], _spectral(embeddings[sample]))
        labels = np.argmax(embeddings @ _centroids(embeddings[sample], sampled).T, axis=1).astype(np.int64)
    return _by_first_window(labels)


def _spectral(embeddings: Embeddings) -> Labels:
    count = len(embeddings)
    if count < 3:
        return np.zeros(count, np.int64)
    graph = _neighbour_graph(embeddings)
    laplacian = np.diag(graph.sum(axis=1)) - graph
    values, vectors = eigh(laplacian, subset_by_index=(0, min(MAX_SPEAKERS, count - 1)))
    speakers = int(np.argmax(np.diff(values))) + 1
    if speakers == 1:
        return np.zeros(count, np.int64)
    labels: Labels = KMeans(speakers, n_init=4, random_state=_SEED).fit_predict(vectors[:, :speakers]).astype(np.int64)
    return labels


def _neighbour_graph(embeddings: Embeddings) -> NDArray[np.float64]:
    """``(n, n) float64``: 1 where two windows are among each other's nearest, 1/2 where only one is, else 0."""
    similarity = embeddings @ embeddings.T
    keep = max(2, int(len(embeddings) * _NEIGHBOUR_SHARE))
    nearest = np.argpartition(-similarity, keep - 1, axis=1)[:, :keep]
    graph = np.zeros(similarity.shape)
    np.put_along_axis(graph, nearest, 1.0, axis=1)
    return np.asarray(0.5 * (graph + graph.T))


def _merge_alike(embeddings: Embeddings, labels: Labels) -> Labels:
    """Joins the two nearest clusters while their centroids are as near as two halves of one reader's speech are.

    The eigengap always finds some split to prefer, and a lone reader's own changes of tone make one now and then.
    """
    labels = labels.copy()
    while len(kept := np.unique(labels)) > 1:
        centroids = _centroids(embeddings, labels)
        similarity = centroids @ centroids.T
        np.fill_diagonal(similarity, -1.0)
        first, second = np.unravel_index(np.argmax(similarity), similarity.shape)
        if similarity[first, second] < _SAME_VOICE_COSINE:
            break
        labels[labels == kept[second]] = kept[first]
    return labels


def _centroids(embeddings: Embeddings, labels: Labels) -> Embeddings:
    """``(num_labels, dim) float32``, L2-normalised means in the order of the labels."""
    means = np.stack([embeddings[labels == label].mean(axis=0) for label in np.unique(labels)])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def _by_first_window(labels: Labels) -> Labels:
    found, first = np.unique(labels, return_index=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first)] = np.arange(len(found))
    return np.asarray(rank[np.searchsorted(found, labels)], np.int64)
