"""How many voices, and which window is whose: spectral clustering of speaker embeddings.

Affinities are cosine similarities of which each window keeps its nearest 35 % as ones (Park et al. 2020, arXiv:2003.02405,
with the pruning share fixed: on meeting excerpts a share of .2 to .4 does about as well, and chosen per file it does
worse). The largest gap among the Laplacian's first eigenvalues gives a first number of voices. Two rules that know what
cosines mean for this encoder then correct it: a cluster that holds a second voice is parted, for the gap overlooks whoever
speaks for less than a quarter of the time; and clusters of one voice are joined.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage, to_tree
from scipy.linalg import eigh
from sklearn.cluster import KMeans

from serve.diarization.weights import MAX_SPEAKERS

Embeddings = NDArray[np.float32]
Labels = NDArray[np.int64]

_NEIGHBOUR_SHARE: Final = 0.35
_MAX_WINDOWS: Final = 2000
"""Windows clustered exactly; a longer recording by an even sample. Time and memory grow with the square."""
_SAME_VOICE_COSINE: Final = 0.88
"""Centroids at least this near are one voice: parts of one speaker's speech measure .90 to .95."""
_OTHER_VOICE_COSINE: Final = 0.75
"""Centroids less near than this are two voices: different readers measure .59 to .65, a lone one cut in two .88 to .94."""
_MIN_VOICE_WINDOWS: Final = 4
_MIN_VOICE_SHARE: Final = 0.005
"""Least evidence of a voice the eigengap overlooked; in a long recording a cough must not become a speaker."""
_SEED: Final = 0


def cluster(embeddings: Embeddings) -> Labels:
    """``(num_windows, dim)`` L2-normalised embeddings to ``(num_windows,)`` labels 0, 1, ... in order of first window.

    Linear in the number of windows beyond 2,000. The same embeddings always give the same labels.
    """
    count = len(embeddings)
    if count <= _MAX_WINDOWS:
        labels = _voices(embeddings)
    else:
        sample = np.linspace(0, count - 1, _MAX_WINDOWS).round().astype(np.int64)
        sampled = _voices(embeddings[sample])
        labels = np.argmax(embeddings @ _centroids(embeddings[sample], sampled).T, axis=1).astype(np.int64)
    return _by_first_window(labels)


def _voices(embeddings: Embeddings) -> Labels:
    return _merge_alike(embeddings, _part_unlike(embeddings, _spectral(embeddings)))


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


def _part_unlike(embeddings: Embeddings, labels: Labels) -> Labels:
    """Parts clusters that hold a second voice until none does, or there are `MAX_SPEAKERS`."""
    labels = labels.copy()
    least = max(_MIN_VOICE_WINDOWS, int(len(labels) * _MIN_VOICE_SHARE))
    pending = np.unique(labels).tolist()
    while pending and len(np.unique(labels)) < MAX_SPEAKERS:
        label = pending.pop()
        inside = np.flatnonzero(labels == label)
        other = _second_voice(embeddings[inside], least)
        if other is not None:
            fresh = int(labels.max()) + 1
            labels[inside[other]] = fresh
            pending += [label, fresh]
    return labels


def _second_voice(embeddings: Embeddings, least: int) -> NDArray[np.bool_] | None:
    """``(n,) bool``: the windows of a second voice, or None where one voice is heard.

    The two are sides of the highest join in the average-linkage tree with ``least`` windows on both sides; joins above it
    hold stray windows only. Unlike two-means, this finds a voice with a twentieth of the windows.
    """
    if len(embeddings) < 2 * least:
        return None
    distances = np.maximum(1.0 - embeddings @ embeddings.T, 0.0)  # rounding takes equal windows below zero
    node = to_tree(linkage(distances[np.triu_indices(len(embeddings), 1)], "average"))
    while not node.is_leaf():
        smaller, larger = sorted((node.left, node.right), key=lambda side: side.count)
        if smaller.count >= least:
            other = np.zeros(len(embeddings), np.bool_)
            other[smaller.pre_order()] = True
            first, second = _centroids(embeddings, other.astype(np.int64))
            return other if first @ second < _OTHER_VOICE_COSINE else None
        node = larger
    return None


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
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9), np.float32)


def _by_first_window(labels: Labels) -> Labels:
    found, first = np.unique(labels, return_index=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first)] = np.arange(len(found))
    return np.asarray(rank[np.searchsorted(found, labels)], np.int64)
