"""French."""

from __future__ import annotations

import re
from typing import Final

from num2words import num2words

from serve.engines.tts.text.languages.vocabulary import Currency, Noun, Vocabulary

_MONTHS: Final = (
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()  # noqa: SIM905
)


def _cardinal(number: int) -> str:
    return str(num2words(number, lang="fr"))


def _counted(number: int, feminine: bool) -> str:
    said = _cardinal(number)
    return re.sub(r"\bun$", "une", said) if feminine else said


def _ordinal(number: int, feminine: bool) -> str:
    if number == 1:
        return "première" if feminine else "premier"
    return str(num2words(number, lang="fr", to="ordinal"))


def _date(day: int, month: int, year: int | None) -> str:
    said = f"{'premier' if day == 1 else _cardinal(day)} {_MONTHS[month - 1]}"
    return said if year is None else f"{said} {_cardinal(year)}"


def _clock(hour: int, minute: int) -> str:
    said = f"{_counted(hour, feminine=True)} heure{'s' if hour > 1 else ''}"
    return f"{said} {_cardinal(minute)}" if minute else said


def _of(plural: str) -> str:
    return f"d'{plural}" if plural[0] in "aeiouyé" else f"de {plural}"


FRENCH: Final = Vocabulary(
    cardinal=_cardinal,
    counted=_counted,
    ordinal=_ordinal,
    ordinal_mark=r"(?:er(?!\w)|(?P<feminine>[rR]e(?!\w))|i?[eè](?:me)?(?!\w))",
    date=_date,
    year=_cardinal,
    clock=_clock,
    and_seconds=" {} secondes",
    clock_mark="(?::| ?h ?)",
    months="|".join(_MONTHS),
    first_of_month="premier",
    decimal_mark=",",
    groups_by_space=True,
    is_one=lambda number: number < 2,
    words={
        "point": "virgule",
        "minus": "moins",
        "plus": "plus",
        "times": "fois",
        "equals": "égale",
        "percent": "pour cent",
        "to": "à",
        "number": "numéro",
        "and": "et",
        "at": "arobase",
        "dot": "point",
        "slash": "barre oblique",
        "dash": "tiret",
        "squared": "au carré",
        "cubed": "au cube",
        "underscore": "tiret bas",
    },
    currencies={
        "$": Currency(Noun("dollar", "dollars"), Noun("cent", "cents")),
        "€": Currency(Noun("euro", "euros"), Noun("centime", "centimes")),
        "£": Currency(Noun("livre", "livres", feminine=True), Noun("penny", "pence")),
        "¥": Currency(Noun("yen", "yens")),
        "₹": Currency(Noun("roupie", "roupies", feminine=True), Noun("paisa", "paisas")),
    },
    join_minor="{} {}",
    says_minor=False,
    scales={
        "mille": "mille",
        "million": "million",
        "millions": "millions",
        "milliard": "milliard",
        "milliards": "milliards",
        "M": "millions",
        "Md": "milliards",
    },
    of=_of,
    units={
        "km/h": Noun("kilomètre-heure", "kilomètres-heure"),
        "m/s": Noun("mètre par seconde", "mètres par seconde"),
        "km": Noun("kilomètre", "kilomètres"),
        "m": Noun("mètre", "mètres"),
        "cm": Noun("centimètre", "centimètres"),
        "mm": Noun("millimètre", "millimètres"),
        "m²": Noun("mètre carré", "mètres carrés"),
        "km²": Noun("kilomètre carré", "kilomètres carrés"),
        "kg": Noun("kilo", "kilos"),
        "g": Noun("gramme", "grammes"),
        "mg": Noun("milligramme", "milligrammes"),
        "l": Noun("litre", "litres"),
        "L": Noun("litre", "litres"),
        "ml": Noun("millilitre", "millilitres"),
        "h": Noun("heure", "heures", feminine=True),
        "min": Noun("minute", "minutes", feminine=True),
        "s": Noun("seconde", "secondes", feminine=True),
        "°C": Noun("degré Celsius", "degrés Celsius"),
        "ºC": Noun("degré Celsius", "degrés Celsius"),
        "°F": Noun("degré Fahrenheit", "degrés Fahrenheit"),
        "°": Noun("degré", "degrés"),
        "kW": Noun("kilowatt", "kilowatts"),
        "W": Noun("watt", "watts"),
        "Go": Noun("gigaoctet", "gigaoctets"),
        "Mo": Noun("mégaoctet", "mégaoctets"),
        "GB": Noun("gigaoctet", "gigaoctets"),
        "MB": Noun("mégaoctet", "mégaoctets"),
        "Hz": Noun("hertz", "hertz"),
        "kHz": Noun("kilohertz", "kilohertz"),
    },
    feminine_noun="",
    plural_noun="",
    fractions={"1/2": "un demi", "1/3": "un tiers", "2/3": "deux tiers", "1/4": "un quart", "3/4": "trois quarts"},
    abbreviations={
        r"\bM\. (?=[A-ZÀ-Ý])": "monsieur ",
        r"\bMM\. (?=[A-ZÀ-Ý])": "messieurs ",
        r"\bMme\b\.?": "madame",
        r"\bMlle\b\.?": "mademoiselle",
        r"\bDr\b\.?": "docteur",
        r"\bSte\b": "sainte",
        r"\bSt\b": "saint",
        r"\betc\.": "et cetera",
        r"\bp\. ?ex\.": "par exemple",
        r"\b[Nn][°º] ?(?=\d)": "numéro ",
    },
)
