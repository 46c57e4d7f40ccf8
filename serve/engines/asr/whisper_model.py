"""A CTranslate2 Whisper model: audio to encoder output, encoder output to tokens, tokens to times.

The encoder accepts fewer frames than the 3000 (30 s) that Whisper was trained on, and its cost falls faster than their
number. The number of frames of an utterance depends on its own length only, so its text does not depend on its batch.

Sources: Alec Radford and others, "Robust Speech Recognition via Large-Scale Weak Supervision", 2022 (arXiv:2212.04356);
https://opennmt.net/CTranslate2/python/ctranslate2.models.Whisper.html.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds
from schemas.engines import Samples
from serve.engines.asr.whisper_files import WhisperFolder

if TYPE_CHECKING:
    from faster_whisper.tokenizer import Tokenizer

FULL_FRAMES: Final = 3000
FRAMES_PER_SEC: Final = 100
SHORTEST_FRAMES: Final = 1000
TAIL_SECS: Final = 2.0
FRAME_STEP: Final = 200
"""Numbers of frames are multiples of this, so that utterances of similar length share a batch without further padding."""

TOKENS_PER_SEC: Final = 25
TOKENS_AT_LEAST: Final = 20
TOKENS_AT_MOST: Final = 224
"""Most tokens of an utterance: scripts that are encoded by bytes need 18 a second, English 6."""

CONTEXT_TOKENS: Final = 448
"""Most tokens of prompt and text together."""

_DYNAMIC_RANGE: Final = 2.0
"""Range of the features below their maximum; its lower end is the value of silence, with which windows are padded."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """``tokens``: ids of text only. ``log_prob``: mean natural logarithm of their probabilities, the end's included."""

    tokens: list[int]
    log_prob: float
    no_speech: float
    """Probability that the window holds no speech, by the model's own token."""
    is_cut: bool
    """Whether the text ended at the limit on its length."""


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """``starts``: ``(num_tokens + 1,)`` s, where each token and the end of the text begin. ``probs``: ``(num_tokens,)``."""

    starts: NDArray[np.float64]
    probs: NDArray[np.float64]


def frames_for(duration_secs: Seconds) -> int:
    """Encoder frames of an utterance: its length and 2 s of silence, 10 s at least, 30 s at most."""
    steps = math.ceil((duration_secs + TAIL_SECS) * FRAMES_PER_SEC / FRAME_STEP)
    return min(max(steps * FRAME_STEP, SHORTEST_FRAMES), FULL_FRAMES)


class WhisperModel:
    """Thread-safe: each call of the model takes one of its ``workers``, and waits for one if all are taken."""

    def __init__(self, folder: WhisperFolder, device: str, compute_type: str, workers: int) -> None:
        """Loads the model: .5 s for Whisper base. Raises RuntimeError of CTranslate2 for files it cannot read."""
        import ctranslate2
        import tokenizers
        from faster_whisper.feature_extractor import FeatureExtractor

        self._storage = ctranslate2.StorageView
        self._model = ctranslate2.models.Whisper(
            str(folder.path), device=device, compute_type=compute_type, inter_threads=workers, intra_threads=1
        )
        self._encodes_batches = device != "cpu"
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        self._features = FeatureExtractor(feature_size=folder.num_mels)
        self._folder = folder
        self._suppressed = self._suppressed_tokens()

    def tokenizer(self, language: str, task: str = "transcribe") -> Tokenizer:
        """The tokenizer that starts a transcript in ``language``."""
        from faster_whisper.tokenizer import Tokenizer

        many = self._folder.is_multilingual
        return Tokenizer(self._tokenizer, many, task=task if many else None, language=language if many else None)

    def encode(self, utterances: Sequence[Samples], frames: int) -> NDArray[np.float32]:
        """``(batch, frames // 2, dim)``: the encoder's output for utterances, padded with silence to ``frames``.

        On a CPU each is encoded alone: a batch is no faster there and needs more cache.
        """
        features = [self._padded(samples, frames) for samples in utterances]
        if self._encodes_batches:
            return self._encode(np.concatenate(features))
        return np.concatenate([self._encode(one) for one in features])

    def detect_languages(self, encoded: NDArray[np.float32]) -> list[tuple[str, float]]:
        """The most probable language of each row, and its probability; English for a model of English."""
        if not self._folder.is_multilingual:
            return [("en", 1.0)] * len(encoded)
        found = self._model.detect_language(self._storage.from_array(encoded))
        return [(row[0][0].strip("<|>"), float(row[0][1])) for row in found]

    def decode(
        self,
        encoded: NDArray[np.float32],
        prompts: Sequence[Sequence[int]],
        durations_secs: Sequence[Seconds],
        beam_size: int,
    ) -> list[Decoded]:
        """The best of ``beam_size`` texts of each row after its prompt; all prompts are of one length. 1 is greedy."""
        most = max(_most_tokens(secs) for secs in durations_secs)
        # CTranslate2 ends a text at half of max_length, and where prompt and text together reach it.
        longest = min(CONTEXT_TOKENS, max(2 * most, len(prompts[0]) + most))
        room = min(longest // 2, longest - len(prompts[0]))
        results = self._model.generate(
            self._storage.from_array(encoded),
            [list(prompt) for prompt in prompts],
            max_length=longest,
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
            beam_size=beam_size,
        )
        decoded = []
        for result, secs in zip(results, durations_secs, strict=True):
            tokens = list(result.sequences_ids[0])
            length = len(tokens)
            log_prob = result.scores[0] * length / (length + 1) if length else 0.0
            decoded.append(Decoded(tokens, log_prob, float(result.no_speech_prob), length >= min(room, _most_tokens(secs))))
        return decoded

    def align(
        self, encoded: NDArray[np.float32], tokens: Sequence[list[int]], tokenizer: Tokenizer, frames: Sequence[int]
    ) -> list[TokenTimes]:
        """The time of each token, by the decoder's cross-attention. ``frames``: frames without padding in each row."""
        results = self._model.align(
            self._storage.from_array(encoded),
            tokenizer.sot_sequence,
            [list(row) for row in tokens],
            list(frames),
            median_filter_width=_MEDIAN_FRAMES,
        )
        return [_token_times(result) for result in results]

    def _padded(self, samples: Samples, frames: int) -> NDArray[np.float32]:
        heard = self._features(samples)[:, :frames]
        padded = np.full((1, heard.shape[0], frames), heard.max() - _DYNAMIC_RANGE, np.float32)
        padded[0, :, : heard.shape[1]] = heard
        return padded

    def _encode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        encoded = self._model.encode(self._storage.from_array(np.ascontiguousarray(features)), to_cpu=True)
        return np.array(encoded, dtype=np.float32)

    def _suppressed_tokens(self) -> list[int]:
        from faster_whisper.transcribe import get_suppressed_tokens

        return list(get_suppressed_tokens(self.tokenizer("en"), [-1]))


_MEDIAN_FRAMES: Final = 7
_TOKEN_FRAME_SECS: Final = 0.02


def _most_tokens(duration_secs: Seconds) -> int:
    return min(TOKENS_AT_MOST, TOKENS_AT_LEAST + round(TOKENS_PER_SEC * duration_secs))


def _token_times(result: Any) -> TokenTimes:
    path = np.asarray(result.alignments, np.int64).reshape(-1, 2)
    jumps = np.diff(path[:, 0], prepend=-1) > 0
    return TokenTimes(path[jumps, 1] * _TOKEN_FRAME_SECS, np.asarray(result.text_token_probs, np.float64))
