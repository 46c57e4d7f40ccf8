"""Voice activity detection: silero VAD's weights, run over a whole file at once.

The model computes a spectrum and four convolutions on frames of 32 ms (512 samples with the 64 before them), each frame
alone, and then an LSTM over all frames. silero's own program runs all layers frame by frame. Here the first part runs on
blocks of frames as matrix products, and only the LSTM runs in sequence, with its state passed from block to block. The
probabilities are the same (within 3e-6 over 46 s of speech), at 1,800 times real time on one core instead of 80.

Architecture: https://github.com/snakers4/silero-vad (MIT).
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio.pcm import PcmFile
from audio.vad_frame import Convolution, FrameNetwork
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span
from schemas.engines import Samples

FRAME_SAMPLES = 512
FRAME_SECS: Seconds = FRAME_SAMPLES / SAMPLE_RATE_HZ
"""Length of a frame, which has one probability: 32 ms."""

CONTEXT_SAMPLES = 64
"""Number of samples before a frame that the model reads with it."""

HYSTERESIS = 0.15
"""Speech ends below the threshold minus this, as in silero's reference program."""

Probabilities = NDArray[np.float32]
"""``(num_frames,) float32``: probability of speech in frame i, samples ``[512 i, 512 (i + 1))`` at 16 kHz."""

_FFT_SAMPLES, _HOP_SAMPLES, _RIGHT_PAD_SAMPLES = 256, 128, 64
_STRIDES = (1, 2, 2, 1)
_BLOCK_FRAMES = 256
"""The fastest of 64 to 1024: its spectra fit in the processor's cache."""


class VoiceActivity:
    """Silero VAD for whole recordings. Loads in about 60 ms. It has no state, so many threads may share one.

    Sets PyTorch to one thread, because recognisers need the other cores, and such small products gain nothing from more
    threads.
    """

    def __init__(self) -> None:
        torch.set_num_threads(1)
        weights = _load_weights()
        # Real part of bin 0 of the model's Fourier basis is the window itself.
        self._window = weights["stft.forward_basis_buffer"][0, 0]
        self._layers = [
            (
                weights[f"encoder.{i}.reparam_conv.weight"].permute(2, 1, 0).flatten(0, 1).contiguous(),
                weights[f"encoder.{i}.reparam_conv.bias"],
                stride,
            )
            for i, stride in enumerate(_STRIDES)
        ]
        self._lstm = torch.nn.LSTM(128, 128)
        self._lstm.load_state_dict(
            {f"{name}_l0": weights[f"decoder.rnn.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        )
        self._head = weights["decoder.decoder.2.weight"][0, :, 0]
        self._bias = weights["decoder.decoder.2.bias"]
        self.frame_network = FrameNetwork(
            self._window.numpy(),
            [Convolution(weight.numpy(), bias.numpy(), stride) for weight, bias, stride in self._layers],
            torch.cat([weights[f"decoder.rnn.weight_{name}"] for name in ("ih", "hh")], 1).T.numpy(),
            (weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]).numpy(),
            self._head.numpy(),
            float(self._bias),
        )

    def probabilities(self, recording: PcmFile | Samples) -> Probabilities:
        """The probabilities of a file, in constant memory, or of ``(num_samples,) float32`` at 16 kHz. The last frame is
        padded with zeros."""
        num_samples = recording.num_samples if isinstance(recording, PcmFile) else len(recording)
        num_frames = -(-num_samples // FRAME_SAMPLES)
        found = np.zeros(num_frames, np.float32)
        state: tuple[Tensor, Tensor] | None = None
        for first in range(0, num_frames, _BLOCK_FRAMES):
            last = min(first + _BLOCK_FRAMES, num_frames)
            found[first:last], state = self.of_frames(_frames(recording, first, last), state)
        return found

    def of_frames(self, frames: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Probabilities, tuple[Tensor, Tensor]]:
        """Probabilities of ``(n, 576) float32`` frames that follow those after which ``state`` was returned."""
        with torch.inference_mode():
            hidden, after = self._lstm(self._encode(frames)[:, None], state)
            found: Probabilities = torch.sigmoid(hidden[:, 0].relu() @ self._head + self._bias).numpy()
        return found, after

    def _encode(self, frames: Tensor) -> Tensor:
        """``(n, 576)`` samples to ``(n, 128)`` features, frame by frame."""
        padded = torch.nn.functional.pad(frames[:, None], (0, _RIGHT_PAD_SAMPLES), "reflect")[:, 0]
        spectra = torch.fft.rfft(padded.unfold(-1, _FFT_SAMPLES, _HOP_SAMPLES) * self._window)
        features = spectra.abs()  # (n, 4 steps, 129 bins)
        for weight, bias, stride in self._layers:
            count, _, channels = features.shape
            # A convolution over three steps is a product with three steps laid side by side.
            steps = torch.nn.functional.pad(features, (0, 0, 1, 1)).flatten(1)
            triples = steps.unfold(1, 3 * channels, stride * channels)
            features = torch.addmm(bias, triples.flatten(0, 1), weight).relu_().view(count, triples.shape[1], -1)
        encoded: Tensor = features[:, 0]
        return encoded


def regions(
    probabilities: Probabilities,
    *,
    duration_secs: Seconds,
    threshold: float = 0.5,
    min_silence_secs: Seconds = 0.3,
    min_speech_secs: Seconds = 0.0,
    pad_secs: Seconds = 0.0,
) -> list[Span]:
    """Speech intervals, sorted, not overlapping, within the recording.

    Speech starts with a frame at ``threshold`` and ends with the first frame under ``threshold - HYSTERESIS`` of a
    silence of at least ``min_silence_secs``. Regions under ``min_speech_secs`` are dropped, then all grow by ``pad_secs``
    on both sides; if two would overlap, both end in the middle of their gap.
    """
    end = round(duration_secs * SAMPLE_RATE_HZ)
    runs = _bridge(_active_runs(probabilities, threshold), round(min_silence_secs * SAMPLE_RATE_HZ))
    kept = [
        (start, min(stop, end))
        for start, stop in runs
        if min(stop, end) - start >= max(min_speech_secs * SAMPLE_RATE_HZ, 1)
    ]
    pad = round(pad_secs * SAMPLE_RATE_HZ)
    spans = []
    for i, (start, stop) in enumerate(kept):
        floor = (kept[i - 1][1] + start) // 2 if i else 0
        ceiling = (stop + kept[i + 1][0]) // 2 if i + 1 < len(kept) else end
        spans.append(Span(max(start - pad, floor) / SAMPLE_RATE_HZ, min(stop + pad, ceiling) / SAMPLE_RATE_HZ))
    return spans


def _active_runs(probabilities: Probabilities, threshold: float) -> NDArray[np.int64]:
    """``(num_runs, 2)`` sample bounds of the active runs by the two thresholds, before short silences are bridged."""
    state = np.where(probabilities >= threshold, 1, np.where(probabilities < max(threshold - HYSTERESIS, 0.01), 0, -1))
    # Between the two thresholds, a frame has the state of the frame before.
    decided = np.maximum.accumulate(np.where(state >= 0, np.arange(len(state)), -1))
    active = np.zeros(len(state) + 2, np.int8)
    active[1:-1] = (decided >= 0) & (state[decided] == 1)
    edges = np.flatnonzero(np.diff(active))
    return edges.reshape(-1, 2) * FRAME_SAMPLES


def _bridge(runs: NDArray[np.int64], min_silence_samples: int) -> list[tuple[int, int]]:
    bridged: list[tuple[int, int]] = []
    for start, stop in runs.tolist():
        if bridged and start - bridged[-1][1] < min_silence_samples:
            bridged[-1] = (bridged[-1][0], stop)
        else:
            bridged.append((start, stop))
    return bridged


def _frames(recording: PcmFile | Samples, first: int, last: int) -> Tensor:
    """``(last - first, 576) float32``: each frame with the 64 samples before it, zeros outside the recording."""
    start, stop = first * FRAME_SAMPLES - CONTEXT_SAMPLES, last * FRAME_SAMPLES
    samples = np.zeros(stop - start, np.float32)
    lead = max(-start, 0)
    if isinstance(recording, PcmFile):
        found = recording.read(Span((start + lead) / SAMPLE_RATE_HZ, stop / SAMPLE_RATE_HZ))
    else:
        found = recording[start + lead : stop]
    samples[lead : lead + len(found)] = found
    frames: Tensor = torch.from_numpy(samples).unfold(0, FRAME_SAMPLES + CONTEXT_SAMPLES, FRAME_SAMPLES)
    return frames


def _load_weights() -> dict[str, Tensor]:
    """Weights of the 16 kHz model out of the TorchScript file in silero_vad's wheel, which is not imported.

    The safetensors file beside it holds another release with other probabilities.
    """
    package = importlib.util.find_spec("silero_vad")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("silero-vad is not installed; run `make run` to install it")
    path = Path(package.submodule_search_locations[0]) / "data" / "silero_vad.jit"
    with warnings.catch_warnings():
        # TorchScript is deprecated, but the wheel has no file in a newer format.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return {
        name.removeprefix("_model."): weight.detach().clone()
        for name, weight in model.state_dict().items()
        if name.startswith("_model.")
    }
