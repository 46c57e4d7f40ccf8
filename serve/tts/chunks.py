"""A text as passages, one at a time: what is rendered, checked and sent in one go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from schemas.domain import Seconds
from schemas.engines import Passage
from serve.tts.text.marks import parts_of
from serve.tts.text.sentences import passage_end

# Silence a reader leaves after a passage, by how it ends.
_PAUSE_PARAGRAPH_SECS: Final = 0.55
_PAUSE_ELLIPSIS_SECS: Final = 0.45
_PAUSE_SENTENCE_SECS: Final = 0.30
_PAUSE_CLAUSE_SECS: Final = 0.14
_CEILING_BASE_SECS: Final = 10.0
_CEILING_PER_CHAR_SECS: Final = 0.6


def passages(text: str, start: int = 0) -> Iterator[Passage]:
    """Passages from character ``start`` on; stretches with nothing to say are part of none.

    Raises InvalidParameter for an unknown bracketed word, when it comes to it; `check_marks` looks through all.
    """
    text = text.rstrip()
    while start < len(text):
        end = passage_end(text, start)
        source = text[start:end]
        parts = parts_of(source)
        if parts:
            yield Passage(parts=parts, end=end, pause_secs=pause_after(source) if end < len(text) else 0.0)
        start = end


def pause_after(source: str) -> Seconds:
    """The silence after a passage that was written like this."""
    if re.search(r"\n\s*\n\s*$", source):
        return _PAUSE_PARAGRAPH_SECS
    ending = source.rstrip().rstrip("\"'”’)]*")
    if ending.endswith(("...", "…")):
        return _PAUSE_ELLIPSIS_SECS
    if ending.endswith((".", "!", "?")):
        return _PAUSE_SENTENCE_SECS
    return _PAUSE_CLAUSE_SECS if ending.endswith((",", ";", ":", "—", "–", "-")) else 0.05


def ceiling_secs(text: str) -> Seconds:
    """Longest rendering of ``text`` worth waiting for: several times what any voice takes, against a runaway engine."""
    return _CEILING_BASE_SECS + _CEILING_PER_CHAR_SECS * len(text)
