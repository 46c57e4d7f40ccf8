"""Recognises a passage with Whisper, and aligns the passage's own text to the audio.

One pass of the encoder over a short window, one free decoding, and one alignment of the expected text, which gives the
probability and the time of each of its tokens. The window is the audio plus 2 s, at least 10 s: shorter ones make the model
repeat itself, and the encoder's cost grows faster than the window.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from schemas.errors import EngineFailure

MAX_SECS: Final = 29.0
"""Longest audio of one window."""
_FRAMES_PER_SEC, _MIN_FRAMES, _MAX_FRAMES, _TAIL_FRAMES = 100, 1000, 3000, 200
_STEPS_PER_SEC: Final = 50
"""Length of a frame of the encoder's output, in which alignments count."""
_TOKENS_PER_SEC: Final = 12
_FIGURE: Final = re.compile(r"[0-9$%£€¥&@#+=]")
_FIRST_MERGE: Final = "Ġ t"


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """One word of the expected text; ``log_probability`` is that of its letters' tokens together, nats."""

    log_probability: float
    num_tokens: int
    start_secs: Seconds
    end_secs: Seconds


@dataclass(frozen=True, slots=True)
class Listening:
    """``heard``: text of the free decoding; ``expected``: one entry a word of the expected text.

    ``spelt``: text of a second decoding without figures, if ``heard`` has some; else empty.
    ``score`` is the mean log-probability of a token of the free decoding, nats.
    """

    heard: str
    spelt: str
    score: float
    expected: tuple[AlignedWord, ...]


class WhisperListener:
    """One Whisper model on the CPU, int8, one thread a call. Safe to call from several threads; they take turns."""

    def __init__(self, folder: Path) -> None:
        """Loads ``model.bin``, ``tokenizer.json`` and the rest from ``folder``, 0.4 s for Whisper base."""
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor
        from tokenizers import Tokenizer

        self._model: Any = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8", intra_threads=1)
        self._extract: Any = FeatureExtractor()
        self._tokenizer: Any = Tokenizer.from_str(repaired((folder / "tokenizer.json").read_text("utf-8")))
        self._end = self._special("<|endoftext|>")
        pieces = [self._tokenizer.decode([token]) for token in range(self._end)]
        self._is_letters = np.asarray([any(c.isalnum() or ord(c) > 127 for c in piece) for piece in pieces])
        self._figures = [token for token, piece in enumerate(pieces) if _FIGURE.search(piece)]

    def listen(self, samples: Samples, words: Sequence[str], language: str) -> Listening:
        """``samples``: ``(num_samples,) float32`` at 16 kHz mono, at most `MAX_SECS`; ``words``: the expected text, cut at
        its spaces; ``language``: as Whisper names it, ``en``. Raises EngineFailure."""
        if samples.size > MAX_SECS * SAMPLE_RATE_HZ:
            raise EngineFailure(f"{samples.size / SAMPLE_RATE_HZ:.0f} s are too long to be heard in one window")
        encoded, num_frames = self._encode(samples)
        start = [self._special(f"<|{name}|>") for name in ("startoftranscript", language, "transcribe")]
        most = len(start) + 10 + round(_TOKENS_PER_SEC * samples.size / SAMPLE_RATE_HZ)
        heard, score = self._decode(encoded, start, most, ())
        spelt = self._decode(encoded, start, most, self._figures)[0] if _FIGURE.search(heard) else ""
        aligned = self._align(encoded, num_frames, start, words) if words else ()
        return Listening(heard, spelt, score, aligned)

    def _decode(self, encoded: Any, start: list[int], max_length: int, suppressed: Sequence[int]) -> tuple[str, float]:
        (found,) = self._model.generate(
            encoded,
            [[*start, self._special("<|notimestamps|>")]],
            beam_size=1,
            max_length=max_length,
            return_scores=True,
            suppress_tokens=[-1, *suppressed],
        )
        tokens = [token for token in found.sequences_ids[0] if token < self._end]
        return str(self._tokenizer.decode(tokens)), float(found.scores[0])

    def _encode(self, samples: Samples) -> tuple[Any, int]:
        import ctranslate2

        features = self._extract(samples)
        wanted = min(_MAX_FRAMES, max(_MIN_FRAMES, features.shape[1] + _TAIL_FRAMES))
        wanted += wanted % 2
        window = np.full((1, features.shape[0], wanted), features.min(), np.float32)
        used = min(wanted, features.shape[1])
        window[0, :, :used] = features[:, :used]
        return self._model.encode(ctranslate2.StorageView.from_array(window)), used

    def _align(self, encoded: Any, num_frames: int, start: list[int], words: Sequence[str]) -> tuple[AlignedWord, ...]:
        # Word by word: the tokenizer splits at spaces first, so the tokens are those of the whole text.
        tokens = [self._tokenizer.encode(f" {word}", add_special_tokens=False).ids for word in words]
        flat = [token for word in tokens for token in word]
        (found,) = self._model.align(encoded, start, [flat], num_frames, median_filter_width=7)
        log_probabilities = np.log(np.maximum(np.asarray(found.text_token_probs), 1e-8))
        starts = _token_starts(found.alignments, len(flat))
        aligned: list[AlignedWord] = []
        first = 0
        for word in tokens:
            last = first + len(word)
            letters = self._is_letters[word]
            aligned.append(
                AlignedWord(
                    float(log_probabilities[first:last][letters].sum()),
                    int(letters.sum()),
                    float(starts[first]),
                    float(starts[last]),
                )
            )
            first = last
        return tuple(aligned)

    def _special(self, name: str) -> int:
        token = self._tokenizer.token_to_id(name)
        if token is None:
            raise EngineFailure(f"the model that hears renders has no token {name}")
        return int(token)


def _token_starts(alignments: Sequence[tuple[int, int]], num_tokens: int) -> NDArray[np.float64]:
    """``(num_tokens + 1,)``: where each token begins, and the last one ends, s from the start of the sound."""
    tokens, steps = (np.asarray([pair[side] for pair in alignments]) for side in (0, 1))
    first = np.searchsorted(tokens, np.arange(num_tokens + 1))
    return steps[np.minimum(first, len(steps) - 1)] / _STEPS_PER_SEC


def repaired(tokenizer_json: str) -> str:
    """``tokenizer.json`` with the merge for the piece " t" added where it is missing.

    The file published with Whisper base lacks it and splits " the" into " " and "the", which the model was not trained on.
    """
    stored = json.loads(tokenizer_json)
    model = stored["model"]
    joined = {"".join(merge) if isinstance(merge, list) else merge.replace(" ", "") for merge in model["merges"]}
    if _FIRST_MERGE.replace(" ", "") in model["vocab"] and _FIRST_MERGE.replace(" ", "") not in joined:
        is_pair = isinstance(model["merges"][0], list)
        model["merges"].insert(0, _FIRST_MERGE.split() if is_pair else _FIRST_MERGE)
    return json.dumps(stored, ensure_ascii=False)
