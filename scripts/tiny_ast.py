"""Trains the tiny audio classifier of the tests: an Audio Spectrogram Transformer of 130,000 weights.

    make test-models       or: .venv/bin/python -m scripts.tiny_ast tests/data/models/tiny-ast

It learns in some five minutes on one core, from scenes of synthesised cues, speech and noise
(`tests/support/scenes.py`), to name
seven sounds by AudioSet's names in windows of 1.28 s. It does not work on real recordings; it is for testing the code
around a classifier.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from serve.engines.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody
from tests.support.scenes import LABELS, Scene, scene

WINDOW_FRAMES = 128
WINDOW_SECS = WINDOW_FRAMES / 100
MELS = 64
SCENES, WINDOWS_A_SCENE = 220, 30
STEPS, BATCH, PEAK_RATE = 1200, 64, 1.5e-3
VOICES = ("en-us+m1", "en-us+m2", "en-us+m4", "en-us+f1", "en-us+f2", "en-us+f4")
TEXTS = (
    "we walked to the market and bought some bread and cheese before the rain began",
    "nobody knows how long the meeting will take but it should be over by noon",
    "please send me the report when you have finished reading the second chapter",
    "i think that our neighbours have moved to another town without telling anyone",
)


def speech() -> list[Samples]:
    engine = Espeak()
    found = []
    for number, (voice, text) in enumerate(itertools.product(VOICES, TEXTS)):
        said, _ = engine.synthesize(text, voice, Prosody(rate_wpm=140 + 10 * (number % 5), pitch=30 + 7 * (number % 7)))
        found.append(
            np.asarray(soxr.resample(said.astype(np.float32) / 32_768, ESPEAK_RATE_HZ, SAMPLE_RATE_HZ), np.float32)
        )
    return found


def windows(made: Scene, chance: np.random.Generator) -> tuple[list[Samples], NDArray[np.float32], NDArray[np.float32]]:
    """Windows anywhere in a scene, ``(num_windows, num_labels)`` targets, and weights: a sound barely inside counts 0."""
    size = round(WINDOW_SECS * SAMPLE_RATE_HZ)
    starts = chance.integers(0, made.samples.size - size, WINDOWS_A_SCENE)
    targets, weights = np.zeros((len(starts), len(LABELS)), np.float32), np.ones((len(starts), len(LABELS)), np.float32)
    for row, start in enumerate(starts / SAMPLE_RATE_HZ):
        for planted in made.planted:
            inside = min(start + WINDOW_SECS, planted.span.end_secs) - max(start, planted.span.start_secs)
            share = inside / min(planted.span.duration_secs, WINDOW_SECS)
            label = LABELS.index(planted.label)
            if share >= 0.5:
                targets[row, label], weights[row, label] = 1, 1
            elif share > 0.1 and not targets[row, label]:
                weights[row, label] = 0
    return [made.samples[s : s + size] for s in starts], targets, weights


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    extractor = ASTFeatureExtractor(num_mel_bins=MELS, max_length=WINDOW_FRAMES)
    said = speech()
    inputs, targets, weights = [], [], []
    for number in range(SCENES):
        sounds, target, weight = windows(scene(said, seed=number, takes_from=100 * number), chance)
        inputs.append(extractor(sounds, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")["input_values"])
        targets.append(torch.from_numpy(target))
        weights.append(torch.from_numpy(weight))
    x, y, w = torch.cat(inputs), torch.cat(targets), torch.cat(weights)
    print(f"{len(x)} windows; share with each label: {dict(zip(LABELS, y.mean(0).tolist(), strict=True))}", flush=True)
    model = ASTForAudioClassification(
        ASTConfig(
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            num_mel_bins=MELS,
            max_length=WINDOW_FRAMES,
            frequency_stride=16,
            time_stride=8,
            id2label=dict(enumerate(LABELS)),
            label2id={label: number for number, label in enumerate(LABELS)},
            problem_type="multi_label_classification",
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, STEPS, pct_start=0.15)
    model.train()
    began = time.monotonic()
    for step in range(STEPS):
        rows = torch.randint(len(x), (BATCH,))
        logits = model(x[rows]).logits
        loss = (w[rows] * binary_cross_entropy_with_logits(logits, y[rows], reduction="none")).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.4f}, {time.monotonic() - began:.0f} s", flush=True)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    print(f"{folder}: {sum(p.numel() for p in model.parameters())} weights")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
