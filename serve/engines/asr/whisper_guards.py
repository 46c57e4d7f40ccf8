"""Detects hallucinated texts of Whisper: text for silence, and loops.

Thresholds of the original implementation (arXiv:2212.04356, section 4.5): probability of no speech .6 with a mean log
probability under -1, and text that compresses by more than 2.4.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from schemas.domain import Seconds
from serve.engines.asr.whisper_model import Decoded

_NO_SPEECH: Final = 0.6
_UNSURE: Final = -1.0
_SURELY_NO_SPEECH: Final = 0.9
_NOT_SURE: Final = -0.3
"""A full window of silence has .93 and more with a log probability of -.44; speech, even if cut in a word, at most .85."""
_GUESSED: Final = -1.35
"""Mean log probability below which a text is a hallucination whatever the probability of no speech. Texts for music,
breath, clicks and steps have -1.43 and less, rendered speech 5 dB above white noise -.5 and more, at 0 dB -1.1 and more."""
_CLEAR: Final = -0.6
"""Mean log probability from which a text found by a wider search is believed. Speech that a greedy search missed has -.4
and more there."""
_LOOP_RATIO: Final = 2.4
_LOOP_BYTES: Final = 60
"""Shorter texts compress little; a real sentence of this length stays under a ratio of 1.3."""
_REPEATS: Final = 5
_LONGEST_REPEAT: Final = 8
_WORDS_PER_SEC: Final = 4.5
_WORDS_ANYWAY: Final = 6


def is_silence(decoded: Decoded, *, doubtful: bool = False) -> bool:
    """Whether the model's probabilities indicate no speech, or a guessed text; ``doubtful`` makes the threshold
    stricter.
    """
    if not decoded.tokens or decoded.log_prob < (_UNSURE if doubtful else _GUESSED):
        return True
    surely = decoded.no_speech > _SURELY_NO_SPEECH and decoded.log_prob < _NOT_SURE
    return surely or (decoded.no_speech > _NO_SPEECH and decoded.log_prob < _UNSURE)


def is_improbable(decoded: Decoded) -> bool:
    """Whether to search more texts: this one is empty, or as improbable as speech seldom is.

    A greedy search can miss a whole utterance that begins within a word: its first token then leads nowhere.
    """
    return not decoded.tokens or decoded.log_prob < _UNSURE


def is_clear(decoded: Decoded) -> bool:
    """Whether a text that a wider search found is that of clear speech."""
    return bool(decoded.tokens) and decoded.log_prob >= _CLEAR and decoded.no_speech <= _NO_SPEECH


def is_made_up(decoded: Decoded, text: str, duration_secs: Seconds) -> bool:
    """Whether to decode again: the text loops, has too many words for its time, or reached the length limit."""
    return decoded.is_cut or is_loop(text, decoded.tokens) or is_too_fast(text, duration_secs)


def is_loop(text: str, tokens: Sequence[int]) -> bool:
    """Whether the text repeats itself: it compresses too well, or ends in five times the same tokens."""
    raw = text.strip().encode()
    if len(raw) > _LOOP_BYTES and len(raw) > _LOOP_RATIO * len(zlib.compress(raw)):
        return True
    return any(_ends_in_repeats(tokens, length) for length in range(1, _LONGEST_REPEAT + 1))


def is_too_fast(text: str, duration_secs: Seconds) -> bool:
    """Whether there are more words (in languages with spaces) than can be spoken in that time."""
    return len(text.split()) > _WORDS_ANYWAY + _WORDS_PER_SEC * duration_secs


def _ends_in_repeats(tokens: Sequence[int], length: int) -> bool:
    if len(tokens) < length * _REPEATS:
        return False
    last = list(tokens[-length:])
    return all(list(tokens[len(tokens) - (n + 1) * length : len(tokens) - n * length]) == last for n in range(1, _REPEATS))
