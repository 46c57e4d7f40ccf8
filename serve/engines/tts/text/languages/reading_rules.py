"""Normalisation rules made from a language's vocabulary. Specific rules run before general ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from serve.engines.tts.text.languages.vocabulary import Noun, Vocabulary
from serve.engines.tts.text.numbers import Rule

_LONGEST_CARDINAL: Final = 15
_SIGNS: Final = {".": "dot", "-": "dash", "_": "underscore", "/": "slash", "@": "at", "+": "plus"}
_FRACTION_SIGNS: Final = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4"}


class Speller:
    """Converts matches to words, with a vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.v = vocabulary
        other = "." if vocabulary.decimal_mark == "," else ","
        groups = f"[{re.escape(other)} ]" if vocabulary.groups_by_space else re.escape(other)
        self._grouped = re.compile(rf"\d{{1,3}}(?:{groups}\d{{2,3}})*{groups}\d{{3}}")
        self.number = rf"(?:{self._grouped.pattern}(?:{re.escape(vocabulary.decimal_mark)}\d+)?|\d+(?:[.,]\d+)?)"

    def parsed(self, written: str) -> tuple[str, str]:
        """Digits before and after the decimal mark."""
        whole = self._grouped.match(written)
        if whole and (whole.end() == len(written) or written[whole.end()] == self.v.decimal_mark):
            return re.sub(r"\D", "", whole.group()), written[whole.end() + 1 :]
        before, _, after = written.replace(",", ".").partition(".")
        return before, after

    def whole(self, digits: str, noun: Noun | None = None) -> str:
        if len(digits) > _LONGEST_CARDINAL or (len(digits) > 1 and digits.startswith("0")):
            return self.digits(digits)
        return self.v.counted(int(digits), noun.feminine) if noun else self.v.cardinal(int(digits))

    def digits(self, text: str) -> str:
        return " ".join(self.v.cardinal(int(c)) for c in text if c.isdigit())

    def spoken(self, written: str, noun: Noun | None = None) -> str:
        """A number; decimals of up to two digits are said as a number, longer ones digit by digit."""
        before, after = self.parsed(written)
        if not after:
            return self.whole(before, noun)
        is_number = len(after) <= 2 and not after.startswith("0") and self.v.decimal_mark == ","
        decimals = self.v.cardinal(int(after)) if is_number else self.digits(after)
        return f"{self.whole(before)} {self.v.words['point']} {decimals}"

    def counted(self, written: str, noun: Noun) -> str:
        """A number with what is counted."""
        before, after = self.parsed(written)
        is_one = self.v.is_one(int(before)) and not after
        return f"{self.spoken(written, noun)} {noun.one if is_one else noun.few}"

    def money(self, match: re.Match[str]) -> str:
        currency = self.v.currencies[match["sign"]]
        written, scale = match["amount"], match["scale"]
        if scale:
            return f"{self.spoken(written)} {self.v.scales[scale]} {self.v.of(currency.main.few)}"
        before, after = self.parsed(written)
        if not after.strip("0"):
            return self.counted(before, currency.main)
        if len(after) != 2 or currency.minor is None:
            return self.counted(written, currency.main)
        minor = self.counted(after.lstrip("0"), currency.minor) if self.v.says_minor else self.v.cardinal(int(after))
        return minor if not int(before) else self.v.join_minor.format(self.counted(before, currency.main), minor)

    def numeric_date(self, match: re.Match[str]) -> str:
        day, month, year = int(match["day"]), int(match["month"]), match["year"]
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return match[0]
        century = 0 if len(year) == 4 else 2000 if int(year) < 50 else 1900
        return self.v.date(day, month, century + int(year))

    def time(self, match: re.Match[str]) -> str:
        hour, minute = int(match["hour"]), int(match["minute"] or 0)
        if hour > 24 or minute > 59:
            return match[0]
        seconds = match["second"]
        return self.v.clock(hour, minute) + (self.v.and_seconds.format(self.v.cardinal(int(seconds))) if seconds else "")

    def before_noun(self, match: re.Match[str]) -> str:
        """A number before a noun that is written out."""
        number, noun = int(match["amount"]), match["noun"]
        is_noun = number == 1 or bool(self.v.plural_noun and re.fullmatch(self.v.plural_noun, noun))
        if not is_noun:
            return match[0]
        is_feminine = bool(self.v.feminine_noun and re.fullmatch(self.v.feminine_noun, noun))
        return f"{self.v.counted(number, is_feminine)} {noun}"

    def measure(self, match: re.Match[str]) -> str:
        return self.counted(match["amount"], self.v.units[match["unit"]])

    def fraction(self, match: re.Match[str]) -> str:
        written = match["fraction"]
        said = self.v.fractions.get(written)
        top, _, bottom = written.partition("/")
        said = said or f"{self.v.cardinal(int(top))} {self.v.words['slash']} {self.v.cardinal(int(bottom))}"
        return f"{self.v.cardinal(int(match['whole']))} {self.v.words['and']} {said}" if match["whole"] else said

    def address(self, match: re.Match[str]) -> str:
        written = match[0]
        ending = re.search(r"[.,;:!?)]+$", written)
        tail = ending.group() if ending else ""
        bare = re.sub(r"^https?://", "", written.removesuffix(tail)).rstrip("/")
        return "".join(f" {self.v.words[_SIGNS[c]]} " if c in _SIGNS else c for c in bare) + tail


def rules_of(vocabulary: Vocabulary) -> tuple[Rule, ...]:
    """Patterns in order, and what each match becomes."""
    s, v, words = Speller(vocabulary), vocabulary, vocabulary.words
    number = s.number
    signs, scales, units = (_any(table) for table in (v.currencies, v.scales, v.units))
    scale = rf"(?: ?(?P<scale>{scales})(?![^\W\d_])(?: (?:de|di|d')(?=\W))?)?"
    date = r"(?P<day>\d{1,2})(?P<mark>[/.-])(?P<month>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})"
    start, end = r"(?<![\w.,])", r"(?![\w]|[.,]\d)"
    found: list[tuple[str, Callable[[re.Match[str]], str]]] = [
        (r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b", s.address),
        (r"\bhttps?://\S+|(?<![\w.@])(?:www\.)[\w-]+(?:\.[\w-]+)+(?:/\S*)?", s.address),
        *((pattern, partial(_expanded, said)) for pattern, said in v.abbreviations.items()),
        (r"\b(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?!\d)", s.numeric_date),
        (rf"{start}{date}{end}", s.numeric_date),
        (
            rf"{start}(?P<hour>\d{{1,2}}){v.clock_mark}(?P<minute>\d{{2}})(?::(?P<second>\d{{2}}))?(?: ?h\b)?{end}",
            s.time,
        ),
        (rf"(?P<sign>{signs}) ?(?P<amount>{number}){scale}", s.money),
        (rf"{start}(?P<amount>{number}){scale} ?(?P<sign>{signs})(?!\w)", s.money),
        (r"(?<=\d)\s?(?P<sign>[½⅓⅔¼¾])", lambda m: " " + _FRACTION_SIGNS[m["sign"]]),
        (r"[½⅓⅔¼¾]", lambda m: _FRACTION_SIGNS[m[0]]),
        (rf"(?<![\w-])(?P<from>{number})\s?[-–]\s?(?={number}(?![\w-]))", lambda m: f"{m['from']} {words['to']} "),
        (rf"(?<![\w.)])[-−](?={number})", lambda m: f"{words['minus']} "),
        # "Nel 2006 l'Italia" holds no litres.
        (rf"{start}(?P<amount>{number}) ?(?P<unit>{units})(?![\w/]|['’]\w)", s.measure),
        (rf"(?P<amount>{number}) ?%", lambda m: f"{s.spoken(m['amount'])} {words['percent']}"),
        (
            rf"{start}(?P<amount>\d{{1,4}}){v.ordinal_mark}",
            lambda m: v.ordinal(int(m["amount"]), bool(m.groupdict().get("feminine"))),
        ),
        (r"(?<![\w/.])(?:(?P<whole>\d+) )?(?P<fraction>\d{1,2}/\d{1,2})(?![\w/])", s.fraction),
        (r"#\s?(?=\d)", lambda m: f"{words['number']} "),
        (r"(?<![\d.,])(1[1-9]\d\d|20\d\d)(?![\d]|[.,]\d)", lambda m: v.year(int(m[1]))),
        (r"(?<=\d)\s?[x×]\s?(?=\d)", lambda m: f" {words['times']} "),
        (r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", lambda m: " "),
        (rf"{start}(?P<amount>[1-9]\d{{0,11}}) (?P<noun>[^\W\d_]{{3,}})", s.before_noun),
        (number, lambda m: s.spoken(m[0])),
        (r"\d", lambda m: f" {v.cardinal(int(m[0]))} "),
        (r"\s?&\s?", lambda m: f" {words['and']} "),
        (r"\s?\+\s?", lambda m: f" {words['plus']} "),
        (r"\s?=\s?", lambda m: f" {words['equals']} "),
        (r"(?<!\w)@(?=\w)|@", lambda m: f" {words['at']} "),
        (r"%", lambda m: f" {words['percent']}"),
        ("²", lambda m: f" {words['squared']}"),
        ("³", lambda m: f" {words['cubed']}"),
        (r"[«»„]", lambda m: " "),
        (r"#", lambda m: " "),
    ]
    if v.months:
        found.insert(5, (rf"(?<![\w./])1(?= (?:{v.months}))", lambda m: v.first_of_month))
    return tuple((re.compile(pattern), said) for pattern, said in found)


def _any(table: Iterable[str]) -> str:
    """Pattern of any of the keys, the longest first."""
    return "|".join(re.escape(one) for one in sorted(table, key=len, reverse=True))


def _expanded(said: str, match: re.Match[str]) -> str:
    return match.expand(said)
