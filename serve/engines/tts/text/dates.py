"""Dates and times of day as words. Where a date may be read both ways, the month comes first, as in US English."""

from __future__ import annotations

import re
from typing import Final

from serve.engines.tts.text.numbers import Rule, cardinal, ordinal, year

_MONTHS: Final = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
_MONTH_NUMBER: Final = {name[:3].lower(): i for i, name in enumerate(_MONTHS, 1)}
_MONTH: Final = (
    r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b(?:\.(?=,?\s+[\da-z]))?"
)
_SHORT_MONTH: Final = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DAYS: Final = {
    "mon": "Monday",
    "tue": "Tuesday",
    "tues": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "thur": "Thursday",
    "thurs": "Thursday",
    "fri": "Friday",
}


def _date(month: int, day: int, year_number: int | None) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    said = f"{_MONTHS[month - 1]} {ordinal(day)}"
    return f"{said}, {year(year_number)}" if year_number is not None else said


def _month_first(match: re.Match[str]) -> str:
    number = _MONTH_NUMBER[match["month"][:3].lower()]
    written = match["year"]
    return _date(number, int(match["day"]), int(written) if written else None) or match[0]


def _day_first(match: re.Match[str]) -> str:
    day = int(match["day"])
    if not 1 <= day <= 31:
        return match[0]
    said = f"{'' if match['the'] else 'the '}{ordinal(day)} of {_MONTHS[_MONTH_NUMBER[match['month'][:3].lower()] - 1]}"
    return f"{match['the'] or ''}{said}" + (f", {year(int(match['year']))}" if match["year"] else "")


def _slashed(match: re.Match[str]) -> str:
    first, second, written = int(match[1]), int(match[2]), match[3]
    number = int(written) if len(written) == 4 else 2000 + int(written) if int(written) < 50 else 1900 + int(written)
    return _date(first, second, number) or _date(second, first, number) or match[0]


def _dotted(match: re.Match[str]) -> str:
    """Dates with dots have the day first."""
    day, month = int(match[1]), int(match[2])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    return f"the {ordinal(day)} of {_MONTHS[month - 1]}, {year(int(match[3]))}"


def _days(match: re.Match[str]) -> str:
    """``9–17 March``: the second date follows the rule of single ones."""
    return f"the {ordinal(int(match[1]))} to " if 1 <= int(match[1]) <= 31 else match[0]


def _days_after_month(match: re.Match[str]) -> str:
    first = _date(_MONTH_NUMBER[match["month"][:3].lower()], int(match["first"]), None)
    last = int(match["last"])
    return f"{first} to {ordinal(last)}" if first and 1 <= last <= 31 else match[0]


def _months(match: re.Match[str]) -> str:
    return " to ".join(_MONTHS[_MONTH_NUMBER[name.lower()] - 1] for name in match.groups())


def _iso(match: re.Match[str]) -> str:
    return _date(int(match[3]), int(match[4]), int(match[1])) or match[0]


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if hour > 24 or minute > 59:
        return match[0]
    half = (match["half"] or "").lower()
    if hour == minute == 0 and not half:
        said = "midnight"
    elif minute == 0:
        said = cardinal(hour) if half else f"{cardinal(hour)} hundred hours" if hour > 12 else f"{cardinal(hour)} o'clock"
    else:
        said = f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    if int(match["second"] or 0):
        said += f" and {cardinal(int(match['second']))} seconds"
    # The last full stop of "p.m." may also end the sentence.
    ending = "." if match["stop"] and not match.string[match.end() :].strip() else ""
    return f"{said} {half.upper()} M{ending}" if half else said


_DAY_NAME: Final = "Mon(?:day)?|Tue(?:s(?:day)?)?|Wed(?:nesday)?|Thu(?:rs?(?:day)?)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?"
_WEEKDAYS: Final = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}

RULES: Final[tuple[Rule, ...]] = (
    (
        re.compile(rf"\b({_DAY_NAME})\.?\s?[-–]\s?({_DAY_NAME})\b"),
        lambda m: f"{_WEEKDAYS[m[1][:3].lower()]} to {_WEEKDAYS[m[2][:3].lower()]}",
    ),
    (
        re.compile(
            r"(?<![\w:])(\d{1,2}:\d{2}(?: ?[ap]\.?m\.?)?|\d{1,2} ?[ap]\.?m\.?|noon|midnight)\s?[-–]\s?"
            r"(?=\d{1,2}(?::\d{2}| ?[ap]\.?m)|noon|midnight)",
            re.IGNORECASE,
        ),
        lambda m: f"{m[1]} to ",
    ),
    (re.compile(rf"(?<![\w/.-])(?:the )?(\d{{1,2}})\s?[-–]\s?(?=\d{{1,2}} {_MONTH})"), _days),
    (re.compile(rf"\b{_MONTH} (?P<first>\d{{1,2}})\s?[-–]\s?(?P<last>\d{{1,2}})\b(?![:.]\d)"), _days_after_month),
    (re.compile(rf"\b({_SHORT_MONTH})\.?\s?[-–]\s?({_SHORT_MONTH})\b"), _months),
    (re.compile(r"\b((?:19|20)\d\d)/(\d\d)\b(?!/)"), lambda m: f"{m[1]}–{m[2]}"),
    (re.compile(r"\b(\d{1,2})\.(\d{2})(?= ?[ap]\.?m\b)"), lambda m: f"{m[1]}:{m[2]}"),
    (re.compile(r"\b(\d{1,2})\.(\d{1,2})\.([12]\d{3})\b"), _dotted),
    (
        re.compile(r"(?<=\b[Oo]n )(\d{1,2})/(\d{1,2})\b(?!/)"),
        lambda m: _date(int(m[1]), int(m[2]), None) or m[0],
    ),
    (re.compile(r"(?<=\d:\d\d)Z\b"), lambda m: " Z"),
    (
        re.compile(r"\b([12]\d{3})([-/])(\d{2})\2(\d{2})(?!\d)(?:T(?=\d))?"),
        lambda m: _iso(m) + (" " if m[0].endswith("T") else ""),
    ),
    (re.compile(r"\b(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})\b"), _slashed),
    (
        re.compile(rf"\b{_MONTH} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<year>[12]\d{{3}})\b)?(?!:)", re.IGNORECASE),
        _month_first,
    ),
    (
        re.compile(
            rf"\b(?P<the>the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? (?P<year>[12]\d{{3}})\b)?",
            re.IGNORECASE,
        ),
        _day_first,
    ),
    (
        re.compile(r"\b(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?(?= [12]\d{3}\b)"),
        lambda m: _MONTHS[_MONTH_NUMBER[m[1][:3].lower()] - 1],
    ),
    (re.compile(r"\b(Mon|Tues?|Wed|Thu(?:rs?)?|Fri)\b(?:\.|(?=,))(?=,? )"), lambda m: _DAYS[m[1].lower()]),
    (
        re.compile(
            r"(?<![\w:.])(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?"
            r"(?: ?(?P<half>[ap])\.?m\b(?P<stop>\.)?)?(?![\w:])",
            re.IGNORECASE,
        ),
        _clock,
    ),
    (
        re.compile(
            r"(?<![\w:.])(?P<hour>\d{1,2})(?P<minute>(?!))?(?P<second>(?!))? ?(?P<half>[ap])\.?m\b(?P<stop>\.)?",
            re.IGNORECASE,
        ),
        _clock,
    ),
    (re.compile(r"\b24/7\b"), lambda m: "twenty-four seven"),
)
