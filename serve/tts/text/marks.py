"""What is marked in a text: cues in brackets, *emphasis*, drawn-out words."""

from __future__ import annotations

import re
from typing import Final, get_args

from schemas.engines import Cue, Part
from schemas.errors import InvalidParameter
from serve.tts.text.reading import read_aloud
from serve.tts.text.words import DOUBLED, STRESSED

CUES: Final[frozenset[str]] = frozenset(get_args(Cue))

_BRACKETED_WORD = re.compile(r"\[\s*([^\W\d_][^\W\d_'-]*)\s*\]")
_MARK = re.compile(
    r"\[\s*(?P<cue>[^\W\d_]+)\s*\]"
    r"|(?<![*\w])\*{1,2}(?P<emphasis>[^*\s](?:[^*\n]*[^*\s])?)\*{1,2}(?![*\w])"
    r"|(?P<trailing>[^\W\d_]+(?=\s?(?:\.{3,}|…)))"
    r"|(?P<drawn>\b[^\W\d_]*?(?P<letter>[^\W\d_])(?P=letter){2,}[^\W\d_]*)"
    r"|(?P<shout>(?<![\w.&/-])[A-Z][A-Z']{1,}(?![\w&/-]|\.\w))",
)
_EDGE = re.compile(r"^[\s,;:.!?…—–-]+")


def check_marks(text: str) -> None:
    """Raises InvalidParameter, naming it, for a bracketed word that is no cue. Other brackets are read without them."""
    for match in _BRACKETED_WORD.finditer(text):
        if match.group(1).lower() not in CUES:
            cues = ", ".join(f"[{cue}]" for cue in get_args(Cue))
            raise InvalidParameter(
                f"[{match.group(1)[:40]}] is no cue; the cues are {cues}", code="unknown_cue", param="input"
            )


def parts_of(text: str) -> tuple[Part, ...]:
    """``text`` as words to say and cues, in order; nothing where there is nothing to say. Raises as `check_marks`."""
    check_marks(text)
    parts: list[Part] = []
    plain_from = 0
    for match in _MARK.finditer(text):
        part = _marked(match)
        if part is None:
            continue
        _add_plain(parts, text[plain_from : match.start()])
        parts.append(part)
        plain_from = match.end()
    _add_plain(parts, text[plain_from:])
    return tuple(parts)


def _add_plain(parts: list[Part], text: str) -> None:
    if parts and parts[-1].cue is None and parts[-1].text:
        # Punctuation that follows a marked word belongs to it, so that its clause ends where the writer's does.
        edge = _EDGE.match(text)
        if edge and edge.group().strip():
            last = parts.pop()
            mark = edge.group().strip()
            parts.append(Part(last.text + mark, None, last.emphasis, last.elongated))
            text = text[edge.end() :]
    else:
        text = _EDGE.sub("", text)
    said = read_aloud(text)
    if any(c.isalnum() for c in said):
        parts.append(Part(said))


def _marked(match: re.Match[str]) -> Part | None:
    kind = match.lastgroup
    if cue := match.group("cue"):
        return Part(cue=cue.lower())  # type: ignore[arg-type]  # check_marks has seen it
    if emphasised := match.group("emphasis"):
        return Part(read_aloud(emphasised), emphasis=True)
    if trailing := match.group("trailing"):
        return Part(read_aloud(_shortened(trailing)), elongated=True)
    if kind == "shout":
        word = match.group("shout")
        return Part(word.lower(), emphasis=True) if word.lower() in STRESSED else None
    drawn = match.group("drawn")
    if (drawn.isupper() and len(drawn) <= 4) or drawn.lower() == "www":
        return None
    return Part(read_aloud(_shortened(drawn)), elongated=True)


def _shortened(word: str) -> str:
    """A drawn-out word as it is spelled: ``sooo`` is ``so``, ``cooool`` is ``cool``."""
    if not re.search(r"(.)\1\1", word):
        return word
    doubled = re.sub(r"(.)\1{2,}", r"\1\1", word)
    return doubled if doubled.lower() in DOUBLED else re.sub(r"(.)\1{2,}", r"\1", word)
