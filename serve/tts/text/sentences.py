"""Where a text may be cut: at sentences, and long sentences at clauses. Nothing is read twice, whatever the length."""

from __future__ import annotations

import re
from typing import Final

from serve.tts.text.words import NEVER_LAST, SELDOM_LAST

MAX_CHARS: Final = 220
"""Longest passage; some fifteen seconds of speech."""
FIRST_MAX_CHARS: Final = 60
"""The first passage may end at a clause from here on, so that it is verified and heard soon."""
_MIN_CLAUSE_CHARS: Final = 12
_LOOK_AHEAD_CHARS: Final = 1000

_STOP = re.compile(r"""(?:[.!?…]+["'”’)\]*]*(?=\s|$)\s*|\s*\n[ \t]*\n\s*|\n(?=[ \t]*[-•*][ \t]))""")
_CLAUSE = re.compile(r"""(?:[,;:]["'”’)\]*]*(?=\s)\s*|\s*[—–]\s*|\s--?\s+)""")
_SPACE = re.compile(r"\s+")
_LAST_TOKEN = re.compile(r"(\S+)$")


def passage_end(text: str, start: int) -> int:
    """Where the passage that starts at ``start`` ends, with the white space after it. More than ``start``."""
    window = text[start : start + _LOOK_AHEAD_CHARS]
    end = _sentence_end(window)
    limit = MAX_CHARS if start else FIRST_MAX_CHARS
    if end > limit:
        end = _clause_end(window[:end], limit)
    return start + max(1, end)


def _sentence_end(window: str) -> int:
    for match in _STOP.finditer(window):
        if (
            match.group().lstrip().startswith(".")
            and not match.group().startswith("..")
            and _is_abbreviation(window, match)
        ):
            continue
        return match.end()
    return len(window)


def _is_abbreviation(window: str, match: re.Match[str]) -> bool:
    found = _LAST_TOKEN.search(window[: match.start()])
    word = found.group(1).lstrip("(\"'“‘[*").lower() if found else ""
    following = window[match.end() : match.end() + 1]
    if not following:
        return False
    if word in NEVER_LAST:
        # "No." is a number's abbreviation only before a number.
        return following.isdigit() if word in ("no", "nos") else True
    # An initial, as in J. R. R. Tolkien; but "I" ends sentences.
    if len(word) == 1 and word.isalpha() and word != "i":
        return following.isupper()
    return following.islower() or (word in SELDOM_LAST and following.isdigit())


def _clause_end(sentence: str, limit: int) -> int:
    """The best cut of a sentence longer than ``limit``: a clause's end, else a space, else anywhere."""
    clauses = [m.end() for m in _CLAUSE.finditer(sentence[: MAX_CHARS + 1]) if m.end() >= _MIN_CLAUSE_CHARS]
    within = [end for end in clauses if end <= limit]
    if within:
        return within[-1]
    if len(sentence) <= MAX_CHARS:
        return len(sentence)
    if clauses:
        return clauses[0]
    spaces = [m.end() for m in _SPACE.finditer(sentence[: MAX_CHARS + 1])]
    return spaces[-1] if spaces else MAX_CHARS
