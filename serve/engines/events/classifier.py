"""Detects sound events by a transformers audio classifier such as AST (Gong et al. 2021, arXiv:2104.01778).

Windows of at most 2 s are classified every half window, over speech and silence alike, because people laugh and breathe
while they speak. These sounds last .4 to 1 s, so each lies whole in a window and fills a good part of it. A longer
window, such as the 10 s that AST was trained on, would detect more reliably but not locate a sound. A window's result
holds for its middle half (a cell); neighbouring cells with one tag are one event. Labels are AudioSet's, of which several
may hold at once, so each is judged alone (sigmoid) against `FLUXIONS_EVENTS_THRESHOLD`. Of the sounds that a person makes
only the most probable one counts in a cell, because a breath resembles a sigh. ``env`` may occur beside it.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds, SoundEvent, Span, Word
from schemas.engines import EngineChoice, EngineInfo, EventDetectorCapabilities, Samples
from serve.engines.events.event_merging import merged, together
from serve.engines.events.labels import ENV, tags_of
from serve.engines.events.rules import HESITATION, PAUSE, by_start, hesitations, pauses
from serve.engines.model_files import ModelFiles, cannot_load, engine_revision, resolve, torch_device

Scores = NDArray[np.float32]
"""``(num_cells, num_tags) float32``: probability of a tag's sound in a cell, in [0, 1]."""

LONGEST_WINDOW_SECS: Final[Seconds] = 2.0
_FRAME_SECS: Final[Seconds] = 0.01
_BATCH: Final = 32
_SILENCE_DBFS: Final = -70.0
_LEAST_SAMPLES: Final = 400
"""Level below which a window is not classified. A window shorter than a frame of the spectrum is not classified
either.
"""
_METHOD_VERSION: Final = 1
"""Raised when a change of windows, labels or merging changes results."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """The detector, from the model's files, without loading it. Raises Unavailable for an unusable model."""
    return _describe(chosen, resolve(chosen))


def build(chosen: EngineChoice) -> AcousticEventDetector:
    """The detector, loaded and warm. Raises Unavailable for an unusable model."""
    return AcousticEventDetector(chosen, resolve(chosen))


class AcousticEventDetector:
    """A `schemas.engines.EventDetector` that analyses audio, and finds pauses and hesitations by the rules as well."""

    def __init__(self, chosen: EngineChoice, files: ModelFiles) -> None:
        import torch
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._info = _describe(chosen, files)
        self._threshold = chosen.settings.events_threshold
        self._torch, self._device = torch, torch_device(chosen)
        self._extractor: Any = AutoFeatureExtractor.from_pretrained(files.path, local_files_only=True)
        if self._extractor.sampling_rate != SAMPLE_RATE_HZ:
            raise cannot_load(
                chosen, f"it hears {self._extractor.sampling_rate} Hz", f"choose a model for {SAMPLE_RATE_HZ} Hz"
            )
        model = AutoModelForAudioClassification.from_pretrained(files.path, local_files_only=True)
        self._model = model.to(self._device).eval()
        self._tags = tags_of(model.config.id2label)
        # Extractors for audio of any length have no maximum.
        most_frames = getattr(self._extractor, "max_length", None) or LONGEST_WINDOW_SECS / _FRAME_SECS
        self.window_secs: Seconds = min(LONGEST_WINDOW_SECS, most_frames * _FRAME_SECS)
        self.observe(np.full(SAMPLE_RATE_HZ, 0.1, np.float32))

    @property
    def info(self) -> EngineInfo:
        return self._info

    def observe(self, samples: Samples, offset_secs: Seconds = 0.0) -> list[SoundEvent]:
        """Events of one block, each at least half a window long; see `schemas.engines.EventDetector.observe`."""
        scores, cell_secs = self._scores(samples), self.window_secs / 2
        found: list[SoundEvent] = []
        for tag, sure in zip(self._tags, _surest(scores, list(self._tags)).T, strict=True):
            cells = np.flatnonzero(sure >= self._threshold)
            found += (SoundEvent(tag, c * cell_secs, (c + 1) * cell_secs, float(sure[c])) for c in cells.tolist())
        duration = len(samples) / SAMPLE_RATE_HZ
        return [
            SoundEvent(e.tag, e.start_secs + offset_secs, min(e.end_secs, duration) + offset_secs, e.confidence)
            for e in merged(found, cell_secs)
        ]

    def detect(
        self,
        speech: Sequence[Span],
        words: Sequence[Word],
        duration_secs: Seconds,
        heard: Sequence[SoundEvent] = (),
    ) -> list[SoundEvent]:
        """Events of `observe`, each moved between the words around it, with pauses and hesitations."""
        read = by_start([*pauses(speech, duration_secs), *hesitations(words, duration_secs)])
        return together(read, merged(heard, self.window_secs / 2), words)

    def _scores(self, samples: Samples) -> Scores:
        """The scores of every cell, from the window around it; the first and last from the nearest whole window."""
        half = round(self.window_secs / 2 * SAMPLE_RATE_HZ)
        cells = np.arange(0, len(samples), half)
        starts = np.clip(cells - half // 2, 0, max(0, len(samples) - 2 * half)).tolist()
        scores = np.zeros((len(cells), len(self._tags)), np.float32)
        loud = [(i, w) for i, start in enumerate(starts) if _audible(w := samples[start : start + 2 * half])]
        for at in range(0, len(loud), _BATCH):
            rows, windows = zip(*loud[at : at + _BATCH], strict=True)
            scores[list(rows)] = self._classified(windows)
        return scores

    def _classified(self, windows: Sequence[Samples]) -> Scores:
        torch = self._torch
        features: Any = self._extractor(list(windows), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        with torch.inference_mode():
            outputs = torch.sigmoid(self._model(**features.to(self._device)).logits.float())
        each = outputs.cpu().numpy()
        return np.stack([each[:, list(rows)].max(axis=1) for rows in self._tags.values()], axis=1).astype(np.float32)


def _audible(window: Samples) -> bool:
    return len(window) >= _LEAST_SAMPLES and bool(np.abs(window).max() > 10 ** (_SILENCE_DBFS / 20))


def _surest(scores: Scores, tags: list[str]) -> Scores:
    """``scores`` with all sounds of a person except the most probable one set to 0 in each cell."""
    own = np.array([tag != ENV for tag in tags])
    people = np.where(own, scores, -1.0)
    return np.where(~own | (people == people.max(axis=1, keepdims=True)), scores, np.float32(0)).astype(np.float32)


def _describe(chosen: EngineChoice, files: ModelFiles) -> EngineInfo:
    labels = json.loads((files.path / "config.json").read_text()).get("id2label", {}) if files.path.is_dir() else {}
    tags = tags_of({int(number): str(label) for number, label in labels.items()})
    if not tags:
        raise cannot_load(
            chosen, "none of its labels names a sound of the API", "choose a model trained on AudioSet, such as AST"
        )
    version = importlib.metadata.version("transformers")
    options = {"threshold": chosen.settings.events_threshold, "method": _METHOD_VERSION}
    return EngineInfo(
        slot=chosen.slot,
        engine=chosen.engine,
        model=chosen.model,
        revision=engine_revision("audio-classification", version, files, options),
        capabilities=asdict(
            EventDetectorCapabilities((PAUSE, HESITATION, *(tag for tag in tags if tag != HESITATION)), acoustic=True)
        ),
    )
