"""Whisper through transformers: language, words, their times by cross-attention, and guards against text in silence.

The encoder runs once. A first step of the decoder gives the language and the probability of no speech. Then follows greedy
decoding. A last pass over the finished text gives word times by its attention and confidences by its probabilities, as the
original implementation does; transformers' own word times store every step's attention instead.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds, Word
from schemas.engines import Samples
from serve.engines.asr.token_words import in_order
from serve.engines.asr.transformers_alignment import token_starts

if TYPE_CHECKING:
    from torch import Tensor

_FRAME_SECS: Final = 0.02
_NO_SPEECH: Final = 0.6
_UNSURE_LOG_PROB: Final = -1.0
_LOOPING_RATIO: Final = 2.4
"""Thresholds of the original implementation. Silence: the probability of the no-speech token, if the text is improbable.
Loops: the compression ratio of the text.
"""
_LONGEST_REPEAT: Final = 4


@dataclass(frozen=True, slots=True)
class _Spoken:
    """``language``: its code. ``probability``: of a detected language."""

    language: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class _Text:
    """``tokens``: ids of text only. ``log_probs``: ``(num_tokens,)``. ``starts``: ``(num_tokens + 1,)`` s, the last is the
    end of the text."""

    tokens: list[int]
    log_probs: NDArray[np.float32]
    starts: NDArray[np.float64]


class Whisper:
    """Recognises batches of utterances of up to 30 s in one language, or in the language detected for each."""

    def __init__(self, folder: Path, device: str) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        self._processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        dtype = torch.float16 if device == "cuda" else torch.float32
        model = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True, dtype=dtype)
        self._model = model.to(device).eval()
        self._tokenizer = self._processor.tokenizer
        settings = self._model.generation_config
        ids = getattr(settings, "lang_to_id", {})
        self._languages: dict[str, int] = {name.strip("<|>"): id_ for name, id_ in ids.items()}
        self._start, self._no_timestamps = (self._id("<|startoftranscript|>"), self._id("<|notimestamps|>"))
        self._no_speech = self._no_timestamps - 1
        self._end = int(self._tokenizer.eos_token_id)
        self._heads = _alignment_heads(self._model)
        self._not_text = sorted(set(self._tokenizer.added_tokens_decoder) - {self._end})

    def __call__(self, utterances: Sequence[Samples], language: str | None = None) -> list[Recognition]:
        """``language``: a code of those the model lists; None detects that of each utterance."""
        import torch

        with torch.inference_mode():
            sound = self._processor(list(utterances), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_features
            encoded = self._model.get_encoder()(sound.to(self._model.device, self._model.dtype))
            first = self._decode(encoded, torch.full((len(utterances), 1), self._start)).logits[:, -1].float()
            no_speech = first.softmax(-1)[:, self._no_speech].tolist()
            spoken = self._detected(first) if language is None else [_Spoken(language)] * len(utterances)
            texts = self._texts(encoded, self._prompt(spoken), [u.size / SAMPLE_RATE_HZ for u in utterances])
        return [
            self._recognition(text, samples.size / SAMPLE_RATE_HZ, in_language, silence)
            for text, samples, in_language, silence in zip(texts, utterances, spoken, no_speech, strict=True)
        ]

    def _detected(self, first: Tensor) -> list[_Spoken]:
        """The most probable language of each row; English for a model that knows no other."""
        if not self._languages:
            return [_Spoken("en")] * len(first)
        codes, ids = zip(*sorted(self._languages.items()), strict=True)
        chances, places = first[:, list(ids)].softmax(-1).max(-1)
        return [_Spoken(codes[n], chance) for n, chance in zip(places.tolist(), chances.tolist(), strict=True)]

    def _prompt(self, spoken: Sequence[_Spoken]) -> Tensor:
        """``(batch, prompt)``: a multilingual model gets tokens for the language and the task."""
        import torch

        rows = [[self._start]] * len(spoken)
        if self._languages:
            transcribe = self._id("<|transcribe|>")
            rows = [[self._start, self._languages[one.language], transcribe] for one in spoken]
        return torch.tensor([[*row, self._no_timestamps] for row in rows])

    def _texts(self, encoded: Any, prompt: Tensor, durations: Sequence[Seconds]) -> list[_Text]:
        written = self._written(encoded, prompt)
        looping = [row for row, tokens in enumerate(written) if loops(self._tokenizer.decode(tokens))]
        if looping:
            again = self._written(_rows(encoded, looping), prompt[looping], no_repeat_ngram_size=_LONGEST_REPEAT)
            for row, tokens in zip(looping, again, strict=True):
                written[row] = tokens
        return self._placed(encoded, prompt, written, durations)

    def _written(self, encoded: Any, prompt: Tensor, **options: Any) -> list[list[int]]:
        """Greedy decoding: the ids of text of each row."""
        from transformers import GenerationConfig, GenerationMixin

        settings = self._model.generation_config
        config = GenerationConfig(
            max_new_tokens=self._model.config.max_target_positions // 2,
            eos_token_id=self._end,
            pad_token_id=self._end,
            decoder_start_token_id=self._start,
            suppress_tokens=sorted({*(settings.suppress_tokens or ()), *self._not_text}),
            begin_suppress_tokens=settings.begin_suppress_tokens,
            **options,
        )
        # Whisper's own generate() would encode and detect the language again.
        found = GenerationMixin.generate(
            self._model, generation_config=config, encoder_outputs=encoded, decoder_input_ids=prompt.to(self._model.device)
        )
        return [[id_ for id_ in row if id_ != self._end] for row in found[:, prompt.shape[1] :].tolist()]

    def _placed(
        self, encoded: Any, prompt: Tensor, written: Sequence[list[int]], durations: Sequence[Seconds]
    ) -> list[_Text]:
        import torch

        longest = max(map(len, written))
        padded = torch.tensor([tokens + [self._end] * (longest - len(tokens)) for tokens in written], dtype=torch.long)
        # The fast implementations of attention do not return attention weights.
        self._model.set_attn_implementation("eager")
        try:
            seen = self._decode(encoded, torch.cat([prompt, padded], dim=1), output_attentions=True)
        finally:
            self._model.set_attn_implementation("sdpa")
        first = prompt.shape[1] - 1
        log_probs = seen.logits[:, first:].float().log_softmax(-1)
        attention = torch.stack([seen.cross_attentions[layer][:, head] for layer, head in self._heads], dim=1)
        texts = []
        for row, tokens in enumerate(written):
            frames = max(1, min(attention.shape[-1], round(durations[row] / _FRAME_SECS)))
            looked = attention[row, :, first : first + len(tokens) + 1, :frames].float().cpu().numpy()
            chosen = log_probs[row, : len(tokens)].gather(-1, padded[row, : len(tokens), None].to(log_probs.device))
            starts = token_starts(looked).astype(np.float64) * _FRAME_SECS
            texts.append(_Text(tokens, chosen[:, 0].cpu().numpy(), starts))
        return texts

    def _decode(self, encoded: Any, tokens: Tensor, **options: Any) -> Any:
        return self._model(
            encoder_outputs=encoded, decoder_input_ids=tokens.to(self._model.device), use_cache=False, **options
        )

    def _recognition(self, text: _Text, duration_secs: Seconds, spoken: _Spoken, no_speech: float) -> Recognition:
        unsure = not text.tokens or float(text.log_probs.mean()) < _UNSURE_LOG_PROB
        if not text.tokens or (no_speech > _NO_SPEECH and unsure):
            return Recognition((), None)
        words = in_order(list(self._words(text, spoken.language)), duration_secs)
        return Recognition(words, spoken.language, language_probability=spoken.probability)

    def _words(self, text: _Text, language: str) -> list[Word]:
        from transformers.models.whisper.tokenization_whisper import LANGUAGES, _combine_tokens_into_words

        words: list[Word] = []
        grouped = _combine_tokens_into_words(self._tokenizer, text.tokens, LANGUAGES.get(language, "english"))
        for written, _, places in zip(*grouped, strict=True):
            start, end = text.starts[places[0]], text.starts[places[-1] + 1]
            confidence = float(np.exp(text.log_probs[places].min()))
            if written.strip():
                words.append(Word(written.strip(), float(start), float(end), confidence))
        return words

    def _id(self, token: str) -> int:
        return int(self._tokenizer.convert_tokens_to_ids(token))


def _alignment_heads(model: Any) -> list[tuple[int, int]]:
    """(layer, head) of the heads that the model names for alignment; without them, all of the decoder's upper half."""
    known = getattr(model.generation_config, "alignment_heads", None)
    if known:
        return [(layer, head) for layer, head in known]
    layers, heads = model.config.decoder_layers, model.config.decoder_attention_heads
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def loops(text: str) -> bool:
    """Whether the text repeats itself, by how well it compresses."""
    raw = text.encode()
    return len(raw) > _LOOPING_RATIO * len(zlib.compress(raw))


def _rows(encoded: Any, rows: Sequence[int]) -> Any:
    return type(encoded)(last_hidden_state=encoded.last_hidden_state[list(rows)])
