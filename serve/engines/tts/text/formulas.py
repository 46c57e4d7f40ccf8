"""Signs of mathematics and chemistry in English words: powers, comparisons, roots, formulas of molecules.

These rules are applied before compatibility normalisation, which decomposes ``²`` and ``½``.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from serve.engines.tts.text.numbers import NUMBER, Rule, cardinal, ordinal
from serve.engines.tts.text.word_lists import words

_MINUS: Final = "[-−–]"
_END: Final = r"(?:\b|(?=[⁰¹²³⁴-⁹⁺⁻]))"
"""The end of a formula, perhaps with a charge behind it."""
_RAISED: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_LOWERED: Final = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_ELEMENTS: Final = words("""
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo
    Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Nd Sm Eu Gd Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po Rn Ra Th U Pu
""")
_NO_MOLECULES: Final = frozenset({"HeLa", "NaN"})
_WORDS: Final = {
    "±": " plus or minus ",
    "√": " the square root of ",
    "∞": " infinity ",
    "π": " pi ",
    "÷": " divided by ",
    "∑": " the sum of ",
    "∫": " the integral of ",
    "∂": " partial ",
    "∈": " in ",
    "→": " to ",
    "≠": " is not equal to ",
    "≤": " is at most ",
    "≥": " is at least ",
    "§": " section ",
    "№": " number ",
    "©": " copyright ",
    "‰": " per mille",
    "™": "",
    "®": "",
    "†": "",
    "‡": "",
}


def power(base: str, exponent: str) -> str:
    """``base`` to a written power: x squared, ten to the minus three."""
    count = int(exponent.translate(str.maketrans("−–", "--")))
    if count in (2, 3):
        return f"{base} {'squared' if count == 2 else 'cubed'}"
    return f"{base} to the {f'minus {cardinal(-count)}' if count < 0 else ordinal(count)}"


def _raised(match: re.Match[str]) -> str:
    """``10⁻³`` is a power, ``Fe³⁺`` a charge; ``m²`` is left to the units."""
    base, exponent = match["base"], match["raised"].translate(_RAISED)
    if exponent[-1] in "+-":
        base = " ".join(base.upper()) if base in _ELEMENTS else base
        return f"{base} {exponent[:-1]} {'plus' if exponent[-1] == '+' else 'minus'}"
    return power(base, exponent)


def _molecule(match: re.Match[str]) -> str:
    """``CO2`` is C O two, where all parts are chemical elements; anything else is left as it is."""
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", match[0])
    if match[0] in _NO_MOLECULES or not all(symbol in _ELEMENTS for symbol, _ in parts):
        return match[0]
    return " ".join(f"{' '.join(symbol.upper())} {count}".strip() for symbol, count in parts)


def _vulgar_fraction(match: re.Match[str]) -> str:
    """``7⅞`` is written 7 7/8."""
    top, _, bottom = unicodedata.normalize("NFKC", match["sign"]).partition("⁄")
    return f"{match['whole'] + ' ' if match['whole'] else ''}{top}/{bottom}"


RULES: Final[tuple[Rule, ...]] = (
    (re.compile("(?P<whole>\\d?)\\s?(?P<sign>[¼-¾⅐-⅞])"), _vulgar_fraction),
    (re.compile("[₀-₉]+"), lambda m: m[0].translate(_LOWERED)),
    (re.compile(rf"\b(?:[A-Z][a-z]?\d*){{2,}}(?<=\d){_END}|\b(?:[A-Z][a-z]?\d+)+[A-Z][a-z]?{_END}"), _molecule),
    (re.compile(r"\b(?=[A-Z]*[a-z])(?:[A-Z][a-z]?){2,}\b"), _molecule),
    (
        re.compile(r"(?P<base>(?<![A-Za-z])[A-Za-z]|\b[A-Z][a-z]|\d+|\))(?P<raised>(?!(?<=m)[²³])[⁻⁺]?[⁰¹²³⁴-⁹]+[⁺⁻]?)"),
        _raised,
    ),
    (re.compile(r"(?<![A-Za-z]m)(?<![A-Za-z]{2})(\w+|\))\^[({]?([-−+]?\d{1,6})[)}]?"), lambda m: power(m[1], m[2])),
    (re.compile(r"\b(\w+)\^([a-z])\b"), lambda m: f"{m[1]} to the {m[2]}"),
    (
        re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-−+]?\d{1,3})\b"),
        lambda m: f"{m[1]} times {power('10', m[2])}",
    ),
    (re.compile(r"(?<![\w)])(?<![\w)] )(?:≤|<=)\s?(?=[$£€¥₹.]?\d)"), lambda m: "at most "),
    (re.compile(r"(?<![\w)])(?<![\w)] )(?:≥|>=)\s?(?=[$£€¥₹.]?\d)"), lambda m: "at least "),
    (re.compile(r"(?<=[\w)])\s*(?:<=|=<)\s*(?=[\w($.-])"), lambda m: " ≤ "),
    (re.compile(r"(?<=[\w)])\s*>=\s*(?=[\w($.-])"), lambda m: " ≥ "),
    (re.compile(r"(?<=[\w)])\s*!=\s*(?=[\w($.-])"), lambda m: " ≠ "),
    (re.compile(r"(?<=[\w)])\s*(?:-|=)>\s*(?=\w)"), lambda m: " → "),
    (re.compile(r"(?<=[\w)])\s*<\s*(?=[\w($.-])"), lambda m: " is less than "),
    (re.compile(r"(?<=[\w)])\s*>\s*(?=[\w($.-])"), lambda m: " is greater than "),
    (re.compile(r"(?<!\S)<\s?(?=[$£€]?\d)"), lambda m: "less than "),
    (re.compile(r"(?<!\S)>\s?(?=[$£€]?\d)"), lambda m: "more than "),
    (re.compile(r"(?<=[\w)])\s*≈\s*(?=[\w($.-])"), lambda m: " is about "),
    (re.compile(rf"(?<=\d)\s?[*×]\s(?={NUMBER})|(?<=\d)\s?\*\s?(?={NUMBER})"), lambda m: " times "),
    (re.compile(rf"({NUMBER})\s?{_MINUS}\s?({NUMBER})(?=\s*=)"), lambda m: f"{m[1]} minus {m[2]}"),
    # A letter less a number, the sign of a letter, and the sign that is no hyphen.
    (re.compile(r"(?<![\w'])([b-hj-z]) [-−–] (?=\d|[b-z]\b)"), lambda m: f"{m[1]} minus "),
    (re.compile(r"(?<=[=(+*/×÷<>^] )[-−](?=[a-z]\b)|(?<=\()[-−](?=[a-z]\b)"), lambda m: "minus "),
    (re.compile(r"\s*−\s*"), lambda m: " minus "),
    (re.compile(r"\b([A-F])-(?![\w-])"), lambda m: f"{m[1]} minus"),
    (re.compile(r"(\d)x(?=\s*[-+=*/^)])"), lambda m: f"{m[1]} x"),
    # A minus sign: what precedes it is neither the start of a range nor of a compound word.
    (re.compile(rf"(?<![\w.)\]%$£€¥₹]){_MINUS}(?=[$£€¥₹]?\.?\d)"), lambda m: "minus "),
    (re.compile(r"([$£€¥₹])[-−](?=\d)"), lambda m: f"minus {m[1]}"),
    (re.compile(r"[nN][°º]\s?(?=\d)"), lambda m: "number "),
    (re.compile("|".join(_WORDS)), lambda m: _WORDS[m[0]]),
)
"""Rules for the raw text."""
