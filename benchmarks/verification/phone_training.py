"""Trains the acoustic model on espeak-ng's speech and pronunciations; about three minutes on one core.

The synthesiser reports where each word starts. At first the phones of a word share its time evenly. Then training and
alignment alternate: train, align with the new network, train again (embedded Viterbi training).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.verification.phone_training_speech import TrainingRender, training_renders
from serve.engines.tts.verify.phone_acoustics import LAYERS, AcousticModel
from serve.engines.tts.verify.phone_alignment import align
from serve.engines.tts.verify.phone_features import FRAME_SECS, NUM_BANDS, Frames, log_mel
from serve.engines.tts.verify.phone_lexicon import PHONES, SILENCE, Lexicon

HIDDEN: Final = 128
ROUNDS: Final = (2, 2, 3, 4)
"""Passes over the speech after each alignment."""
_BATCH: Final = 32
_CROP: Final = 128
"""Frames of one training example."""
_IGNORED: Final = -100

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Example:
    frames: Frames
    words: list[tuple[tuple[int, ...], ...]]
    labels: Labels


def train(num_renders: int, seed: int, say: Callable[[str], None]) -> AcousticModel:
    """A trained model. ``say`` gets lines of progress. Raises EngineFailure when the synthesiser does not start."""
    lexicon = Lexicon()
    examples = [_first_labels(render, lexicon) for render in training_renders(num_renders, seed)]
    num_frames = sum(len(e.frames) for e in examples)
    say(f"{len(examples)} renders, {num_frames * FRAME_SECS / 60:.1f} min")
    network = _Network(seed)
    model: AcousticModel | None = None
    for number, passes in enumerate(ROUNDS):
        if model is not None:
            examples = [_aligned(example, model) for example in examples]
        loss = network.fit(examples, passes, rate=2e-3 if number < len(ROUNDS) - 1 else 1e-3)
        model = network.model(*_statistics(examples))
        say(f"round {number + 1}: loss {loss:.3f}")
    assert model is not None  # noqa: S101  # there is at least one round
    return model


def _first_labels(render: TrainingRender, lexicon: Lexicon) -> _Example:
    frames = log_mel(render.samples)
    words = [lexicon.pronunciations(word) for word in render.words]
    labels = np.zeros(len(frames), np.int64)
    energy = frames.mean(axis=1)
    quiet = energy < np.percentile(energy, 2) + 0.05
    last_sound = len(frames) - int(np.argmin(quiet[::-1]))
    bounds = [round(secs / FRAME_SECS) for secs in render.word_starts_secs] + [last_sound]
    for variants, start, end in zip(words, bounds, bounds[1:], strict=False):
        phones = np.asarray(variants[0])
        if end > start:
            labels[start:end] = phones[np.arange(end - start) * len(phones) // (end - start)]
    labels[quiet] = SILENCE
    return _Example(frames, words, labels)


def _aligned(example: _Example, model: AcousticModel) -> _Example:
    path = align(model.scores_of(example.frames), example.words, free=False)
    if path is None:
        return example
    labels = np.full(len(example.frames), _IGNORED, np.int64)
    for span in path.spans:
        labels[span.start : span.end] = span.phone
    return _Example(example.frames, example.words, labels)


def _statistics(examples: Sequence[_Example]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean duration in frames and log-prior of each phone."""
    totals, counts = np.zeros(len(PHONES)), np.ones(len(PHONES))
    for example in examples:
        starts = np.concatenate([[0], np.flatnonzero(np.diff(example.labels)) + 1])
        kept = starts[example.labels[starts] >= 0]
        np.add.at(counts, example.labels[kept], 1)
        totals += np.bincount(example.labels[example.labels >= 0], minlength=len(PHONES))
    return np.asarray(totals / counts, np.float32), np.log((totals + 1) / totals.sum()).astype(np.float32)


class _Network:
    """The layers of `AcousticModel` in torch."""

    def __init__(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed)
        self._random = np.random.default_rng(seed)
        sizes = [NUM_BANDS] + [HIDDEN] * (len(LAYERS) - 1) + [len(PHONES)]
        self._convolutions = [
            torch.nn.Conv1d(sizes[i], sizes[i + 1], kernel, dilation=dilation, padding=dilation * (kernel // 2))
            for i, (kernel, dilation) in enumerate(LAYERS)
        ]

    def fit(self, examples: Sequence[_Example], passes: int, rate: float) -> float:
        """Mean cross entropy of the last pass, nats a frame."""
        import torch

        optimizer = torch.optim.AdamW([p for c in self._convolutions for p in c.parameters()], lr=rate, weight_decay=1e-3)
        steps = passes * (sum(len(e.frames) for e in examples) // (_CROP * _BATCH))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 20)
        losses: list[float] = []
        for _ in range(steps):
            features, labels = self._batch(examples)
            loss = torch.nn.functional.cross_entropy(
                self._forward(features), labels, ignore_index=_IGNORED, label_smoothing=0.02
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses[-steps // passes :]))

    def model(self, phone_frames: NDArray[np.float32], log_priors: NDArray[np.float32]) -> AcousticModel:
        weights = tuple(c.weight.detach().numpy().transpose(2, 1, 0).copy() for c in self._convolutions)
        biases = tuple(c.state_dict()["bias"].numpy().copy() for c in self._convolutions)
        return AcousticModel(weights, biases, phone_frames, log_priors)

    def _batch(self, examples: Sequence[_Example]) -> tuple[Any, Any]:
        import torch

        features = np.zeros((_BATCH, NUM_BANDS, _CROP), np.float32)
        labels = np.full((_BATCH, _CROP), _IGNORED, np.int64)
        lengths = np.asarray([len(e.frames) for e in examples])
        chosen = self._random.choice(len(examples), _BATCH, p=lengths / lengths.sum())
        for row, number in enumerate(chosen):
            example = examples[number]
            start = int(self._random.integers(max(1, len(example.frames) - _CROP + 1)))
            piece = example.frames[start : start + _CROP]
            features[row, :, : len(piece)] = piece.T
            labels[row, : len(piece)] = example.labels[start : start + _CROP]
        # A random spectral tilt for each example, because equalisers and matched voices differ in it.
        slope = self._random.normal(0, 0.05, (_BATCH, 1, 1)) * np.linspace(-1, 1, NUM_BANDS)[None, :, None]
        return torch.from_numpy(features + slope.astype(np.float32)), torch.from_numpy(labels)

    def _forward(self, features: Any) -> Any:
        import torch

        for number, convolution in enumerate(self._convolutions):
            features = convolution(features)
            if number < len(LAYERS) - 1:
                features = torch.relu(features)
        return features
