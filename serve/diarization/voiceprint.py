"""Voices as vectors: the Resemblyzer speaker encoder (GE2E; Wan et al. 2018, arXiv:1710.10467) over 1.6 s windows.

The network is LSTM(40, 256, 3 layers) + Linear(256, 256) + ReLU + L2 norm over linear (not log) mel power. Its features are
librosa's defaults: 40 Slaney mel bands, FFT of 400, hop 160, periodic Hann window, frames centred
with zero padding. Those few lines stand here, so librosa and its compiler are not needed.
"""

from __future__ import annotations

import copy
import time
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from serve.diarization.weights import weights_path

Mel = NDArray[np.float32]

NUM_MELS: Final = 40
N_FFT: Final = 400
HOP: Final = 160
FRAME_RATE_HZ: Final = SAMPLE_RATE_HZ // HOP
WINDOW_FRAMES: Final = 160
"""Frames the encoder was trained on: 1.6 s."""
DIM: Final = 256

_TARGET_DBFS: Final = -30.0
_BATCH: Final = 64
_TRIED_WINDOWS: Final = 16
_TRIES: Final = 3
_CLEARLY: Final = 0.8
"""Share of float32's time that is worth another precision: less than a noisy machine makes of equals."""


class Voiceprint:
    """The encoder, on one CPU thread (replicas scale, threads do not)."""

    def __init__(self) -> None:
        """Loads the weights and runs some batches, so that the first request is as fast as the rest. Raises Unavailable."""
        torch.set_num_threads(1)
        network = _Network()
        state = torch.load(weights_path(), map_location="cpu", weights_only=True)["model_state"]
        # The training loss's similarity weight and bias stand in the file too; the encoder has no use for them.
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith("similarity_")})
        self._network = _faster(network.eval())

    @torch.inference_mode()
    def embed(self, windows: Mel) -> NDArray[np.float32]:
        """``(num_windows, num_frames, 40) float32`` mel power to ``(num_windows, 256) float32``, L2-normalised."""
        mels = torch.from_numpy(windows)
        batches = [self._network(mels[i : i + _BATCH]) for i in range(0, len(mels), _BATCH)]
        if not batches:
            return np.zeros((0, DIM), np.float32)
        embeddings: NDArray[np.float32] = nn.functional.normalize(torch.cat(batches).float(), dim=1).numpy()
        return embeddings


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(NUM_MELS, DIM, 3, batch_first=True)
        self.linear = nn.Linear(DIM, DIM)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(mels.to(self.linear.weight.dtype))
        return torch.relu(self.linear(hidden[-1]))


def _faster(network: _Network) -> _Network:
    """``network``, or its copy in bfloat16 where that is clearly faster: each has run when this returns.

    Some processors that multiply bfloat16 halve an embedding's cost by it, others nearly double it, and neither says
    which it is. A copy's embeddings keep a cosine of .999 with the exact ones.
    """
    if not torch.cpu.get_capabilities().get("avx512_bf16"):
        _took_secs(network)
        return network
    rounded = copy.deepcopy(network).to(torch.bfloat16)
    return rounded if _took_secs(rounded) < _CLEARLY * _took_secs(network) else network


@torch.inference_mode()
def _took_secs(network: _Network) -> Seconds:
    """Processor time of some windows, the least of a few tries: the first makes what the others use again."""
    mels = torch.zeros(_TRIED_WINDOWS, WINDOW_FRAMES, NUM_MELS)
    took = []
    for _ in range(_TRIES):
        began = time.thread_time()
        network(mels)
        took.append(time.thread_time() - began)
    return min(took)


def mel_power(samples: Samples) -> Mel:
    """``(num_samples,) float32`` at 16 kHz to ``(1 + num_samples // 160, 40) float32`` mel power, one frame each 10 ms."""
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(samples, np.float32)),
        n_fft=N_FFT,
        hop_length=HOP,
        window=torch.hann_window(N_FFT, periodic=True),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mels: Mel = (torch.from_numpy(mel_filterbank()) @ power).T.contiguous().numpy()
    return mels


def mel_filterbank() -> NDArray[np.float32]:
    """``(40, 201) float32`` triangles of unit area on Slaney's mel scale, 0 to 8 kHz (Auditory Toolbox, 1998)."""
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)
    edges_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(SAMPLE_RATE_HZ / 2), NUM_MELS + 2))
    low, center, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    triangles = np.minimum((bins_hz - low) / (center - low), (high - bins_hz) / (high - center))
    return np.asarray(np.maximum(0.0, triangles) * 2.0 / (high - low), np.float32)


# Slaney's scale is linear up to 1 kHz (15 mels) and logarithmic above, 27 mels to a factor of 6.4.
_LINEAR_HZ_PER_MEL: Final = 200.0 / 3
_BREAK_HZ: Final = 1000.0
_BREAK_MEL: Final = 15.0
_LOG_STEP: Final = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))


def raise_volume(samples: Samples) -> Samples:
    """``samples`` brought up to -30 dBFS where they are softer; loud ones stay as they are. Silence stays silence."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
    gain = 10 ** (_TARGET_DBFS / 20) / rms if rms > 0 else 1.0
    return samples * np.float32(gain) if gain > 1 else samples
