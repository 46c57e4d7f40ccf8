"""Splits text into pieces for synthesis while it is being generated."""

from __future__ import annotations

import re
from typing import Final

from serve.engines.tts.text.sentences import Limits, passage_end

FIRST: Final = Limits(clause_chars=24, chars=24, least_clause_chars=10, least_sentence_chars=10)
"""The first piece is a clause or a phrase of about a second, so that audio starts early: an engine such as Kokoro returns a
piece only when all of it is rendered."""
LATER: Final = Limits(220, 220)
_MARKUP: Final = re.compile(r"[*_#`~\[\]<>|{}\\]|https?://\S+")


class SpeechChunks:
    """Collects text and returns pieces, whose concatenation is the text. Pieces after the first end at the end of a
    sentence, once text follows it or the text has ended."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._rest = ""
        self._is_first = True

    def add(self, text: str) -> list[str]:
        """Append text; returns the pieces completed by it."""
        self._rest += text
        pieces: list[str] = []
        while self._rest.strip():
            end = passage_end(self._rest, 0, FIRST if self._is_first else LATER, self._language)
            if end >= len(self._rest):
                break
            pieces.append(self._rest[:end])
            self._rest = self._rest[end:]
            self._is_first = False
        return pieces

    def finish(self) -> list[str]:
        """The remaining text, at its end."""
        rest, self._rest = self._rest, ""
        return [rest] if rest else []


def speakable(text: str) -> str:
    """``text`` with blanks for what is not spoken, such as markup and URLs; of the same length, so that offsets stay
    valid."""
    return _MARKUP.sub(lambda match: " " * len(match.group()), text)
