"""Runs of digits in transcribed words, written as digits or as words ("five five five", "555-0132", "double oh")."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_UNITS: Final = {
    word: str(number)
    for number, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
} | {"oh": "0", "o": "0", "nought": "0", "niner": "9"}
_TEENS: Final = {
    word: str(number)
    for number, word in enumerate(
        ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"],
        start=10,
    )
}
_TENS: Final = {
    word: str(number)
    for number, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2)
}
_REPEATS: Final = {"double": 2, "triple": 3}
_JOINS: Final = frozenset(("dash", "hyphen", "plus", "space", "slash"))
_WRITTEN: Final = re.compile(r"[+(]*\d[\d()./-]*")
_AMOUNT: Final = re.compile(r"[$€£]|\d,\d{3}|\d\.\d+$|%")
_UNITS_AFTER: Final = frozenset(
    [
        "dollars",
        "euros",
        "pounds",
        "cents",
        "percent",
        "people",
        "years",
        "days",
        "hours",
        "minutes",
        "seconds",
        "miles",
        "kilometers",
        "meters",
        "feet",
        "kilos",
        "times",
        "million",
        "billion",
        "thousand",
        "hundred",
    ]
)
"""Words after a number that make it an amount."""


@dataclass(frozen=True, slots=True)
class DigitRun:
    """Digits that words ``first`` to ``last`` say one after another."""

    first: int
    last: int
    digits: str


def plain(word: str) -> str:
    """``word`` in lower case without the marks around it."""
    return word.lower().strip(".,?!;:()\"'“”")


def digit_runs(words: Sequence[str]) -> list[DigitRun]:
    """Maximal runs of digits; amounts, such as "12,500" or "50 dollars", are none."""
    found: list[DigitRun] = []
    place = 0
    while place < len(words):
        run = _run_from(words, place)
        if run is None:
            place += 1
            continue
        if not _is_amount(words, run):
            found.append(run)
        place = run.last + 1
    return found


def _run_from(words: Sequence[str], first: int) -> DigitRun | None:
    digits, place, last = "", first, first - 1
    while place < len(words):
        said, used = _digits_at(words, place)
        if said:
            digits += said
            last = place + used - 1
            place += used
        elif digits and plain(words[place]) in _JOINS:
            place += 1
        else:
            break
    return DigitRun(first, last, digits) if digits else None


def _digits_at(words: Sequence[str], place: int) -> tuple[str, int]:
    """The digits that begin with a word, and how many words they take."""
    word = plain(words[place])
    following = plain(words[place + 1]) if place + 1 < len(words) else ""
    if word in _REPEATS and (following in _UNITS or (len(following) == 1 and following.isdecimal())):
        return _UNITS.get(following, following) * _REPEATS[word], 2
    if word in _TENS:
        if following in _UNITS and _UNITS[following] != "0":
            return _TENS[word] + _UNITS[following], 2
        return _TENS[word] + "0", 1
    if word in _UNITS or word in _TEENS:
        return _UNITS.get(word) or _TEENS[word], 1
    written = words[place].strip(".,?!;:\"'")
    if _WRITTEN.fullmatch(written) and not _AMOUNT.search(written):
        return re.sub(r"\D", "", written), 1
    return "", 0


def _is_amount(words: Sequence[str], run: DigitRun) -> bool:
    """Whether a run is an amount by the word after it, or one number in words rather than digits one by one."""
    if run.last + 1 < len(words) and plain(words[run.last + 1]) in _UNITS_AFTER and len(run.digits) < 7:
        return True
    return run.first == run.last and len(run.digits) < 3
