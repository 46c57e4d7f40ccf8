"""Positions of a text's passages in its rendered audio."""

from __future__ import annotations

from schemas.api.speech import PassageMessage
from schemas.domain import Seconds
from schemas.speech import RenderedChunk


class SpokenPassages:
    """Follows the chunks of one render of ``text``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._from_char = 0
        self._from_secs: Seconds = 0.0
        self._secs: Seconds = 0.0

    def add(self, chunk: RenderedChunk) -> PassageMessage | None:
        """The passage that ends with this chunk, if one does."""
        self._secs += chunk.duration_secs
        if not chunk.ends_passage:
            return None
        end = len(self._text) if chunk.next_start is None else chunk.next_start
        message = PassageMessage(
            text=self._text[self._from_char : end].strip(),
            start_secs=round(self._from_secs, 3),
            end_secs=round(self._secs, 3),
            passed=chunk.passed,
            retries=chunk.retries,
            word_error_rate=chunk.word_error_rate,
        )
        self._from_char, self._from_secs = end, self._secs
        return message
