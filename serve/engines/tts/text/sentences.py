"""Cuts a text at sentences, and long sentences at clauses. The time is linear in the length of the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from serve.engines.tts.text.phrase_words import NEVER_LAST_IN, may_end_phrase, starts_phrase
from serve.engines.tts.text.word_lists import NEVER_LAST, SELDOM_LAST


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one passage, in characters. It is cut at the end of a clause if there is one within ``clause_chars``.
    Otherwise a sentence of up to ``chars`` is left whole, and a longer one is cut within ``chars``.

    ``least_clause_chars`` and ``least_sentence_chars``: least length of a passage that ends at a clause or a sentence,
    except at the end of the text.
    """

    clause_chars: int
    chars: int
    least_clause_chars: int = 12
    least_sentence_chars: int = 1


FIRST: Final = Limits(60, 220)
"""Limits of a text's first passage: it may end at an early clause, so that its audio is sent soon."""
LATER: Final = Limits(220, 220)
"""220 characters are some fifteen seconds of speech."""
_TAIL_CHARS: Final = 6
"""A sentence is not cut if fewer characters would remain."""
_LOOK_AHEAD_CHARS: Final = 1000
_DIGIT_CHARS: Final = 4
"""Number of letters that take as long to speak as a digit."""

_SENTENCE_END = r"""[.!?…।]+["'”’)\]*»]*(?=\s|$)\s*"""
_MARKED_PAUSE = r"\[\s*(?i:pause)\b[^\]\n]{0,12}\]\s*"
_STOP = re.compile(rf"(?:{_SENTENCE_END})?{_MARKED_PAUSE}|{_SENTENCE_END}|\s*\n[ \t]*\n\s*|\n(?=[ \t]*[-•*][ \t])")
_CLAUSE = re.compile(r"""(?:[,;:]["'”’)\]*»]*(?=\s)\s*|\s*[—–]\s*|\s--?\s+)""")
_SPACE = re.compile(r"\s+")
_LAST_TOKEN = re.compile(r"(\S+)$")


def passage_end(text: str, start: int, limits: Limits | None = None, language: str = "en-us") -> int:
    """Where the passage that starts at ``start`` ends, with the white space after it. More than ``start``."""
    limits = limits or (LATER if start else FIRST)
    window = text[start : start + _LOOK_AHEAD_CHARS]
    sentence = window[: _sentence_end(window, language, limits.least_sentence_chars)]
    clause_chars, chars = _reach(sentence, limits.clause_chars), _reach(sentence, limits.chars)
    if len(sentence) <= clause_chars:
        end = len(sentence)
    else:
        end = _cut(sentence, clause_chars, chars, language, limits.least_clause_chars)
    return start + max(1, end)


def spoken_chars(text: str) -> int:
    """Number of letters that take as long to speak as ``text``."""
    return len(text) + (_DIGIT_CHARS - 1) * sum(c.isdigit() for c in text)


def _reach(text: str, chars: int) -> int:
    """Length of the beginning of ``text`` that takes as long to speak as ``chars`` letters."""
    for index, character in enumerate(text):
        chars -= _DIGIT_CHARS if character.isdigit() else 1
        if chars < 0:
            return index
    return len(text) + chars


def _sentence_end(window: str, language: str, least_chars: int) -> int:
    for match in _STOP.finditer(window):
        if match.end() < least_chars and "\n" not in match.group():
            continue
        if (
            match.group().lstrip().startswith(".")
            and not match.group().startswith("..")
            and _is_abbreviation(window, match, language)
        ):
            continue
        return match.end()
    return len(window)


def _is_abbreviation(window: str, match: re.Match[str], language: str) -> bool:
    found = _LAST_TOKEN.search(window[: match.start()])
    word = found.group(1).lstrip("(\"'“‘[*").lower() if found else ""
    following = window[match.end() : match.end() + 1]
    if not following:
        return False
    if word in NEVER_LAST_IN.get(language[:2], NEVER_LAST):
        # "No." is a number's abbreviation only before a number.
        return following.isdigit() if word in ("no", "nos") else True
    # An initial, as in J. R. R. Tolkien; but "I" ends sentences.
    if len(word) == 1 and word.isalpha() and word != "i":
        return following.isupper()
    return following.islower() or (word in SELDOM_LAST and following.isdigit())


def _cut(sentence: str, clause_chars: int, chars: int, language: str, least: int) -> int:
    """The best cut of a sentence longer than ``clause_chars``: a clause's end, else before a phrase, else a space, else
    anywhere; the sentence's end where it may be longer."""
    clauses = [m.end() for m in _CLAUSE.finditer(sentence[: chars + 1])]
    within = [end for end in clauses if least <= end <= clause_chars]
    if within:
        return within[-1]
    # A first clause of a word or two is joined with the following text, up to the next possible cut.
    limit = clause_chars if any(end < least for end in clauses) and clause_chars < chars else chars
    if len(sentence) <= limit + _TAIL_CHARS:
        return len(sentence)
    within = [end for end in clauses if least <= end <= limit]
    spaces = [m.end() for m in _SPACE.finditer(sentence[: limit + 1])]
    phrases = [end for end in spaces if end >= max(least, limit // 2) and starts_phrase(sentence, end, language)]
    words = [end for end in spaces if end >= least and may_end_phrase(sentence, end, language)]
    return (within or phrases or words or spaces or [limit])[-1]
