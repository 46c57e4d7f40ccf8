"""NeMo recognisers from a ``.nemo`` file: CTC, transducers (RNNT, TDT), hybrids of both, and Canary.

CTC models and transducers are driven layer by layer rather than through ``transcribe()``, which builds a data loader for
every call, silently pads utterances under a second on both sides, and gives CTC words wrong times.
"""

from __future__ import annotations

import copy
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds
from schemas.engines import EngineChoice, EngineInfo, RecognizerCapabilities, Samples
from serve.engines.asr.batch_recognizer import BatchRecognizer
from serve.engines.asr.estimated_word_times import lasting
from serve.engines.asr.language import configured_language, with_language
from serve.engines.asr.nemo_batch import CharacterVocabulary, NemoVocabulary, batch
from serve.engines.asr.nemo_canary import Canary
from serve.engines.asr.nemo_files import Kind, NemoRecipe, read_recipe
from serve.engines.asr.token_words import Token, collapsed, words_of
from serve.engines.asr.windows import RecognizeBatch
from serve.engines.model_files import ModelFiles, cannot_load, engine_revision, resolve, torch_device
from serve.engines.nemo_loading import restore

if TYPE_CHECKING:
    from torch import Tensor

WINDOW_SECS: Final = 30.0
MAX_BATCH: Final = 32
_OPTIONS: Final[dict[str, Any]] = {
    "decoding": "greedy",
    "confidence": "max_prob-min",
    "window_secs": WINDOW_SECS,
    "words": 1,
}
"""All options that change results; ``words`` is raised when the assembly of words changes."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """The model in the file, without NeMo. Raises Unavailable for a missing file or one that has no recogniser."""
    files = resolve(chosen)
    recipe = read_recipe(chosen, _file(chosen, files))
    language = _configured_language(chosen, recipe)
    capabilities = RecognizerCapabilities(
        languages=(language,) if language else recipe.languages,
        word_timestamps=True,
        word_confidence=True,
        punctuation=recipe.punctuation,
        max_utterance_secs=WINDOW_SECS,
        max_batch=MAX_BATCH,
        takes_language=recipe.kind == "multitask" and language is None,
    )
    revision = engine_revision("nemo", importlib.metadata.version("nemo_toolkit"), files, with_language(_OPTIONS, language))
    return EngineInfo(chosen.slot, chosen.engine, chosen.model, revision, asdict(capabilities))


def build(chosen: EngineChoice) -> BatchRecognizer:
    """The recogniser, loaded and warm: 10 s for NeMo's import, then the model. Raises Unavailable."""
    info = describe(chosen)
    file = _file(chosen, resolve(chosen))
    recipe = read_recipe(chosen, file)
    model = _KINDS[recipe.kind](restore(file, "ASRModel", torch_device(chosen)))
    recognizer = BatchRecognizer(model, info, _configured_language(chosen, recipe))
    recognizer.warm_up()
    return recognizer


def _configured_language(chosen: EngineChoice, recipe: NemoRecipe) -> str | None:
    return configured_language(chosen, recipe.languages if recipe.kind == "multitask" else None)


def _file(chosen: EngineChoice, files: ModelFiles) -> Path:
    if files.nemo_file is None:
        raise cannot_load(chosen, "the folder holds no .nemo file, or several", f"name one file in {chosen.variable}")
    return files.nemo_file


class _FrameModel(ABC):
    """Common part of CTC models and transducers: audio to encoder frames, tokens to words."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._vocabulary = NemoVocabulary(model.tokenizer) if hasattr(model, "tokenizer") else CharacterVocabulary(model)
        self._frame_secs: Seconds = model.encoder.subsampling_factor * model.cfg.preprocessor.window_stride

    def __call__(self, utterances: Sequence[Samples]) -> list[Recognition]:
        import torch

        with torch.inference_mode():
            heard = self._tokens(*batch(utterances, self._model.device))
        return [self._recognition(tokens, samples) for tokens, samples in zip(heard, utterances, strict=True)]

    def _recognition(self, tokens: Sequence[Token], samples: Samples) -> Recognition:
        words = words_of(tokens, self._vocabulary, self._frame_secs, samples.size / SAMPLE_RATE_HZ)
        language = self._vocabulary.language([token.id for token in tokens])
        return Recognition(lasting(words, samples), language)

    @abstractmethod
    def _tokens(self, sound: Tensor, lengths: Tensor) -> list[list[Token]]:
        """The tokens of each utterance of a batch."""


class _Ctc(_FrameModel):
    def _tokens(self, sound: Tensor, lengths: Tensor) -> list[list[Token]]:
        log_probs, num_frames, _ = self._model(input_signal=sound, input_signal_length=lengths)
        best, labels = (part.cpu().numpy() for part in log_probs.max(dim=-1))
        blank = log_probs.shape[-1] - 1
        return [
            collapsed(labels[row, :frames], np.exp(best[row, :frames]), blank)
            for row, frames in enumerate(num_frames.tolist())
        ]


class _Transducer(_FrameModel):
    """RNNT and TDT, and hybrids by their transducer. A TDT token has the model's duration, an RNNT token one frame."""

    def __init__(self, model: Any) -> None:
        from omegaconf import open_dict

        decoding = copy.deepcopy(model.cfg.decoding)
        with open_dict(decoding):
            decoding.strategy = "greedy_batch"
            decoding.tdt_include_token_duration = True
            decoding.confidence_cfg = {
                "preserve_frame_confidence": True,
                "preserve_token_confidence": True,
                "exclude_blank": True,
                "method_cfg": {"name": "max_prob"},
            }
        model.change_decoding_strategy(decoding, verbose=False)
        super().__init__(model)

    def _tokens(self, sound: Tensor, lengths: Tensor) -> list[list[Token]]:
        encoded, num_frames = self._model(input_signal=sound, input_signal_length=lengths)
        found = self._model.decoding.rnnt_decoder_predictions_tensor(encoded, num_frames, return_hypotheses=True)
        return [_emissions(hypothesis) for hypothesis in found]


def _emissions(hypothesis: Any) -> list[Token]:
    ids, frames = _ints(hypothesis.y_sequence), _ints(hypothesis.timestamp)
    durations = _ints(hypothesis.token_duration) if hypothesis.token_duration is not None else []
    lasting = [max(1, duration) for duration in durations] or [1] * len(ids)
    return [
        Token(id_, frame, frame + frames_, float(confidence))
        for id_, frame, frames_, confidence in zip(ids, frames, lasting, hypothesis.token_confidence, strict=True)
    ]


def _ints(values: Any) -> list[int]:
    return [int(value) for value in values]


_KINDS: Final[dict[Kind, Callable[..., RecognizeBatch]]] = {"ctc": _Ctc, "transducer": _Transducer, "multitask": Canary}
