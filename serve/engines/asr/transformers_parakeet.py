"""Parakeet through transformers: CTC by its most probable labels, RNNT and TDT by our own greedy search.

transformers' generate() for transducers returns no probabilities, and takes the maximum over tokens and durations together,
so a probable duration can become a token that does not exist. Its pipeline has no word times for CTC models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Recognition
from schemas.engines import Samples
from serve.engines.asr.estimated_word_times import lasting
from serve.engines.asr.token_words import Token, collapsed, words_of

if TYPE_CHECKING:
    from torch import Tensor


class _Parakeet(ABC):
    """Common part of all kinds: features, frames, and words from tokens."""

    def __init__(self, folder: Path, model_class: Any, device: str) -> None:
        from transformers import AutoFeatureExtractor, AutoTokenizer

        self._features = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        self._vocabulary = HubVocabulary(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        self._model = model_class.from_pretrained(folder, local_files_only=True).to(device).eval()
        hop_secs = self._features.hop_length / self._features.sampling_rate
        self._frame_secs = hop_secs * self._model.config.encoder_config.subsampling_factor

    def __call__(self, utterances: Sequence[Samples]) -> list[Recognition]:
        import torch

        with torch.inference_mode():
            found = self._features(list(utterances), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
            sound = {name: found[name].to(self._model.device) for name in ("input_features", "attention_mask")}
            heard = self._tokens(sound)
        return [self._recognition(tokens, samples) for tokens, samples in zip(heard, utterances, strict=True)]

    def _recognition(self, tokens: Sequence[Token], samples: Samples) -> Recognition:
        words = words_of(tokens, self._vocabulary, self._frame_secs, samples.size / SAMPLE_RATE_HZ)
        return Recognition(lasting(words, samples))

    @abstractmethod
    def _tokens(self, sound: dict[str, Tensor]) -> list[list[Token]]:
        """The tokens of each utterance of a batch."""


class ParakeetCtc(_Parakeet):
    def __init__(self, folder: Path, device: str) -> None:
        from transformers import ParakeetForCTC

        super().__init__(folder, ParakeetForCTC, device)

    def _tokens(self, sound: dict[str, Tensor]) -> list[list[Token]]:
        encoded = self._model.encoder(**sound, output_attention_mask=True)
        best, labels = self._model.ctc_head(encoded.last_hidden_state).softmax(-1).max(dim=-1)
        chances, ids, blank = best.cpu().numpy(), labels.cpu().numpy(), self._model.config.pad_token_id
        return [
            collapsed(ids[row, :frames], chances[row, :frames], blank)
            for row, frames in enumerate(encoded.attention_mask.sum(-1).tolist())
        ]


class ParakeetTransducer(_Parakeet):
    """RNNT, and TDT, which predicts how many frames to skip."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoConfig, ParakeetForRNNT, ParakeetForTDT

        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        super().__init__(folder, ParakeetForTDT if kind == "parakeet_tdt" else ParakeetForRNNT, device)

    def _tokens(self, sound: dict[str, Tensor]) -> list[list[Token]]:
        import torch
        from transformers.models.parakeet.generation_parakeet import ParakeetRNNTDecoderCache

        config = self._model.config
        encoded = self._model.get_audio_features(**sound, output_attention_mask=True)
        states, num_frames = encoded.pooler_output, encoded.attention_mask.sum(-1)
        rows = torch.arange(len(states), device=states.device)
        frame, emitted = torch.zeros_like(num_frames), torch.zeros_like(num_frames)
        last = torch.full_like(num_frames, config.blank_token_id)
        cache = ParakeetRNNTDecoderCache(config)
        steps = []
        while bool((active := frame < num_frames).any()):
            decoded = self._model.decoder(last[:, None], cache)
            here = states[rows, frame.clamp(max=states.shape[1] - 1), None]
            logits = self._model.joint(decoder_hidden_states=decoded, encoder_hidden_states=here)[:, 0].float()
            chance, label = logits[:, : config.vocab_size].softmax(-1).max(dim=-1)
            said = active & (label != config.blank_token_id)
            emitted = torch.where(said, emitted + 1, 0)
            skip = self._skip(logits, said)
            # A model that never advances would loop for ever.
            stuck = (skip == 0) & (emitted >= config.max_symbols_per_step)
            steps.append(torch.stack([label, chance, frame, frame + skip.clamp(min=1), said], dim=1).cpu().numpy())
            frame = frame + torch.where(stuck, 1, skip)
            emitted = torch.where(skip + stuck > 0, 0, emitted)
            last = torch.where(said, label, config.blank_token_id)
        return _emissions(np.stack(steps))

    def _skip(self, logits: Tensor, said: Tensor) -> Tensor:
        """``(batch,)`` frames to advance: a TDT model's prediction, at least one after a blank; else one after a blank."""
        import torch

        durations = getattr(self._model.config, "durations", None)
        if durations is None:
            return (~said).long()
        frames = torch.tensor(durations, device=logits.device)[logits[:, self._model.config.vocab_size :].argmax(-1)]
        return torch.where(said, frames, frames.clamp(min=1))


def _emissions(steps: Any) -> list[list[Token]]:
    """``steps``: ``(num_steps, batch, 5)``: label, probability, first frame, frame after the last, 1 unless blank."""
    return [
        [Token(int(label), int(first), int(last), float(chance)) for label, chance, first, last, said in row if said]
        for row in steps.transpose(1, 0, 2)
    ]


@dataclass(frozen=True, slots=True)
class HubVocabulary:
    """A transformers tokenizer."""

    tokenizer: Any

    def piece(self, token: int) -> str:
        return str(self.tokenizer.convert_ids_to_tokens(token))

    def text(self, tokens: Sequence[int]) -> str:
        # decode() of these tokenizers drops every token that repeats the one before it.
        return str(self.tokenizer.convert_tokens_to_string(self.tokenizer.convert_ids_to_tokens(list(tokens))))
