"""Whisper through transformers: language, words, their times by cross-attention, and what it hears in silence kept out.

One pass of the encoder serves everything: a step of the decoder that tells the language and whether anybody speaks, greedy
decoding, and a last pass over the finished text whose attention places the words and whose probabilities are their
confidence (as the original implementation does it; transformers' own word times keep every step's attention instead).
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
from serve.asr.transformers_alignment import token_starts
from serve.asr.words import in_order

if TYPE_CHECKING:
    from torch import Tensor

_FRAME_SECS: Final = 0.02
_NO_SPEECH: Final = 0.6
_UNSURE_LOG_PROB: Final = -1.0
_LOOPING_RATIO: Final = 2.4
"""Thresholds of the original implementation: silence by its own token while unsure of the text, and text that
compresses so well that it can only be a loop."""
_LONGEST_REPEAT: Final = 4


@dataclass(frozen=True, slots=True)
class _Text:
    """``tokens``: ids of text only. ``log_probs``: ``(num_tokens,)``. ``starts``: ``(num_tokens + 1,)`` s, the last is the
    end of the text."""

    tokens: list[int]
    log_probs: NDArray[np.float32]
    starts: NDArray[np.float64]


class Whisper:
    """Hears utterances of up to 30 s, a batch at a time, in ``language``, or in what each seems to be spoken in."""

    def __init__(self, folder: Path, device: str, language: str | None = None) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        self._processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        dtype = torch.float16 if device == "cuda" else torch.float32
        model = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True, dtype=dtype)
        self._model = model.to(device).eval()
        self._tokenizer = self._processor.tokenizer
        settings = self._model.generation_config
        self._languages: dict[int, str] = {id_: name for name, id_ in getattr(settings, "lang_to_id", {}).items()}
        if language:
            self._languages = {id_: name for id_, name in self._languages.items() if name == f"<|{language}|>"}
        self._start, self._no_timestamps = (self._id("<|startoftranscript|>"), self._id("<|notimestamps|>"))
        self._no_speech = self._no_timestamps - 1
        self._end = int(self._tokenizer.eos_token_id)
        self._heads = _alignment_heads(self._model)
        self._not_text = sorted(set(self._tokenizer.added_tokens_decoder) - {self._end})

    def __call__(self, utterances: Sequence[Samples]) -> list[Recognition]:
        import torch

        with torch.inference_mode():
            sound = self._processor(list(utterances), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_features
            encoded = self._model.get_encoder()(sound.to(self._model.device, self._model.dtype))
            first = self._decode(encoded, torch.full((len(utterances), 1), self._start)).logits[:, -1].float()
            no_speech = first.softmax(-1)[:, self._no_speech].tolist()
            languages = [self._languages[id_] for id_ in self._language_ids(first)] if self._languages else None
            prompt = self._prompt(first)
            texts = self._texts(encoded, prompt, [u.size / SAMPLE_RATE_HZ for u in utterances])
        return [
            self._recognition(text, samples.size / SAMPLE_RATE_HZ, language, silence)
            for text, samples, language, silence in zip(
                texts, utterances, languages or ["<|en|>"] * len(texts), no_speech, strict=True
            )
        ]

    def _language_ids(self, first: Tensor) -> list[int]:
        known = sorted(self._languages)
        return [known[place] for place in first[:, known].argmax(-1).tolist()]

    def _prompt(self, first: Tensor) -> Tensor:
        """``(batch, prompt)``: a model of many languages is told which, and to transcribe."""
        import torch

        rows = [[self._start]] * len(first)
        if self._languages:
            transcribe = self._id("<|transcribe|>")
            rows = [[self._start, language, transcribe] for language in self._language_ids(first)]
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
        # Whisper's own generate() would encode anew and detect the language again.
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
        # The fast implementations of attention do not tell what they attended to.
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

    def _recognition(self, text: _Text, duration_secs: Seconds, language: str, no_speech: float) -> Recognition:
        code = language.strip("<|>")
        unsure = not text.tokens or float(text.log_probs.mean()) < _UNSURE_LOG_PROB
        if not text.tokens or (no_speech > _NO_SPEECH and unsure):
            return Recognition((), None)
        return Recognition(in_order(list(self._words(text, code)), duration_secs), code)

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
    """(layer, head) of the heads known to follow the sound; where nobody has looked, all of the decoder's upper half."""
    known = getattr(model.generation_config, "alignment_heads", None)
    if known:
        return [(layer, head) for layer, head in known]
    layers, heads = model.config.decoder_layers, model.config.decoder_attention_heads
    return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


def loops(text: str) -> bool:
    """Whether it says the same over and over."""
    raw = text.encode()
    return len(raw) > _LOOPING_RATIO * len(zlib.compress(raw))


def _rows(encoded: Any, rows: Sequence[int]) -> Any:
    return type(encoded)(last_hidden_state=encoded.last_hidden_state[list(rows)])
