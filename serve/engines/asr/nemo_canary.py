"""Canary, NeMo's multi-task attention decoder: transcribes with capitals, punctuation and word times.

The smaller models write times between their words; the larger ones have a CTC model for alignment. Where a model has
neither, words are spread over the audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from schemas.domain import SAMPLE_RATE_HZ, Recognition, Word
from schemas.engines import Samples
from serve.engines.asr.estimated_word_times import spread
from serve.engines.asr.nemo_batch import NemoVocabulary, batch
from serve.engines.asr.token_words import Token, in_order, words_of

_DEFAULT_LANGUAGE: Final = "en"


class Canary:
    """Recognises batches in the given language, else in the language of the model's own prompt, else in English."""

    def __init__(self, model: Any) -> None:
        from omegaconf import open_dict

        with open_dict(model.cfg.decoding):
            model.cfg.decoding.strategy = "greedy"
            # A temperature would make the decoder sample.
            model.cfg.decoding.greedy = {**(model.cfg.decoding.get("greedy") or {}), "temperature": None, "n_samples": 1}
            model.cfg.decoding.confidence_cfg = {
                "preserve_frame_confidence": True,
                "preserve_token_confidence": True,
                "exclude_blank": False,
                "method_cfg": {"name": "max_prob"},
            }
        model.change_decoding_strategy(model.cfg.decoding)
        self._model = model
        self._vocabulary = NemoVocabulary(model.tokenizer)
        self._language = _prompted_language(model)

    def __call__(self, utterances: Sequence[Samples], language: str | None = None) -> list[Recognition]:
        """``language``: a code of those the model's tokenizer has a part for."""
        import torch
        from nemo.collections.asr.models.aed_multitask_models import MultiTaskTranscriptionConfig

        spoken = language or self._language
        asked = {"source_lang": spoken, "target_lang": spoken, "pnc": "yes"}
        if self._model.timestamps_asr_model is None:
            asked["timestamp"] = "yes"
        config = MultiTaskTranscriptionConfig(
            return_hypotheses=True, timestamps=True, prompt=asked, enable_chunking=False, verbose=False
        )
        config._internal.device = self._model.device
        with torch.inference_mode():
            # As transcribe() processes a batch, without its data loader, which pads short utterances on both sides.
            encoded = self._model._transcribe_forward((*batch(utterances, self._model.device), None, None), config)
            found = self._model._transcribe_output_processing(encoded, config)
        return [
            Recognition(self.words(hypothesis, samples), spoken)
            for hypothesis, samples in zip(found, utterances, strict=True)
        ]

    def words(self, hypothesis: Any, samples: Samples) -> tuple[Word, ...]:
        """The words of a NeMo hypothesis, which may have word times, for the utterance ``samples``."""
        sure = zip(hypothesis.y_sequence.tolist(), hypothesis.token_confidence, strict=True)
        tokens = [Token(id_, place, place + 1, float(chance)) for place, (id_, chance) in enumerate(sure)]
        timed = hypothesis.timestamp.get("word") or []
        written = words_of(tokens, self._vocabulary, 1.0, float(len(tokens)))
        if len(timed) != len(written):
            return spread(tokens, self._vocabulary, samples)
        placed = [
            replace(word, start_secs=float(found["start"]), end_secs=float(found["end"]))
            for word, found in zip(written, timed, strict=True)
        ]
        return in_order(placed, samples.size / SAMPLE_RATE_HZ)


def _prompted_language(model: Any) -> str:
    for turn in model.prompt.get_default_dialog_slots():
        language = (turn.get("slots") or {}).get("source_lang")
        if language:
            return str(language).strip("<|>")
    return _DEFAULT_LANGUAGE
