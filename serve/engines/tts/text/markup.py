"""Parses marks in a text: cues in brackets, *emphasis*, drawn-out words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, get_args

from schemas.speech import MAX_SPEED, MIN_SPEED, Cue, Part
from serve.engines.tts.text.normalization import read_aloud
from serve.engines.tts.text.word_lists import DOUBLED, STRESSED

CUES: Final[frozenset[str]] = frozenset(get_args(Cue))
CUE_NAMES: Final[Mapping[str, str]] = {
    **{cue: cue for cue in CUES},
    "hesitation": "hesitate",
    "laughter": "laugh",
    "laughs": "laugh",
    "sighs": "sigh",
    "coughs": "cough",
    "breathes": "breath",
}
"""Names of cues in brackets, including the tags of our transcripts, so that a transcript can be spoken."""
NOT_SAID: Final = frozenset("sic env tut music noise applause silence crosstalk inaudible unintelligible".split())  # noqa: SIM905
"""Bracketed words that describe a text or a recording and are not spoken. All others are read as words."""

_LETTER: Final = r"(?:[^\W\d_]|[\u0300-\u036f\u0900-\u0903\u093a-\u094f\u0955-\u0957\u0962\u0963])"
"""A letter, or a mark that belongs to one: an accent, or a vowel sign of Hindi."""
_PAUSE = r"\[\s*pause(?:\s+(?P<secs>\d+(?:\.\d+)?)\s*s)?\s*\]"
PAUSE: Final = re.compile(_PAUSE, re.IGNORECASE)
"""``[pause]``, or ``[pause 1.5s]``."""
PACE: Final = re.compile(r"\[pace:(?P<percent>\d{1,3})%\]")
"""A mark from which the pace is so many percent of that of the render; `plain_text` makes it of SSML."""
_MARK = re.compile(
    rf"{PACE.pattern}|\[\s*(?P<cue>{_LETTER}+)\s*\]"
    r"|(?<![*\w])\*{1,2}(?P<emphasis>[^*\s](?:[^*\n]*[^*\s])?)\*{1,2}(?![*\w])"
    rf"|(?P<trailing>(?<!{_LETTER}){_LETTER}+(?=\s?(?:\.{{3,}}|…)))"
    r"|(?P<drawn>\b[^\W\d_]*?(?P<letter>[^\W\d_])(?P=letter){2,}[^\W\d_]*)"
    r"|(?P<shout>(?<![\w.&/-])[A-Z][A-Z']{1,}(?![\w&/-]|\.\w))",
)
_EDGE = re.compile(r"^(?:[\s,;:!?…—]|\.(?!\w)|[–-](?![$£€¥₹]?\.?\d))+")
"""Punctuation, which is neither the sign nor the decimal point of a number."""


def parts_of(text: str, language: str = "en-us", pace: float = 1.0) -> tuple[Part, ...]:
    """``text``, in ``language``, as words and cues in order; empty if there is nothing to say. ``pace``: that at its start.

    Pauses are not included: they end passages.
    """
    text = PAUSE.sub(" ", text)
    parts: list[Part] = []
    plain_from = 0
    for match in _MARK.finditer(text):
        part = Part() if match["percent"] else _marked(match, language)
        if part is None:
            continue
        _add_plain(parts, text[plain_from : match.start()], language, pace)
        if part != Part():
            parts.append(replace(part, pace=pace))
        pace = pace_after(match[0], pace)
        plain_from = match.end()
    _add_plain(parts, text[plain_from:], language, pace)
    return tuple(parts)


def pace_after(text: str, pace: float = 1.0) -> float:
    """The pace at the end of ``text`` if it is ``pace`` at its start."""
    last = text.rfind("[pace:")
    found = PACE.match(text, last) if last >= 0 else None
    return pace if found is None else min(max(int(found["percent"]) / 100, MIN_SPEED), MAX_SPEED)


def _add_plain(parts: list[Part], text: str, language: str, pace: float) -> None:
    if parts and parts[-1].cue is None and parts[-1].text:
        # Punctuation after a marked word belongs to it, so that its clause ends there.
        edge = _EDGE.match(text)
        if edge and edge.group().strip():
            last = parts.pop()
            mark = edge.group().strip()
            parts.append(replace(last, text=last.text + mark))
            text = text[edge.end() :]
    else:
        text = _EDGE.sub("", text)
    said = read_aloud(text, language)
    if any(c.isalnum() for c in said):
        parts.append(Part(said, pace=pace))


def _marked(match: re.Match[str], language: str) -> Part | None:
    kind = match.lastgroup
    if cue := match.group("cue"):
        name = cue.lower()
        if name in CUE_NAMES:
            return Part(cue=CUE_NAMES[name])  # type: ignore[arg-type]  # a value of the table
        return Part() if name in NOT_SAID else None
    if emphasised := match.group("emphasis"):
        return Part(read_aloud(emphasised, language), emphasis=True)
    if trailing := match.group("trailing"):
        return Part(read_aloud(_shortened(trailing), language), elongated=True)
    if kind == "shout":
        word = match.group("shout")
        if word == "AM" and match.string[: match.start()].rstrip()[-1:].isdigit():
            return None
        return Part(word.lower(), emphasis=True) if word.lower() in STRESSED and language.startswith("en") else None
    drawn = match.group("drawn")
    if (drawn.isupper() and len(drawn) <= 4) or drawn.lower() == "www":
        return None
    return Part(read_aloud(_shortened(drawn), language), elongated=True)


def _shortened(word: str) -> str:
    """A drawn-out word as it is spelled: ``sooo`` is ``so``, ``cooool`` is ``cool``."""
    if not re.search(r"(.)\1\1", word):
        return word
    doubled = re.sub(r"(.)\1{2,}", r"\1\1", word)
    return doubled if doubled.lower() in DOUBLED else re.sub(r"(.)\1{2,}", r"\1", word)
