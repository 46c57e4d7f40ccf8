"""Assembles tokens of a frame-synchronous model (CTC, transducers) to words with times and confidences.

A word's time is that of the frames of its tokens. NeMo's own word times of a CTC model start each word at the end of the
previous one, however long the pause between them, so they are not used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds, Word

_SHORTEST_SECS: Final = 0.01
_SPECIAL: Final = re.compile(r"<(?!0x[0-9A-Fa-f]{2}>).*>|\[[A-Z_]+\]")
"""``<unk>``, ``<|en|>``, ``[PAD]``; not ``<0xE2>``, a byte of a character."""


class Vocabulary(Protocol):
    """The vocabulary of a tokenizer."""

    def piece(self, token: int) -> str:
        """The token's entry in the vocabulary: ``▁se``, ``##ven``, a character."""
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """The text of the tokens together."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """An emission from ``start_frame`` inclusive to ``end_frame`` exclusive. ``confidence`` is in [0, 1]."""

    id: int
    start_frame: int
    end_frame: int
    confidence: float


def collapsed(labels: NDArray[np.int64], chances: NDArray[np.float32], blank: int) -> list[Token]:
    """The greedy path of a CTC model: runs of one label are one token, blanks none.

    ``labels`` and ``chances``: ``(num_frames,)``, the most probable label of each frame and its probability. A token's
    confidence is that of its most probable frame.
    """
    edges = np.flatnonzero(np.diff(labels, prepend=-1, append=-1))
    return [
        Token(int(labels[first]), int(first), int(last), float(chances[first:last].max()))
        for first, last in pairwise(edges)
        if labels[first] != blank
    ]


def words_of(
    tokens: Sequence[Token], vocabulary: Vocabulary, frame_secs: Seconds, duration_secs: Seconds
) -> tuple[Word, ...]:
    """Words with case and punctuation as the model writes them, in order, within ``[0, duration_secs]``.

    A word lasts from its first token to the end of its last; its confidence is that of its least probable token.
    Punctuation belongs to the word before it and affects neither.
    """
    words: list[Word] = []
    for group in _groups(tokens, vocabulary):
        text = vocabulary.text([token.id for token in group]).strip()
        spoken = [token for token in group if not _is_punctuation(vocabulary.piece(token.id))]
        if spoken and _is_spoken(text):
            # A separate token that marks the beginning of a word sets the word's start.
            first = group[0] if vocabulary.piece(group[0].id) == "▁" else spoken[0]
            start, end = first.start_frame * frame_secs, max(token.end_frame for token in spoken) * frame_secs
            words.append(Word(text, start, end, min(token.confidence for token in spoken)))
        elif words:
            words[-1] = replace(words[-1], text=words[-1].text + text)
    return in_order(words, duration_secs)


def in_order(words: Sequence[Word], duration_secs: Seconds) -> tuple[Word, ...]:
    """The words with times that are sorted, do not overlap and are within ``[0, duration_secs]``; each lasts 10 ms or more.

    Confidences are clipped to [0, 1]. Where there is no room left, the last words share the end.
    """
    ordered: list[Word] = []
    free_from = 0.0
    # Times are rounded to milliseconds, and none may round to a value past the end.
    last = int(duration_secs * 1000) / 1000
    for index, word in enumerate(words):
        start = min(max(word.start_secs, free_from), max(0.0, last - _SHORTEST_SECS))
        limit = words[index + 1].start_secs if index + 1 < len(words) else last
        end = min(max(start + _SHORTEST_SECS, min(word.end_secs, limit)), last)
        confidence = min(1.0, max(0.0, word.confidence))
        ordered.append(Word(word.text, round(start, 3), round(end, 3), round(confidence, 4)))
        free_from = end
    return tuple(ordered)


def _groups(tokens: Sequence[Token], vocabulary: Vocabulary) -> Iterator[list[Token]]:
    group: list[Token] = []
    for token in tokens:
        piece = vocabulary.piece(token.id)
        if _SPECIAL.fullmatch(piece):
            continue
        if group and _starts_word(piece, vocabulary.piece(group[-1].id)):
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _starts_word(piece: str, before: str) -> bool:
    bare = piece.lstrip("▁ ")
    if piece.startswith("##") or (bare and _is_punctuation(piece) and not _opens(bare)):
        return False
    if before in ("▁", " "):
        return False
    return piece.startswith(("▁", " ")) or (bool(bare) and _is_unspaced(bare[0]))


def _is_punctuation(piece: str) -> bool:
    """Whether the piece has nothing that is spoken; a bare word mark counts as that."""
    return not _is_spoken(piece.lstrip("▁ ").removeprefix("##"))


def _is_spoken(text: str) -> bool:
    return any(unicodedata.category(c)[0] not in "PZC" for c in text)


def _opens(bare: str) -> bool:
    """Brackets, quotation marks and question marks that stand before a word."""
    return bare[0] in "¿¡" or unicodedata.category(bare[0]) in ("Ps", "Pi")


def _is_unspaced(char: str) -> bool:
    """Whether it is Han, Hiragana or Katakana, which are written without spaces: each piece is a word."""
    return "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"
