"""Recognises utterances of up to 30 s: encode, detect the language, decode, check for hallucinations, align."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Recognition, RecognizeOptions, Seconds, Word
from schemas.engines import Samples
from serve.engines.asr.whisper_confidence import Calibration
from serve.engines.asr.whisper_guards import is_clear, is_improbable, is_made_up, is_silence
from serve.engines.asr.whisper_model import (
    FRAME_STEP,
    FRAMES_PER_SEC,
    FULL_FRAMES,
    SHORTEST_FRAMES,
    TAIL_SECS,
    Decoded,
    WhisperModel,
    frames_for,
)
from serve.engines.asr.whisper_prompt import prompt_tokens
from serve.engines.asr.whisper_words import words_of

if TYPE_CHECKING:
    from faster_whisper.tokenizer import Tokenizer

_ALGORITHM_VERSION: Final = 3
"""Raised when a change of features, guards, word times or confidences changes results."""
_BEAM_SIZE: Final = 3
"""Texts searched at once in a known language. In English, one is as good and takes a quarter less: see docs/quality.md."""

OPTIONS: Final[dict[str, Any]] = {
    "beam_size": _BEAM_SIZE,
    "frames": [SHORTEST_FRAMES, FRAME_STEP, TAIL_SECS],
    "version": _ALGORITHM_VERSION,
}
"""All options that change results, for the engine's revision."""


@dataclass(frozen=True, slots=True)
class _Decoding:
    """The decoded text of one utterance, and the encoder's output that it was decoded from: ``(1, frames // 2, dim)``."""

    decoded: Decoded
    encoded: NDArray[np.float32]


class WhisperListener:
    """Utterances to Recognitions. Thread-safe, as the model is."""

    def __init__(
        self, model: WhisperModel, calibration: Calibration, *, language: str | None = None, late_secs: Seconds = 0.0
    ) -> None:
        """``language``: the language if the options name none; for the others see `words_of`."""
        self._model, self._calibration = model, calibration
        self._language, self._late_secs = language, late_secs

    def __call__(self, utterances: Sequence[Samples], options: RecognizeOptions) -> list[Recognition]:
        """A Recognition for each utterance of up to 30 s, in order. Those of one number of frames are decoded together."""
        groups: dict[int, list[int]] = {}
        for place, samples in enumerate(utterances):
            groups.setdefault(frames_for(samples.size / SAMPLE_RATE_HZ), []).append(place)
        found: dict[int, Recognition] = {}
        for frames, places in groups.items():
            group = self._recognize([utterances[place] for place in places], frames, options)
            found.update(zip(places, group, strict=True))
        return [found[place] for place in range(len(utterances))]

    def check_prompt(self, options: RecognizeOptions) -> None:
        """Raises InvalidParameter for hints of over 223 tokens."""
        prompt_tokens(options, self._model.tokenizer(options.language or self._language or "en", options.task))

    def _recognize(self, utterances: list[Samples], frames: int, options: RecognizeOptions) -> list[Recognition]:
        """Recognitions of utterances with ``frames`` frames each; those in one language are decoded together."""
        encoded = self._model.encode(utterances, frames)
        language = options.language or self._language
        spoken = [(language, None)] * len(utterances) if language else self._model.detect_languages(encoded)
        found: dict[int, Recognition] = {}
        for code in dict.fromkeys(code for code, _ in spoken):
            rows = [row for row, (other, _) in enumerate(spoken) if other == code]
            tokenizer = self._model.tokenizer(code, options.task)
            # A language that was detected may be wrong, as in noise, where a beam finds words and a greedy search does not.
            beam_size = 1 if language in (None, "en") else _BEAM_SIZE
            words = self._transcribe([utterances[row] for row in rows], encoded[rows], tokenizer, options, beam_size)
            for row, row_words in zip(rows, words, strict=True):
                found[row] = Recognition(row_words, code, punctuated=True, language_probability=spoken[row][1])
        return [found[row] for row in range(len(utterances))]

    def _transcribe(
        self,
        utterances: list[Samples],
        encoded: NDArray[np.float32],
        tokenizer: Tokenizer,
        options: RecognizeOptions,
        beam_size: int,
    ) -> list[tuple[Word, ...]]:
        prompt = [*prompt_tokens(options, tokenizer), *tokenizer.sot_sequence, tokenizer.no_timestamps]
        secs = [samples.size / SAMPLE_RATE_HZ for samples in utterances]
        decoded = self._model.decode(encoded, [prompt] * len(utterances), secs, beam_size)
        words = []
        for row, samples in enumerate(utterances):
            first = _Decoding(decoded[row], encoded[row : row + 1])
            checked = self._checked(first, samples, prompt, tokenizer, beam_size)
            words.append(self._words(checked, samples, tokenizer) if checked else ())
        return words

    def _checked(
        self, first: _Decoding, samples: Samples, prompt: list[int], tokenizer: Tokenizer, beam_size: int
    ) -> _Decoding | None:
        """``first`` if it is no hallucination, else the decoding of a full window; None without speech.

        An improbable text of a greedy search gives way to that of a beam, if the beam's is clear. There is no sampling at
        a temperature, as in the original: two runs on one recording would differ. A beam search without repetitions finds
        words in music and noise.
        """
        secs = samples.size / SAMPLE_RATE_HZ
        if beam_size < _BEAM_SIZE and is_improbable(first.decoded):
            (wider,) = self._model.decode(first.encoded, [prompt], [secs], _BEAM_SIZE)
            if is_clear(wider):
                first = _Decoding(wider, first.encoded)
        if is_silence(first.decoded):
            return None
        if not is_made_up(first.decoded, tokenizer.decode(first.decoded.tokens), secs):
            return first
        full = self._model.encode([samples], FULL_FRAMES)
        (decoded,) = self._model.decode(full, [prompt], [secs], beam_size)
        if is_silence(decoded, doubtful=True) or is_made_up(decoded, tokenizer.decode(decoded.tokens), secs):
            return None
        return _Decoding(decoded, full)

    def _words(self, found: _Decoding, samples: Samples, tokenizer: Tokenizer) -> tuple[Word, ...]:
        frames = min(round(samples.size / SAMPLE_RATE_HZ * FRAMES_PER_SEC), FULL_FRAMES)
        (times,) = self._model.align(found.encoded, [found.decoded.tokens], tokenizer, [frames])
        return words_of(found.decoded, times, tokenizer, samples, calibration=self._calibration, late_secs=self._late_secs)
