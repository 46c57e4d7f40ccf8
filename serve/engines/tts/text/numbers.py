"""Numbers as words: cardinals, ordinals, decimals, fractions, ranges, telephone numbers, versions, Roman numerals."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from num2words import num2words

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
"""A plain number in a text: ``1,234.5``."""
_LONGEST_CARDINAL: Final = 15
_ROMAN: Final = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}


def cardinal(number: int) -> str:
    return str(num2words(number)).replace(",", "")


def ordinal(number: int) -> str:
    return str(num2words(number, to="ordinal")).replace(",", "")


def digits(text: str) -> str:
    """Digit by digit: ``911`` is nine one one."""
    return " ".join(cardinal(int(c)) for c in text if c.isdigit())


def spoken(number: str) -> str:
    """A written number, ``1,234.50`` or ``007``, as words; very long ones digit by digit."""
    whole, _, decimals = number.replace(",", "").partition(".")
    if len(whole) > _LONGEST_CARDINAL or (len(whole) > 1 and whole.startswith("0")):
        said = digits(whole)
    else:
        said = cardinal(int(whole or "0"))
    return f"{said} point {digits(decimals)}" if decimals else said


def year(number: int) -> str:
    """As years are said: 1984 is nineteen eighty-four, 2007 is two thousand seven, 1905 is nineteen oh five."""
    century, rest = divmod(number, 100)
    if 2000 <= number < 2010 or (rest == 0 and century % 10 == 0):
        return cardinal(number).replace(" and ", " ")
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def decade(number: int) -> str:
    """``1990s`` is nineteen nineties, ``80s`` is eighties."""
    said = year(number) if number >= 100 else cardinal(number)
    return said[:-1] + "ies" if said.endswith("y") else said + "s"


def plural(word: str, number: str) -> str:
    """``word`` after ``number``: one metre, two metres, one foot, two feet."""
    if number == "1":
        return word
    if word.startswith("foot"):
        return word.replace("foot", "feet", 1)
    if word == "inch":
        return "inches"
    head, space, tail = word.partition(" ")
    if head in ("kilowatt", "megawatt", "square", "cubic"):
        return word + "s"
    return word if head.endswith(("hertz", "percent")) else f"{head}s{space}{tail}"


def _fraction(match: re.Match[str]) -> str:
    top, bottom = int(match["top"]), int(match["bottom"])
    if bottom == 0:
        return f"{cardinal(top)} over zero"
    name = {2: "half", 4: "quarter"}.get(bottom, ordinal(bottom))
    if top != 1:
        name = "halves" if bottom == 2 else name + "s"
    said = f"{'a' if top == 1 and match['whole'] else cardinal(top)} {name}"
    return f"{cardinal(int(match['whole']))} and {said}" if match["whole"] else said


def _value(roman: str) -> int:
    values = [_ROMAN[c.lower()] for c in roman]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


def _version(match: re.Match[str]) -> str:
    """``3.11`` is three point eleven, where it is a version."""
    return " point ".join(spoken(number) for number in match[match.lastindex or 0].split("."))


def _joined(match: re.Match[str]) -> str:
    return re.sub(r"\D", "", match[0])


def _roman(match: re.Match[str]) -> str:
    number = _value(match["roman"])
    said = ordinal(number) if match["king"] else cardinal(number)
    return f"{match['king'] or match['part']} {'the ' if match['king'] else ''}{said}"


_VERSIONED: Final = "[Vv]ersion|[Rr]elease|Python|Node|Java|Go|Rust|Ubuntu|Debian|Android|macOS|iOS|Linux|Windows|CUDA"
_FRACTION: Final = r"(?<![\w/.])(?:(?P<whole>\d+) )?(?P<top>\d{1,2})/(?P<bottom>1000?|\d{1,2})(?![\w/])"
_KINGS = "Henry|Edward|George|William|James|Charles|Louis|Richard|Elizabeth|Mary|Philip|Pope \\w+|John Paul|Benedict|Pius"
_PARTS = "World War|War|Part|Chapter|Volume|Book|Act|Scene|Type|Phase|Class|Super Bowl|Section|Article|Rocky|Title"

EARLY_RULES: Final[tuple[Rule, ...]] = (
    (re.compile(rf"\b(?:(?P<king>{_KINGS})|(?P<part>{_PARTS})) (?P<roman>[IVXL]+)\b"), _roman),
    (re.compile(r"(?:(?<=[Tt]he )|(?<!\w)')(\d0)s\b"), lambda m: decade(int(m[1]))),
    (re.compile(r"\b([12]\d\d0)s\b"), lambda m: decade(int(m[1]))),
    (re.compile(r"\b(?P<roman>[IVX]{2,6}) (?=(?:century|centuries)\b)"), lambda m: f"{ordinal(_value(m['roman']))} "),
    # Thousands parted by spaces, apostrophes or underscores: 1 000 000, 1'000, 1_000.
    (re.compile(r"(?<![\w.,])\d{1,3}(?: \d{3}){2,}(?![\w.,]?\d)|\b\d{1,3}(?:['_]\d{3})+\b"), _joined),
    (re.compile(r"(?<![\w.,])\d{1,3} 000\b"), _joined),
    (re.compile(r"(?<![\w.])\.(?=\d)"), lambda m: "0."),
)
"""Rules that must run before those of units and acronyms."""

RULES: Final[tuple[Rule, ...]] = (
    (re.compile(r"#\s?(?=\d)"), lambda m: "number "),
    (re.compile(r"\b(911|999|112|411|007|747|737|101|404)\b(?![.,]?\d|%)"), lambda m: digits(m[1])),
    # Versions and addresses: 1.2.3, v2.0, Python 3.11
    (re.compile(r"\b[vV]\.? ?(?=\d+\.\d)"), lambda m: "version "),
    (re.compile(r"\b(\d+(?:\.\d+){2,})\b"), _version),
    (re.compile(rf"(?<=\b)((?:{_VERSIONED}) )(\d+\.\d+)\b(?!\.\d|%)"), lambda m: m[1] + _version(m)),
    (re.compile(r"(?<=\w)-(rc|alpha|beta|dev|pre)\b\.?"), lambda m: f" {'R C' if m[1] == 'rc' else m[1]} "),
    (re.compile(r"(?<=\d)(st|nd|rd|th)\s?[-–]\s?(?=\d+(?:st|nd|rd|th)\b)"), lambda m: f"{m[1]} to "),
    (re.compile(r"\b([A-Z])\s?–\s?([A-Z])\b|\b(A)-(Z)\b"), lambda m: f"{m[1] or m[3]} to {m[2] or m[4]}"),
    (re.compile(r"\b((?:\d{1,3}(?:,\d{3})+|\d+))(?:st|nd|rd|th)\b"), lambda m: ordinal(int(m[1].replace(",", "")))),
    (re.compile(r"\b(\d{2})/\1\b"), lambda m: f"{cardinal(int(m[1]))} {cardinal(int(m[1]))}"),
    (re.compile(rf'{_FRACTION}["″](?!\w)'), lambda m: f"{_fraction(m)} inch"),
    (re.compile(_FRACTION), _fraction),
    (re.compile(r"(?<=[A-Za-z])/(?=\d)"), lambda m: " "),
    # Proportions: 16:9, 3:2. What has two digits behind the colon is a time of day.
    (re.compile(r"(?<![\d:])(\d{1,3}):(?=\d(?![\d:]))"), lambda m: f"{m[1]} to "),
    # Ranges and scores: 10-20, 3–2
    (re.compile(rf"(?<![\w.-])({NUMBER})\s?[-–—]\s?(?={NUMBER}(?![\w-]))"), lambda m: f"{m[1]} to "),
    (re.compile(rf"(?<![\w.)])[-−](?={NUMBER})"), lambda m: "minus "),
    (re.compile(r"(?<![\w,.$€£])(1[1-9]\d\d|20\d\d)(?![\w,.]?\d|\w)"), lambda m: year(int(m[1]))),
    (re.compile(rf"({NUMBER})\s?[x×]\s?(?={NUMBER})"), lambda m: f"{m[1]} by "),
    (re.compile(r"\b(\d+)[x×](?!\w)"), lambda m: f"{m[1]} times"),
    (re.compile(r"(?<=\d)k\b"), lambda m: " K"),
    (re.compile(r"(?<=\d\d\d)p\b"), lambda m: " P"),
    # Numbers that touch letters: mp3, 3D, B2B, A4
    (re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])"), lambda m: " "),
    (re.compile(NUMBER), lambda m: spoken(m[0])),
    (re.compile(r"\d"), lambda m: f" {cardinal(int(m[0]))} "),
)
