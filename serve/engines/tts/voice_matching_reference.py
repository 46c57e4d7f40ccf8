"""Checks that a reference clip has one voice."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidAudio

_LEAST_WINDOWS: Final = 6
_LEAST_SHARE: Final = 0.2
_TWO_PEOPLE_BELOW: Final = 0.7
"""Cosine of the two groups below which a clip has two voices. Eight clips of one person had 0.78 or more; of 27 mixtures of
two people, 19 had less than 0.7."""
_ROUNDS: Final = 10


def check_one_voice(windows: NDArray[np.float32]) -> None:
    """``windows``: ``(num_windows, 256)``, L2-normalised, voiceprints of parts of the clip.

    Raises InvalidAudio where they fall into two groups too different for one person. A clip under five seconds has too few
    windows and is not checked.
    """
    if len(windows) < _LEAST_WINDOWS:
        return
    similarity, share = two_groups(windows)
    if similarity < _TWO_PEOPLE_BELOW and share >= _LEAST_SHARE:
        raise InvalidAudio(
            f"two voices were heard in the reference clip, one of them for {share:.0%} of it; send a clip of one person",
            code="two_voices",
            param="audio",
        )


def two_groups(windows: NDArray[np.float32]) -> tuple[float, float]:
    """Cosine of the means of two groups of windows (spherical k-means from the two that differ most), and the share of the
    smaller group."""
    cosines = windows @ windows.T
    means = windows[list(np.unravel_index(int(cosines.argmin()), cosines.shape))]
    in_second = np.zeros(len(windows), bool)
    for _ in range(_ROUNDS):
        in_second = (windows @ means.T).argmax(axis=1) == 1
        if in_second.all() or not in_second.any():
            return 1.0, 0.0
        means = np.stack([windows[~in_second].mean(axis=0), windows[in_second].mean(axis=0)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    return float(means[0] @ means[1]), float(min(in_second.mean(), 1 - in_second.mean()))
