"""Notations in English that other rules would misread: decimal commas, coordinates, musical keys, arrows, Greek letters.

Like those of `formulas`, these rules are applied to the raw text, and before them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from serve.engines.tts.text.numbers import Rule, cardinal, digits

_POINTS: Final = {"N": "north", "S": "south", "E": "east", "W": "west"}
_ARROWS: Final = {"←": " ", "↑": " up ", "↓": " down ", "↔": " to and from "}
_LINES: Final = "240|360|480|540|720|1080|1440|2160|4320"
"""Heights of video, which are read in pairs: ten eighty."""
_NOT_THOUSANDS: Final = "race|run|walk|swim|marathon|video|film|display|monitor|screen|TV"
"""What kilometres or pixels are named of, as in "10K race"."""
_SIGN: Final = "[$£€¥₹]"
_DECIMAL_COMMA: Final = r"\d{1,3}(?:\.\d{3})*,\d{2}"
_GREEK: Final = "\u0370-\u03ff\u1f00-\u1fff"


def _with_point(match: re.Match[str]) -> str:
    """``1.000,50`` is written 1,000.50."""
    whole, _, cents = match["amount"].rpartition(",")
    return (match["before"] or "") + whole.replace(".", ",") + "." + cents


def _coordinate(match: re.Match[str]) -> str:
    minutes = f" {match['minutes']} minutes" if match["minutes"] else ""
    seconds = f" {match['seconds']} seconds" if match["seconds"] else ""
    return f"{match['degrees']} degrees{minutes}{seconds} {_POINTS[match['point']]}"


def _greek_letter(match: re.Match[str]) -> str:
    name = unicodedata.name(match[0].replace("∆", "Δ"), "").split()
    return f" {name[-1].lower()} " if "LETTER" in name else match[0]


def _pairs(match: re.Match[str]) -> str:
    lines = match["lines"]
    first, last = cardinal(int(lines[:-2])), cardinal(int(lines[-2:])) if lines[-2:] != "00" else "hundred"
    return f"{first} {last} {match['scan'].upper()}"


RULES: Final[tuple[Rule, ...]] = (
    (re.compile(rf"(?P<before>{_SIGN} ?)(?P<amount>{_DECIMAL_COMMA})(?![\d.]|,\d)"), _with_point),
    (re.compile(rf"(?<![\d.,])(?P<before>)(?P<amount>{_DECIMAL_COMMA})(?= ?(?:{_SIGN}|EUR|CHF))"), _with_point),
    (re.compile(rf"({_SIGN} ?[\d.,]*\d ?[kKmMbn]{{0,2}}|\d ?{_SIGN})/(?=[A-Za-z])"), lambda m: f"{m[1]} per "),
    (
        re.compile(
            r"(?P<degrees>\d{1,3}(?:\.\d+)?)\s?°\s?(?:(?P<minutes>\d{1,2}(?:\.\d+)?)\s?['′’]\s?)?"
            r"(?:(?P<seconds>\d{1,2}(?:\.\d+)?)\s?(?:[\"″”]|'')\s?)?(?P<point>[NSEW])\b"
        ),
        _coordinate,
    ),
    (re.compile(rf"\b(?P<lines>{_LINES})(?P<scan>[pi])\b"), _pairs),
    (re.compile(rf"\b(\d+)[kK](?= (?:{_NOT_THOUSANDS})\b)"), lambda m: f"{m[1]} K"),
    (re.compile(r"\b([ACDFG])#(?![\w#])"), lambda m: f"{m[1]} sharp"),
    (re.compile(r"(?<![\w.])\.(?=(?:NET|com|org|net|io)\b)"), lambda m: "dot "),
    (re.compile(r"\btel:\s?(?=[+\d])", re.IGNORECASE), lambda m: "telephone "),
    (re.compile(r"\b0x([0-9A-Fa-f]+)\b"), lambda m: "hex " + " ".join(digits(c) or c.upper() for c in m[1])),
    (re.compile(r"\b([fgh])\((\w{1,2})\)"), lambda m: f"{m[1]} of {m[2]}"),
    (re.compile(r"\b9/11\b"), lambda m: "nine eleven"),
    (re.compile(r"(?<!\S)#+(?!\S)"), lambda m: ""),
    (re.compile(r"^\s*→\s*(?=\S)"), lambda m: ""),
    (re.compile("|".join(_ARROWS)), lambda m: _ARROWS[m[0]]),
    (re.compile(rf"(?<!\d)(?<!\d )(?<![{_GREEK}])[Α-Ωα-ρσ-ω∆](?![{_GREEK}])"), _greek_letter),
)
