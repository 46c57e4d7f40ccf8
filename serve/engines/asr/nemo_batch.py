"""Input batches and vocabularies of NeMo models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.engines import Samples

if TYPE_CHECKING:
    from torch import Tensor


def batch(utterances: Sequence[Samples], device: Any) -> tuple[Tensor, Tensor]:
    """``(batch, num_samples) float32``, padded with zeros, and each one's length."""
    import torch

    sound = np.zeros((len(utterances), max(u.size for u in utterances)), np.float32)
    for row, samples in enumerate(utterances):
        sound[row, : samples.size] = samples
    lengths = torch.tensor([u.size for u in utterances], device=device)
    return torch.from_numpy(sound).to(device), lengths


@dataclass(frozen=True, slots=True)
class NemoVocabulary:
    """A NeMo tokenizer; one that consists of a tokenizer for each language also gives the language of tokens."""

    tokenizer: Any

    def piece(self, token: int) -> str:
        return str(self.tokenizer.ids_to_tokens([token])[0])

    def text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.ids_to_text(list(tokens)))

    def language(self, tokens: Sequence[int]) -> str | None:
        tell = getattr(self.tokenizer, "ids_to_lang", None)
        return str(tell(list(tokens))) if tell and tokens else None


class CharacterVocabulary:
    """The vocabulary of a model of characters, which lists it in its configuration."""

    def __init__(self, model: Any) -> None:
        self._pieces = [str(piece) for piece in model.cfg.get("labels") or model.cfg.decoder.vocabulary]

    def piece(self, token: int) -> str:
        return self._pieces[token]

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(self._pieces[token] for token in tokens)

    def language(self, _tokens: Sequence[int]) -> str | None:
        return None
