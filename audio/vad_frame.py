"""Silero VAD's network on one frame, for streams: with NumPy, whose calls on such small arrays take a third of PyTorch's
time. The probabilities are those of `audio.vad` (within 1e-7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
State: TypeAlias = tuple[Floats, Floats]
"""Output and memory of the LSTM after a frame, ``(128,) float32`` each."""

UNITS: Final = 128


@dataclass(frozen=True, slots=True)
class Convolution:
    """Over three steps: ``weight`` is ``(3 * channels, outputs)``, ``bias`` ``(outputs,)``."""

    weight: Floats
    bias: Floats
    stride: int


class FrameNetwork:
    """Safe to call from several threads."""

    def __init__(
        self, window: Floats, layers: Sequence[Convolution], gates: Floats, gate_bias: Floats, head: Floats, bias: float
    ) -> None:
        """``window``: ``(256,)``. ``gates``: ``(256, 512)``, from the features and the LSTM's output to its gates in
        PyTorch's order: input, forget, cell, output. ``head``: ``(128,)``."""
        self._window, self._layers = window, layers
        self._gates, self._gate_bias = np.ascontiguousarray(gates), gate_bias
        self._head, self._bias = head, bias
        self._places = 128 * np.arange(4)[:, None] + np.arange(window.size)

    def probability(self, frame: Floats, state: State | None) -> tuple[float, State]:
        """The probability of speech in ``(576,) float32``, 64 samples of context and a frame, and the state after it."""
        output, memory = state or (np.zeros(UNITS, np.float32), np.zeros(UNITS, np.float32))
        gates = np.concatenate((self._features(frame), output)) @ self._gates + self._gate_bias
        opened = _sigmoid(gates)
        memory = opened[UNITS : 2 * UNITS] * memory + opened[:UNITS] * np.tanh(gates[2 * UNITS : 3 * UNITS])
        output = opened[3 * UNITS :] * np.tanh(memory)
        return float(_sigmoid(np.maximum(output, 0.0) @ self._head + self._bias)), (output, memory)

    def _features(self, frame: Floats) -> Floats:
        """``(128,)``: magnitudes of four overlapping spectra through the convolutions."""
        padded = np.concatenate((frame, frame[-2:-66:-1]))
        features: Floats = np.abs(np.fft.rfft(padded[self._places] * self._window)).astype(np.float32)
        for layer in self._layers:
            count, channels = features.shape
            steps = np.zeros((count + 2, channels), np.float32)
            steps[1:-1] = features
            last = (count - 1) // layer.stride * layer.stride
            triples = np.concatenate([steps[at : at + last + 1 : layer.stride] for at in range(3)], axis=1)
            features = np.maximum(triples @ layer.weight + layer.bias, 0.0)
        first: Floats = features[0]
        return first


def _sigmoid(values: Floats) -> Floats:
    # The form with tanh cannot overflow.
    half: Floats = np.float32(0.5) * (np.tanh(np.float32(0.5) * values) + np.float32(1.0))
    return half
