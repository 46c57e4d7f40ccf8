"""E-mail addresses, web addresses, abbreviations, acronyms and symbols as words."""

from __future__ import annotations

import re
from typing import Final

from serve.engines.tts.text.numbers import Rule, digits
from serve.engines.tts.text.word_lists import SAID_AS_WORDS, SPELLED_OUT, STRESSED

_SIGNS: Final = {".": "dot", "-": "dash", "_": "underscore", "+": "plus", "/": "slash", ":": "colon", "@": "at"}
_SIGNS_OF_QUERIES: Final = {"?": "question mark", "=": "equals", "&": "and", "#": "hash", "%": "percent", "~": "tilde"}

_ABBREVIATIONS: Final = {
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Dr": "Doctor",
    "Prof": "Professor",
    "Rev": "Reverend",
    "Hon": "Honourable",
    "Capt": "Captain",
    "Col": "Colonel",
    "Gen": "General",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Maj": "Major",
    "Sen": "Senator",
    "Rep": "Representative",
    "Gov": "Governor",
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Co": "Company",
    "Corp": "Corporation",
    "Bros": "Brothers",
    "Ave": "Avenue",
    "Blvd": "Boulevard",
    "Rd": "Road",
    "Mt": "Mount",
    "Ft": "Fort",
    "Dept": "Department",
    "dept": "department",
    "etc": "et cetera",
    "vs": "versus",
    "approx": "approximately",
    "est": "established",
    "fig": "figure",
    "Fig": "Figure",
    "vol": "volume",
    "Vol": "Volume",
    "viz": "namely",
    "cf": "compare",
    "al": "al",
    "pp": "pages",
    "misc": "miscellaneous",
    "min": "minimum",
    "max": "maximum",
    "tel": "telephone",
    "Tel": "Telephone",
}
_ABBREVIATION: Final = re.compile(rf"\b({'|'.join(_ABBREVIATIONS)})\.(?!\w)")

_SPEAKABLE: Final = re.compile(
    "(?:[BCFGKP]?L|[BCDFGKPTW]?R|[CPSTWG]?H|KN|QU|S[CKMNPTW]|TW|STR|SCR|SHR|THR|[BCDFGJKLMNPRSTVWXYZ])?"
    "(?:[AEIOUY]{1,2}(?:RST|GHT|TCH|NG[TS]H?|NTS|NKS|NDS|[^AEIOUY]{1,2}))*[AEIOUY]{0,2}"
)


def spelled(address: str) -> str:
    """An address as words: ``ann.lee@example.org`` is ann dot lee at example dot org."""
    said = "".join(
        f" {_SIGNS.get(c) or _SIGNS_OF_QUERIES[c]} " if c in _SIGNS or c in _SIGNS_OF_QUERIES else c for c in address
    )
    return " ".join(_label(label) for label in said.split())


def _label(label: str) -> str:
    """One label of an address: digits, and letters that make no word, are spelled."""
    pieces = re.findall(r"[A-Za-z]+|\d|[^A-Za-z\d]+", label)
    return " ".join(digits(p) if p.isdigit() else _letters(p) if _is_unspeakable(p) else p for p in pieces)


def _is_unspeakable(piece: str) -> bool:
    return piece.isascii() and piece.isalpha() and len(piece) > 1 and not re.search("[aeiouy]", piece, re.IGNORECASE)


def _letters(word: str) -> str:
    return " ".join(word.upper())


def _url(match: re.Match[str]) -> str:
    address = match["host"] + (match["path"] or "")
    ending = re.search(r"[.,;:!?)'\"]+$", address)
    tail = ending.group() if ending else ""
    return spelled(address.removesuffix(tail).rstrip("/")) + tail


def _dotted(match: re.Match[str]) -> str:
    """``U.S.A.`` is U S A; its last full stop may also end the sentence."""
    ends = match[0].endswith(".") and not match.string[match.end() :].strip()
    return _letters(match[0].replace(".", "")) + ("." if ends else "")


def _acronym(match: re.Match[str]) -> str:
    word, plural_ending = match["caps"], match["plural"] or ""
    if word in SAID_AS_WORDS or word.lower() in STRESSED:
        return word.lower() + plural_ending
    # Four and more letters that can be pronounced are a word in capitals, or an acronym like UNESCO.
    if len(word) > 3 and word not in SPELLED_OUT and _SPEAKABLE.fullmatch(word):
        return match[0].lower()
    return _letters(word) + ("'s" if plural_ending else "")


RULES: Final[tuple[Rule, ...]] = (
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), lambda m: spelled(m[0])),
    (re.compile(r"\b(?:https?://)(?P<host>[\w.-]+(?::\d+)?)(?P<path>/\S*)?"), _url),
    (
        re.compile(
            r"(?<![\w.@])(?P<host>(?:www\.)?(?:[\w-]+\.)+(?:com|org|net|edu|gov|io|ai|dev|co\.uk|uk|de|eu))\b(?P<path>/\S*)?"
        ),
        _url,
    ),
    (re.compile(r"\be\.g\.,?"), lambda m: "for example,"),
    (re.compile(r"\bi\.e\.,?"), lambda m: "that is,"),
    (re.compile(r"\bNos?\. ?(?=\d)"), lambda m: "number "),
    (re.compile(r"\bp\. ?(?=\d)"), lambda m: "page "),
    (re.compile(r"(?<=\w )St(?:\.(?=\s+[a-z])|\.?(?=[,;]))"), lambda m: "Street"),
    (re.compile(r"(?<=\w )St\.?$"), lambda m: "Street."),
    (re.compile(r"\bSt\. (?=[A-Z])"), lambda m: "Saint "),
    (re.compile(r"\bw/o\b"), lambda m: "without"),
    (re.compile(r"\bw/ ?"), lambda m: "with "),
    (
        _ABBREVIATION,
        lambda m: _ABBREVIATIONS[m[1]] + ("." if not m.string[m.end() :].strip() else ""),
    ),
    (re.compile(r"\b(?:[A-Za-z]\.){2,}(?!\w)"), _dotted),
    (re.compile(r"\b([A-Z]{1,3}) ?& ?([A-Z]{1,2})\b"), lambda m: f"{_letters(m[1])} and {_letters(m[2])}"),
    (re.compile(r"\b(?P<caps>[A-Z]{2,})(?P<plural>'?s)?\b"), _acronym),
    (re.compile(r"\bPh\.?D\b\.?"), lambda m: "P H D"),
    (re.compile(r"(?<=\w)&(?=\w)|&+"), lambda m: " and "),
    (re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])"), lambda m: " "),
    (re.compile(r"(?<!\w)@(?=\w)|@"), lambda m: " at "),
    (re.compile(r"\s?=\s?"), lambda m: " equals "),
    (re.compile(r"(?<=\w)\++(?=[^\w+]|$)"), lambda m: " plus" * len(m[0])),
    (re.compile(r"\s?\+\s?"), lambda m: " plus "),
    (re.compile(r"~\s?(?=\d)|≈\s?"), lambda m: "about "),
    (re.compile(r"\s?×\s?"), lambda m: " times "),
    (re.compile(r"%"), lambda m: " percent"),
    (re.compile("²"), lambda m: " squared"),
    (re.compile("³"), lambda m: " cubed"),
    (re.compile(r"#(?=[A-Za-z])"), lambda m: "hashtag "),
)
