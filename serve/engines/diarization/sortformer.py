"""NeMo Sortformer: one network that predicts for every 80 ms which of up to four speakers speak, also at once.

Park et al. 2024, arXiv:2409.06656; streaming with a speaker cache: Medennikov et al. 2025, arXiv:2507.18446. A block of up
to `OFFLINE_SECS`, the length the offline model was trained on, is processed whole. A longer one, and any with a checkpoint
made for streaming, is processed in chunks of 27 s with a cache, so that time and memory are linear. Speaker numbers hold
within a block. Each speaker has a voiceprint from where only that person speaks, by which blocks are joined.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, SpeakerHint, Turn
from schemas.engines import DiarizerCapabilities, EngineChoice, EngineInfo, Samples, VoiceWindows
from serve.engines.diarization import weights
from serve.engines.diarization.block_linking import LocalSpeakers, link
from serve.engines.diarization.nemo_models import file_of, read_config
from serve.engines.diarization.turns import Probabilities, activity_of, joined, turns_of
from serve.engines.model_files import engine_revision, resolve, torch_device
from serve.engines.nemo_loading import restore

if TYPE_CHECKING:
    from serve.engines.diarization.speaker_voiceprints import SpeakerPrints

TARGET: Final = "SortformerEncLabelModel"
OFFLINE_SECS: Final[Seconds] = 90.0
STREAMING: Final[dict[str, int]] = {
    "chunk_len": 340,
    "chunk_right_context": 40,
    "fifo_len": 40,
    "spkcache_update_period": 300,
    "spkcache_len": 188,
}
"""In frames of 80 ms: of the published settings of the streaming model, the one with the longest delay, the most exact."""
_METHOD_VERSION: Final = 1
"""Raised when a change of turns or joining changes results."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """The model of the file, without NeMo. Raises Unavailable for an absent model or one that is no Sortformer."""
    files = resolve(chosen)
    config = read_config(chosen, file_of(chosen, files), TARGET)
    options = {**STREAMING, "method": _METHOD_VERSION, "voiceprint": weights.describe().revision}
    return EngineInfo(
        slot=chosen.slot,
        engine=chosen.engine,
        model=chosen.model,
        revision=engine_revision("sortformer", importlib.metadata.version("nemo_toolkit"), files, options),
        capabilities=asdict(DiarizerCapabilities(max_speakers=int(config["max_num_of_spks"]), overlap=True)),
    )


def build(chosen: EngineChoice) -> SortformerDiarizer:
    """The diariser, loaded and warm: 10 s for NeMo's import, then the model. Raises Unavailable."""
    from serve.engines.diarization.speaker_voiceprints import SpeakerPrints

    info = describe(chosen)
    model = restore(file_of(chosen, resolve(chosen)), TARGET, torch_device(chosen))
    return SortformerDiarizer(model, SpeakerPrints(), info)


class SortformerDiarizer:
    """A `schemas.engines.Diarizer` without state. Safe to call from several threads, of which one works at a time."""

    def __init__(self, model: Any, prints: SpeakerPrints, info: EngineInfo) -> None:
        self._model, self._prints, self._info = model, prints, info
        self._made_for_streaming = bool(model.streaming_mode)
        for name, value in STREAMING.items():
            setattr(model.sortformer_modules, name, value)
        self.frame_secs: Seconds = model.encoder.subsampling_factor * float(model.cfg.preprocessor.window_stride)
        self._lock = threading.Lock()
        self.probabilities(np.zeros(SAMPLE_RATE_HZ, np.float32))

    @property
    def info(self) -> EngineInfo:
        return self._info

    def observe(self, samples: Samples, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """Activity of the block's speakers, and a voiceprint of each; the network detects speech itself."""
        probabilities = self.probabilities(samples)
        active = activity_of(probabilities, self.frame_secs)
        present = np.flatnonzero(active.any(axis=0))
        centers = [float(np.flatnonzero(active[:, who]).mean() + 0.5) * self.frame_secs for who in present]
        return VoiceWindows(
            np.asarray(centers, np.float64) + offset_secs,
            self._prints.of(samples, active[:, present], self.frame_secs),
            np.rint(probabilities[:, present] * 255).astype(np.uint8),
            offset_secs,
        )

    def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """Turns of the whole recording, overlapping where people do, numbered by first speech."""
        blocks = sorted((w for w in windows if len(w.centers_secs)), key=lambda w: w.start_secs)
        heard = [w.activity.astype(np.float32) / np.float32(255) for w in blocks]
        talk = [np.asarray((h >= 0.5).sum(axis=0) * self.frame_secs, np.float64) for h in heard]
        most = int(self._info.capabilities["max_speakers"])
        numbers = link([LocalSpeakers(w.embeddings, t) for w, t in zip(blocks, talk, strict=True)], most, hint)
        turns: list[Turn] = []
        for window, probabilities, block in zip(blocks, heard, numbers, strict=True):
            whole = np.zeros((len(probabilities), most), np.float32)
            for local, number in enumerate(block):
                whole[:, number] = np.maximum(whole[:, number], probabilities[:, local])
            turns += turns_of(whole, self.frame_secs, window.start_secs)
        return _numbered_by_start(joined(turns))

    def probabilities(self, samples: Samples) -> Probabilities:
        """``(num_frames, max_speakers) float32``; whole frames only, so that nothing exceeds the block's end."""
        import torch

        frames = int(len(samples) / SAMPLE_RATE_HZ / self.frame_secs)
        if not frames:
            return np.zeros((0, int(self._info.capabilities["max_speakers"])), np.float32)
        signal = torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None]
        length = torch.tensor([signal.shape[1]])
        streaming = self._made_for_streaming or len(samples) > OFFLINE_SECS * SAMPLE_RATE_HZ
        with self._lock, torch.inference_mode():
            self._model.streaming_mode = streaming
            hear = self._streamed if streaming else self._model
            found = hear(audio_signal=signal.to(self._model.device), audio_signal_length=length.to(self._model.device))
        return np.asarray(found[0, :frames].float().cpu().numpy(), np.float32)

    def _streamed(self, audio_signal: Any, audio_signal_length: Any) -> Any:
        """The model's own streaming pass without its progress bar."""
        import torch

        model, modules = self._model, self._model.sortformer_modules
        features, length = model.process_signal(audio_signal=audio_signal, audio_signal_length=audio_signal_length)
        features = features[:, :, : int(length.max())]
        state = modules.init_streaming_state(batch_size=1, async_streaming=model.async_streaming, device=model.device)
        found = torch.zeros((1, 0, modules.n_spk), device=model.device)
        chunks = modules.streaming_feat_loader(
            feat_seq=features, feat_seq_length=length, feat_seq_offset=torch.zeros(1, dtype=torch.long, device=model.device)
        )
        for _, chunk, chunk_length, left, right in chunks:
            state, found = model.forward_streaming_step(
                processed_signal=chunk,
                processed_signal_length=chunk_length,
                streaming_state=state,
                total_preds=found,
                left_offset=left,
                right_offset=right,
            )
        return found


def _numbered_by_start(turns: Sequence[Turn]) -> list[Turn]:
    numbers: dict[int, int] = {}
    for turn in turns:
        numbers.setdefault(turn.speaker, len(numbers))
    return [Turn(numbers[t.speaker], t.start_secs, t.end_secs, t.overlap) for t in turns]
