"""NeMo speaker embeddings (TitaNet: Koluguri et al. 2022, arXiv:2110.04410) with the windows and clustering of the embedded
diariser: for more speakers than an end-to-end model supports, at most two of them at once.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, SpeakerHint, Turn
from schemas.engines import DiarizerCapabilities, EngineChoice, EngineInfo, Samples, VoiceWindows
from serve.engines.diarization.nemo_models import file_of, read_config
from serve.engines.diarization.weights import MAX_SPEAKERS
from serve.engines.diarization.weights import describe as describe_embedded
from serve.engines.diarization.window_turns import turns_of_windows
from serve.engines.model_files import engine_revision, resolve, torch_device
from serve.engines.nemo_loading import restore

TARGET: Final = "EncDecSpeakerLabelModel"
WINDOW_SECS: Final[Seconds] = 1.2
HOP_SECS: Final[Seconds] = 0.2
"""Distance of windows, as in the embedded diariser."""
COSINE_SCALE: Final = 0.52
"""Cosines of different people are near 0 here, and near .5 with the embedded encoder, whose elements are all positive.
Cosines are mapped to the latter's scale, so that one clustering with one threshold serves both: NeMo's own threshold for
one person, cosine .4, equals the clustering's then."""
_BATCH: Final = 64
_LEAST_SAMPLES: Final = 6_400
"""A shorter piece, under .4 s, is extended by the audio around it."""
_METHOD_VERSION: Final = 2
"""Raised when a change of windows or scale changes results; the clustering's version is in the embedded revision."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """The model of the file, without NeMo. Raises Unavailable for an absent model or one that makes no embeddings."""
    files = resolve(chosen)
    read_config(chosen, file_of(chosen, files), TARGET)
    options = {"method": _METHOD_VERSION, "clustering": describe_embedded().revision}
    return EngineInfo(
        slot=chosen.slot,
        engine=chosen.engine,
        model=chosen.model,
        revision=engine_revision("nemo-embeddings", importlib.metadata.version("nemo_toolkit"), files, options),
        capabilities=asdict(DiarizerCapabilities(max_speakers=MAX_SPEAKERS, overlap=True)),
    )


def build(chosen: EngineChoice) -> NemoEmbeddingDiarizer:
    """The diariser, loaded and warm: 10 s for NeMo's import, then the model. Raises Unavailable."""
    info = describe(chosen)
    return NemoEmbeddingDiarizer(restore(file_of(chosen, resolve(chosen)), TARGET, torch_device(chosen)), info)


class NemoEmbeddingDiarizer:
    """A `schemas.engines.Diarizer` without state. Safe to call from several threads, of which one works at a time."""

    def __init__(self, model: Any, info: EngineInfo) -> None:
        self._model, self._info = model, info
        self._lock = threading.Lock()
        self._dim = self._embed([np.zeros(_LEAST_SAMPLES, np.float32)]).shape[1]

    @property
    def info(self) -> EngineInfo:
        return self._info

    def observe(self, samples: Samples, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """One embedding each 0.2 s of speech, at least one a span; see `schemas.engines.Diarizer.observe`."""
        duration = len(samples) / SAMPLE_RATE_HZ
        inside = [Span(max(0.0, s.start_secs), min(duration, s.end_secs)) for s in speech]
        windows = [(center, span) for span in inside if span.duration_secs > 0 for center in _centers(span)]
        found = self._embed([_piece(samples, center, span) for center, span in windows])
        centers = np.array([center for center, _ in windows], np.float64)
        return VoiceWindows(centers + offset_secs, _on_the_embedded_scale(found))

    def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """As the embedded diariser resolves windows, but without an estimate of overlapped speech."""
        return turns_of_windows(windows, speech, hint)

    def _embed(self, pieces: Sequence[Samples]) -> NDArray[np.float32]:
        """``(num_pieces, dim) float32``, L2-normalised, of pieces of one length."""
        import torch

        if not pieces:
            return np.zeros((0, self._dim), np.float32)
        found = []
        with self._lock, torch.inference_mode():
            for at in range(0, len(pieces), _BATCH):
                signal = torch.from_numpy(np.stack(pieces[at : at + _BATCH])).to(self._model.device)
                length = torch.full((len(signal),), signal.shape[1], device=self._model.device)
                _, embeddings = self._model(input_signal=signal, input_signal_length=length)
                found.append(torch.nn.functional.normalize(embeddings.float(), dim=1).cpu().numpy())
        return np.concatenate(found)


def _centers(span: Span) -> list[Seconds]:
    """Middles of the windows of one span, evenly about 0.2 s apart, at least one."""
    count = max(1, round(span.duration_secs / HOP_SECS))
    middles: list[Seconds] = (span.start_secs + (np.arange(count) + 0.5) * span.duration_secs / count).tolist()
    return middles


def _piece(samples: Samples, center_secs: Seconds, span: Span) -> Samples:
    """`WINDOW_SECS` around ``center_secs`` within the span; what is shorter is repeated."""
    start = max(span.start_secs, min(center_secs - WINDOW_SECS / 2, span.end_secs - WINDOW_SECS))
    wanted = max(_LEAST_SAMPLES, round(min(WINDOW_SECS, span.end_secs - start) * SAMPLE_RATE_HZ))
    size = min(len(samples), wanted)
    first = max(0, min(round(start * SAMPLE_RATE_HZ), len(samples) - size))
    return np.resize(samples[first : first + size], round(WINDOW_SECS * SAMPLE_RATE_HZ))


def _on_the_embedded_scale(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(n, dim)`` unit vectors to ``(n, dim + 1)`` ones with cosines ``a c + 1 - a``: an element with the same value in
    all vectors.
    """
    alike = np.full((len(unit), 1), np.sqrt(1 - COSINE_SCALE), np.float32)
    return np.concatenate([np.float32(np.sqrt(COSINE_SCALE)) * unit, alike], axis=1).astype(np.float32)
