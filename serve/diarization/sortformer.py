"""NeMo Sortformer: one network that says for every 80 ms which of up to four speakers talk, at once if they do.

Park et al. 2024, arXiv:2409.06656; streaming with a cache of speakers: Medennikov et al. 2025, arXiv:2507.18446. A block
of up to `OFFLINE_SECS`, the length the offline model was trained on, is heard whole; a longer one, and any by a checkpoint
made for streaming, in chunks of 27 s with a cache, so that time and memory are linear. A block numbers its own speakers:
each comes with a voiceprint of where only they talk, by which the blocks of a recording are linked.
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
from serve.diarization import weights
from serve.diarization.linking import LocalSpeakers, link
from serve.diarization.nemo_models import file_of, read_config, restore
from serve.diarization.turns import Probabilities, activity_of, joined, turns_of
from serve.models import engine_revision, resolve, torch_device

if TYPE_CHECKING:
    from serve.diarization.prints import SpeakerPrints

TARGET: Final = "SortformerEncLabelModel"
OFFLINE_SECS: Final[Seconds] = 90.0
STREAMING: Final[dict[str, int]] = {
    "chunk_len": 340,
    "chunk_right_context": 40,
    "fifo_len": 40,
    "spkcache_update_period": 300,
    "spkcache_len": 188,
}
"""In frames of 80 ms: of the settings published for the streaming model the one of the longest delay, the most exact."""
_METHOD_VERSION: Final = 1
"""Raised when turns or linking change what comes out."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """What the file holds, without NeMo. Raises Unavailable for a model that is not there or is no Sortformer."""
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
    from serve.diarization.prints import SpeakerPrints

    info = describe(chosen)
    model = restore(file_of(chosen, resolve(chosen)), TARGET, torch_device(chosen))
    return SortformerDiarizer(model, SpeakerPrints(), info)


class SortformerDiarizer:
    """A `schemas.engines.Diarizer`. Holds nothing of a recording; safe to call from several threads, of which one works."""

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
        """Who of the block's own speakers talks when, and a voiceprint of each; the network finds speech by itself."""
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
        """``(num_frames, max_speakers) float32``; whole frames only, so that nothing lies beyond the block's end."""
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
        """The model's own streaming pass without the progress bar it draws."""
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
