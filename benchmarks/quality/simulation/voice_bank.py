"""Voices rendered once and kept in a folder, split into those to train on, to choose settings with, and to measure on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.quality.simulation.meeting import Voice

Split = Literal["train", "dev", "test"]


def load_voices(folder: Path, split: Split) -> list[Voice]:
    """Voices of one split, by name: files ``SPLIT-NAME.npz`` of int16 utterances at 16 kHz."""
    found = []
    for path in sorted(folder.glob(f"{split}-*.npz")):
        with np.load(path) as stored:
            found.append(Voice(path.stem, [stored[name].astype(np.float32) / 32768 for name in stored.files]))
    return found
