"""Words of a Whisper text, with times by the decoder's attention to their tokens, and confidences."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Word
from schemas.engines import Samples
from serve.engines.asr.speech_onsets import begin_after_pauses
from serve.engines.asr.token_words import in_order
from serve.engines.asr.whisper_confidence import Calibration, evidence
from serve.engines.asr.whisper_model import Decoded, TokenTimes

if TYPE_CHECKING:
    from faster_whisper.tokenizer import Tokenizer

_OPENING: Final = frozenset("\"'“¿([{-")
_UNSPACED: Final = frozenset(("zh", "ja", "th", "lo", "my", "yue"))
"""Languages written without spaces, by the tokenizer's codes: each character is a word."""
_CLOSING: Final = frozenset("\"'.。,，!！?？:：”)]}、")


def words_of(
    decoded: Decoded,
    times: TokenTimes,
    tokenizer: Tokenizer,
    samples: Samples,
    *,
    calibration: Calibration,
    late_secs: Seconds = 0.0,
) -> tuple[Word, ...]:
    """Words with case and punctuation, in order, each within ``samples``, the utterance at 16 kHz mono.

    ``late_secs``: mean delay of the model's attention, which is subtracted. A word lasts from its first token, or the end
    of a pause there, to the punctuation or the word after it. ``calibration`` gives its confidence.
    """
    written, grouped = tokenizer.split_to_word_tokens([*decoded.tokens, tokenizer.eot])
    words: list[Word] = []
    probabilities: list[NDArray[np.float64]] = []
    opening = ""
    first = 0
    for text, group in zip(written[:-1], grouped[:-1], strict=True):
        last = first + len(group)
        mark = text.strip()
        if mark and all(c in _CLOSING for c in mark) and words and not text.startswith(" "):
            words[-1] = replace(words[-1], text=words[-1].text + mark)
        elif words and not opening and _continues(text, tokenizer):
            # A compound such as "ill-disposed" is split into pieces; only the first follows a space.
            end = float(times.starts[last] - late_secs)
            words[-1] = replace(words[-1], text=words[-1].text + mark, end_secs=end)
            probabilities[-1] = np.concatenate((probabilities[-1], times.probs[first:last]))
        elif mark and all(c in _OPENING for c in mark):
            opening += mark
        elif mark:
            start, end = times.starts[first] - late_secs, times.starts[last] - late_secs
            words.append(Word(opening + mark, float(start), float(end)))
            probabilities.append(times.probs[first:last])
            opening = ""
        first = last
    if not words:
        return ()
    chances = calibration(evidence(probabilities, decoded.log_prob, decoded.no_speech))
    sure = [replace(word, confidence=float(chance)) for word, chance in zip(words, chances, strict=True)]
    return in_order(begin_after_pauses(sure, samples), samples.size / SAMPLE_RATE_HZ)


def _continues(text: str, tokenizer: Tokenizer) -> bool:
    """Whether a piece of text belongs to the word before it: a piece without a space, in scripts with spaces between
    words; in other scripts a piece that begins with a combining mark, such as a Thai vowel.
    """
    if not text.strip() or text.startswith(" "):
        return False
    return tokenizer.language_code not in _UNSPACED or unicodedata.category(text[0]).startswith("M")
