"""Voices as vectors: the Resemblyzer speaker encoder (GE2E; Wan et al. 2018, arXiv:1710.10467) over 1.6 s windows.

The network is LSTM(40, 256, 3 layers) + Linear(256, 256) + ReLU + L2 norm over linear (not log) mel power. Its features are
librosa's defaults: 40 Slaney mel bands, FFT of 400, hop 160, periodic Hann window, frames centred with zero padding. They
are computed here, so librosa and its compiler are not needed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from serve.engines.diarization.weights import weights_path

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
_WARM_UP_WINDOWS: Final = 16


class Voiceprint:
    """The encoder in float32, on one CPU thread, because more threads are not faster.

    The precision is fixed, so two machines give embeddings that differ by rounding only: a cosine of 0.99999 or more.
    """

    def __init__(self) -> None:
        """Loads the weights and runs a batch, so that the first request is as fast as the rest. Raises Unavailable."""
        torch.set_num_threads(1)
        network = _Network()
        state = torch.load(weights_path(), map_location="cpu", weights_only=True)["model_state"]
        # The file also has the weight and bias of the training loss, which the encoder does not use.
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith("similarity_")})
        self._network = network.eval()
        self.embed(np.zeros((_WARM_UP_WINDOWS, WINDOW_FRAMES, NUM_MELS), np.float32))

    @torch.inference_mode()
    def embed(self, windows: Mel) -> NDArray[np.float32]:
        """``(num_windows, num_frames, 40) float32`` mel power to ``(num_windows, 256) float32``, L2-normalised."""
        mels = torch.from_numpy(windows)
        batches = [self._network(mels[i : i + _BATCH]) for i in range(0, len(mels), _BATCH)]
        if not batches:
            return np.zeros((0, DIM), np.float32)
        embeddings: NDArray[np.float32] = nn.functional.normalize(torch.cat(batches), dim=1).numpy()
        return embeddings


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(NUM_MELS, DIM, 3, batch_first=True)
        self.linear = nn.Linear(DIM, DIM)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(mels)
        return torch.relu(self.linear(hidden[-1]))


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
    """``samples`` amplified to -30 dBFS if they are softer; louder ones and silence are unchanged."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
    gain = 10 ** (_TARGET_DBFS / 20) / rms if rms > 0 else 1.0
    return samples * np.float32(gain) if gain > 1 else samples
