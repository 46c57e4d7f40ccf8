"""The data that a language needs for numbers and signs as words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Noun:
    """Something that is counted. ``few`` is its plural; ``feminine`` numbers agree with it."""

    one: str
    few: str
    feminine: bool = False


@dataclass(frozen=True, slots=True)
class Currency:
    """``minor`` is a hundredth, None where nobody counts them."""

    main: Noun
    minor: Noun | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One language. Functions take whole numbers of up to 15 digits and give words without figures."""

    cardinal: Callable[[int], str]
    counted: Callable[[int, bool], str]
    """A number before a noun; True where the noun is feminine."""
    ordinal: Callable[[int, bool], str]
    """True where the noun is feminine."""
    ordinal_mark: str
    """Pattern of what makes a number an ordinal; the group ``feminine`` matches where the noun is."""
    date: Callable[[int, int, int | None], str]
    """Day, month from 1, and year."""
    year: Callable[[int], str]
    clock: Callable[[int, int], str]
    """Hour from 0 to 24 and minute."""
    and_seconds: str
    """Format of the seconds that follow a time, with ``{}`` for the number."""
    clock_mark: str
    """Pattern between hour and minute, such as ``:``."""
    months: str
    """Pattern of the names of months before which a 1 is spoken differently; empty if there is none."""
    first_of_month: str
    decimal_mark: str
    """Sign before decimals: ``,`` or ``.``; the other one groups thousands."""
    groups_by_space: bool
    is_one: Callable[[int], bool]
    """Whether a noun stays singular after the number."""
    words: Mapping[str, str]
    """point, minus, plus, times, equals, percent, to, number, and, squared, cubed, at, dot, slash, dash, underscore."""
    currencies: Mapping[str, Currency]
    join_minor: str
    """Format of money with hundredths, with two ``{}``."""
    says_minor: bool
    """Whether hundredths are named: three dollars fifty is enough in French."""
    scales: Mapping[str, str]
    """Large numbers between a figure and a currency, by their written form."""
    of: Callable[[str], str]
    """A currency after a large number: ``de dólares``."""
    units: Mapping[str, Noun]
    feminine_noun: str
    """Pattern of feminine nouns with which a number agrees; empty where the form does not show the gender."""
    plural_noun: str
    """Pattern of nouns that may follow a number over one; empty where numbers over one never change."""
    fractions: Mapping[str, str]
    """Common fractions, by their written form: ``1/2``."""
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    """Patterns of abbreviations, and the words."""
