"""Tokens of a text as PostgreSQL's default parser finds them: words, compounds, numbers, hosts, paths, addresses.

That parser is a state machine; here one regular expression finds the same tokens, in the same order of preference
(https://www.postgresql.org/docs/current/textsearch-parsers.html). Known differences are in rare mixtures of ``_ - . / @``
within one run of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from lakehouse.search.stemming import lexeme

# Longer tokens are ignored, and take no position.
MAX_TOKEN_BYTES = 2046

# Repetitions are possessive or bounded, so every text takes linear time.
_RUNS = r"[A-Za-z0-9]++(?:[._-][A-Za-z0-9]++){0,63}"
_HOST = rf"{_RUNS}\.[A-Za-z]{{2,}}(?![A-Za-z0-9])"
_PORT = r"(?::[0-9]+)?"
# PostgreSQL counts circled letters as letters; Python does not.
_CIRCLED = "\u24b6-\u24e9"
_URL_CHARACTER = r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]"
# What may follow a dot or a slash within a path; a path from its first dot or slash on.
_STEP = r"(?:\.[A-Za-z0-9_]|/(?:\.{1,2}/){0,16}(?:[.~]?[A-Za-z0-9_]|\.\.(?=[/\s]|\Z)))"
_PATH = rf"{_STEP}(?:[A-Za-z0-9_-]|{_STEP})*"
_TAG_INSIDE = r"""(?:[A-Za-z0-9=_#/:.&?%~\s-]|"[^"]{0,4096}"|'[^']{0,4096}')*+"""


# A character that makes a text more than words and punctuation. In prose a dot is at the end of a word.
_BEYOND_PROSE = re.compile(r"[^A-Za-z \t\r\n,;:!?'\"().]|\.(?!\s|\Z)")
_LETTERS = re.compile("[a-z]+")


@dataclass(frozen=True, slots=True)
class Token:
    """``text[start:end]`` and its lexemes by position; None is a stop word."""

    start: int
    end: int
    lexemes: tuple[str | None, ...]


def _pattern(letter: str, word: str) -> re.Pattern[str]:
    """``letter``: one character of a word that is not an ASCII digit. ``word``: a whole run of letters and digits."""
    part = rf"(?=[0-9]*{letter}){word}"
    return re.compile(
        rf"""
  (?P<number>[0-9]+[eE][+-]?[0-9]+)
 |(?P<silent>(?:</?[A-Za-z:_]|<\?xml){_TAG_INSIDE}>|<!--.{{0,4096}}?-->
             |&(?:[A-Za-z:_][A-Za-z0-9:_.-]*|\#[0-9]+|\#[xX][0-9a-fA-F]+);
             |[A-Za-z]+://)
 |(?P<url>(?P<url_host>{_HOST}{_PORT})(?P<url_path>/{_URL_CHARACTER}+))
 |(?P<plain>{_RUNS}@{_HOST}{_PORT}
           |{_HOST}{_PORT}
           |(?:[0-9]*[A-Za-z][A-Za-z0-9]*+|[0-9]++(?=/)){_PATH}
           |~[A-Za-z0-9_](?:[A-Za-z0-9_-]|{_STEP})*
           |(?:~|\.\.?)?(?=/){_PATH}
           |\.\.(?=[/\s]|\Z)
           |[0-9]+\.[0-9]+(?:\.[0-9]+)+
           |[+-]?[0-9]+\.[0-9]+[eE][+-]?[0-9]+|[+-][0-9]+[eE][+-]?[0-9]+
           |[0-9]+\.[0-9]+|[+-][0-9]+\.[0-9]++(?!\.[0-9])
           |[+-][0-9]++(?!\.[0-9]+\.[0-9])
           |[0-9]+(?!{letter}|[0-9]))
 |(?P<compound>{part}(?:-{part})+)(?:-(?=[0-9]))?
 |(?P<word>{word})
 |(?P<blank>.(?:(?!{letter})[^0-9<&/+-])*+)
""",
        re.VERBOSE | re.DOTALL,
    )


@cache
def _ascii_pattern() -> re.Pattern[str]:
    return _pattern("[A-Za-z]", "[A-Za-z0-9]+")


@cache
def _unicode_pattern() -> re.Pattern[str]:
    """For non-ASCII text. Marks continue a word, digits of other scripts are letters, numerals such as ½ are neither."""
    categories = [(number, unicodedata.category(chr(number))) for number in range(0x80, 0x10000)]
    marks = _ranges([number for number, category in categories if category[0] == "M"])
    numerals = _ranges([number for number, category in categories if category == "No"])
    plain = rf"(?:[^\W_{numerals}]|[{_CIRCLED}])"
    return _pattern(rf"(?:[^\W_0-9{numerals}]|[{marks}{_CIRCLED}])", rf"{plain}(?:{plain}|[{marks}])*")


def _ranges(numbers: list[int]) -> str:
    """The inside of a regex character class of exactly these code points, given in order."""
    found = ""
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        points = [number for _, number in run]
        found += f"\\u{points[0]:04x}-\\u{points[-1]:04x}"
    return found


def is_prose(text: str) -> bool:
    """Whether the tokens of ``text`` are exactly its runs of ASCII letters."""
    return _BEYOND_PROSE.search(text) is None


def lexemes_with_spans(text: str) -> tuple[list[str | None], list[tuple[int, int]]]:
    """(lexemes by position, None for a stop word; (start, end) in ``text`` of the token of each).

    Plain prose takes a sixth of the time of other text.
    """
    if is_prose(text):
        low = text.lower()
        words = _LETTERS.findall(low)
        spans = [match.span() for match in _LETTERS.finditer(low)]
        if len(text) <= MAX_TOKEN_BYTES:
            return list(map(lexeme, words)), spans
        short = [number for number, word in enumerate(words) if len(word) <= MAX_TOKEN_BYTES]
        return [lexeme(words[number]) for number in short], [spans[number] for number in short]
    found = [(item, (token.start, token.end)) for token in tokens(text) for item in token.lexemes]
    return [item for item, _ in found], [span for _, span in found]


def tokens(text: str) -> Iterator[Token]:
    """The tokens of ``text`` that take a position, in order. Each of their lexemes takes one."""
    pattern = _ascii_pattern() if text.isascii() else _unicode_pattern()
    for match in pattern.finditer(text):
        kind = match.lastgroup
        if kind in ("silent", "blank"):
            continue
        found = tuple(item for item in _lexemes(match, kind) if item is None or len(item.encode()) <= MAX_TOKEN_BYTES)
        if found:
            yield Token(match.start(), match.end(), found)


def _lexemes(match: re.Match[str], kind: str | None) -> Iterator[str | None]:
    whole = _lower(match.group())
    if kind == "word":
        yield lexeme(whole)
    elif kind == "compound":
        # A hyphen after the compound, before a number, belongs to the match but not to the word.
        whole = whole.rstrip("-")
        yield lexeme(whole)
        for part in whole.split("-"):
            yield lexeme(part)
    elif kind == "url":
        yield from (whole, _lower(match["url_host"]), _lower(match["url_path"]))
    else:
        yield whole


def _lower(text: str) -> str:
    """Lower case letter by letter, as the C library does it: one letter stays one, and a final sigma is like any other."""
    return text.lower() if text.isascii() else text.replace("İ", "i").replace("Σ", "σ").lower()
