"""Cuts a text into passages, which are rendered, checked and sent one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from schemas.domain import Seconds
from schemas.speech import Part, Passage
from serve.engines.tts.stream_plan import StreamPlan
from serve.engines.tts.text.markup import PACE, PAUSE, pace_after, parts_of
from serve.engines.tts.text.sentences import Limits, passage_end

# Silence after a passage, by its last mark.
_PAUSE_PARAGRAPH_SECS: Final = 0.55
_PAUSE_MARKED_SECS: Final = 0.8
_LONGEST_PAUSE_SECS: Final = 10.0
_PAUSE_AT_END: Final = re.compile(rf"{PAUSE.pattern}\s*$", re.IGNORECASE)
_PAUSE_ELLIPSIS_SECS: Final = 0.45
_PAUSE_SENTENCE_SECS: Final = 0.30
_PAUSE_CLAUSE_SECS: Final = 0.14
_CEILING_BASE_SECS: Final = 10.0
_CEILING_PER_CHAR_SECS: Final = 0.6


def passages(
    text: str, start: int = 0, language: str = "en-us", plan: StreamPlan | None = None, limits: Limits | None = None
) -> Iterator[Passage]:
    """Passages from character ``start`` on; parts without anything to say are skipped.

    A ``plan`` limits the length of each, or ``limits`` that of all; without both, a passage is a sentence of up to 220
    characters.
    """
    text = text.rstrip()
    pace = pace_after(text[:start])
    while start < len(text):
        end = passage_end(text, start, plan.limits() if plan else limits, language)
        source = text[start:end]
        parts = parts_of(source, language, pace)
        pace = pace_after(source, pace)
        if parts:
            pause_secs = pause_after(source) if end < len(text) else 0.0
            if plan:
                plan.add(source, pause_secs, _mean_pace(parts))
            yield Passage(parts=parts, end=end, pause_secs=pause_secs)
        start = end


def pause_after(source: str) -> Seconds:
    """The silence after a passage with this source text."""
    source = PACE.sub("", source)
    if (found := _PAUSE_AT_END.search(source)) is not None:
        return _PAUSE_MARKED_SECS if found["secs"] is None else min(float(found["secs"]), _LONGEST_PAUSE_SECS)
    if re.search(r"\n\s*\n\s*$", source):
        return _PAUSE_PARAGRAPH_SECS
    ending = source.rstrip().rstrip("\"'”’)]*» ")
    if ending.endswith(("...", "…")):
        return _PAUSE_ELLIPSIS_SECS
    if ending.endswith((".", "!", "?", "।")):
        return _PAUSE_SENTENCE_SECS
    return _PAUSE_CLAUSE_SECS if ending.endswith((",", ";", ":", "—", "–", "-")) else 0.05


def _mean_pace(parts: Sequence[Part]) -> float:
    """The common pace with which all words together take as long as with their own paces."""
    chars = [max(len(part.text), 1) for part in parts]
    return sum(chars) / sum(count / part.pace for count, part in zip(chars, parts, strict=True))


def ceiling_secs(text: str) -> Seconds:
    """Limit on the audio of ``text``: several times the length of any voice's, against an engine that does not end."""
    return _CEILING_BASE_SECS + _CEILING_PER_CHAR_SECS * len(text)
