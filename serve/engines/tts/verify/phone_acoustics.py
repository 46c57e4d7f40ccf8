"""The acoustic model: phone probabilities by a small convolutional network of 130,000 weights, run in numpy.

It is trained by `benchmarks.verification.phone_training` on speech of espeak-ng with its pronunciations. Three layers
have a context of 170 ms around each frame; one second of speech takes about 2 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.engines import Samples
from serve.engines.tts.verify.phone_features import Frames, log_mel

LAYERS: Final = ((5, 1), (3, 2), (3, 4), (1, 1))
"""Kernel size and dilation of each layer; all but the last end in a rectifier."""

_PRIOR_SHARE: Final = 0.8

MODEL_FILE: Final = Path(__file__).with_name("phones.npz")


@dataclass(frozen=True, slots=True)
class AcousticModel:
    """``weights[i]``: ``(kernel, in, out) float32``, ``biases[i]``: ``(out,) float32``, for each of `LAYERS`.

    ``phone_frames``: ``(num_phones,)`` mean duration of each phone in the training speech, in frames.
    ``log_priors``: ``(num_phones,)`` natural logs of the share of frames each phone had in it.
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    phone_frames: NDArray[np.float32]
    log_priors: NDArray[np.float32]

    def scores(self, samples: Samples) -> NDArray[np.float32]:
        """``(num_frames, num_phones) float32``, 10 ms apart, of ``(num_samples,) float32`` at 16 kHz mono.

        Natural logs of the posteriors divided by most of the priors, scaled to a sum of one, so that a search over whole
        words does not favour frequent phones.
        """
        return self.scores_of(log_mel(samples))

    def scores_of(self, frames: Frames) -> NDArray[np.float32]:
        """`scores` of computed features."""
        hidden = frames
        for index, (kernel, dilation) in enumerate(LAYERS):
            hidden = _convolve(hidden, self.weights[index], dilation * (kernel // 2), dilation) + self.biases[index]
            if index < len(LAYERS) - 1:
                hidden = np.maximum(hidden, 0)
        hidden = hidden - _PRIOR_SHARE * self.log_priors
        top = hidden.max(axis=1, keepdims=True)
        return np.asarray(hidden - top - np.log(np.exp(hidden - top).sum(axis=1, keepdims=True)), np.float32)


def _convolve(x: Frames, weight: NDArray[np.float32], pad: int, dilation: int) -> Frames:
    padded = np.pad(x, ((pad, pad), (0, 0)))
    return sum(
        (padded[k * dilation : k * dilation + len(x)] @ weight[k] for k in range(len(weight))),
        np.zeros((len(x), weight.shape[2]), np.float32),
    )


@cache
def load_model() -> AcousticModel:
    """The bundled model, read once a process."""
    return read_model(MODEL_FILE)


def read_model(path: Path) -> AcousticModel:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name].astype(np.float32) for name in stored.files}
    count = range(len(LAYERS))
    return AcousticModel(
        tuple(arrays[f"weight{i}"] for i in count),
        tuple(arrays[f"bias{i}"] for i in count),
        arrays["phone_frames"],
        arrays["log_priors"],
    )


def write_model(model: AcousticModel, path: Path) -> None:
    """Half precision: the file is 260 kB, and decisions do not change."""
    arrays = {f"weight{i}": w.astype(np.float16) for i, w in enumerate(model.weights)}
    arrays |= {f"bias{i}": b.astype(np.float16) for i, b in enumerate(model.biases)}
    arrays |= {"phone_frames": model.phone_frames.astype(np.float16), "log_priors": model.log_priors.astype(np.float16)}
    np.savez(path, **arrays)  # type: ignore[arg-type]
