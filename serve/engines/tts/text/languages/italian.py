"""Italian."""

from __future__ import annotations

import re
from typing import Final

from num2words import num2words

from serve.engines.tts.text.languages.vocabulary import Currency, Noun, Vocabulary

_MONTHS: Final = (
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre".split()  # noqa: SIM905
)


def _cardinal(number: int) -> str:
    return str(num2words(number, lang="it"))


def _counted(number: int, feminine: bool) -> str:
    if number == 1:
        return "una" if feminine else "un"
    return _cardinal(number)


def _ordinal(number: int, feminine: bool) -> str:
    said = str(num2words(number, lang="it", to="ordinal"))
    return re.sub(r"o$", "a", said) if feminine else said


def _date(day: int, month: int, year: int | None) -> str:
    said = f"{'primo' if day == 1 else _cardinal(day)} {_MONTHS[month - 1]}"
    return said if year is None else f"{said} {_cardinal(year)}"


def _clock(hour: int, minute: int) -> str:
    said = "una" if hour == 1 else _cardinal(hour)
    return f"{said} e {_cardinal(minute)}" if minute else said


ITALIAN: Final = Vocabulary(
    cardinal=_cardinal,
    counted=_counted,
    ordinal=_ordinal,
    ordinal_mark=r"(?:[º°]|(?P<feminine>ª))(?!\w)",
    date=_date,
    year=_cardinal,
    clock=_clock,
    and_seconds=" e {} secondi",
    clock_mark=":",
    months="|".join(_MONTHS),
    first_of_month="primo",
    decimal_mark=",",
    groups_by_space=False,
    is_one=lambda number: number == 1,
    words={
        "point": "virgola",
        "minus": "meno",
        "plus": "più",
        "times": "per",
        "equals": "uguale a",
        "percent": "per cento",
        "to": "a",
        "number": "numero",
        "and": "e",
        "at": "chiocciola",
        "dot": "punto",
        "slash": "barra",
        "dash": "trattino",
        "squared": "al quadrato",
        "cubed": "al cubo",
        "underscore": "trattino basso",
    },
    currencies={
        "$": Currency(Noun("dollaro", "dollari"), Noun("centesimo", "centesimi")),
        "€": Currency(Noun("euro", "euro"), Noun("centesimo", "centesimi")),
        "£": Currency(Noun("sterlina", "sterline", feminine=True), Noun("penny", "pence")),
        "¥": Currency(Noun("yen", "yen")),
        "₹": Currency(Noun("rupia", "rupie", feminine=True), Noun("paisa", "paise")),
    },
    join_minor="{} e {}",
    says_minor=True,
    scales={
        "mila": "mila",
        "milione": "milione",
        "milioni": "milioni",
        "miliardo": "miliardo",
        "miliardi": "miliardi",
        "M": "milioni",
    },
    of=lambda plural: f"di {plural}",
    units={
        "km/h": Noun("chilometro all'ora", "chilometri all'ora"),
        "m/s": Noun("metro al secondo", "metri al secondo"),
        "km": Noun("chilometro", "chilometri"),
        "m": Noun("metro", "metri"),
        "cm": Noun("centimetro", "centimetri"),
        "mm": Noun("millimetro", "millimetri"),
        "m²": Noun("metro quadrato", "metri quadrati"),
        "mq": Noun("metro quadrato", "metri quadrati"),
        "km²": Noun("chilometro quadrato", "chilometri quadrati"),
        "kg": Noun("chilo", "chili"),
        "g": Noun("grammo", "grammi"),
        "mg": Noun("milligrammo", "milligrammi"),
        "l": Noun("litro", "litri"),
        "L": Noun("litro", "litri"),
        "ml": Noun("millilitro", "millilitri"),
        "h": Noun("ora", "ore", feminine=True),
        "min": Noun("minuto", "minuti"),
        "s": Noun("secondo", "secondi"),
        "°C": Noun("grado Celsius", "gradi Celsius"),
        "ºC": Noun("grado Celsius", "gradi Celsius"),
        "°F": Noun("grado Fahrenheit", "gradi Fahrenheit"),
        "kW": Noun("chilowatt", "chilowatt"),
        "W": Noun("watt", "watt"),
        "GB": Noun("gigabyte", "gigabyte"),
        "MB": Noun("megabyte", "megabyte"),
        "Hz": Noun("hertz", "hertz"),
        "kHz": Noun("chilohertz", "chilohertz"),
    },
    feminine_noun=r"\w+a",
    plural_noun="",
    fractions={"1/2": "un mezzo", "1/3": "un terzo", "2/3": "due terzi", "1/4": "un quarto", "3/4": "tre quarti"},
    abbreviations={
        r"\bSig\.ra": "signora",
        r"\bSig\.na": "signorina",
        r"\bSig\.": "signor",
        r"\bDott\.ssa": "dottoressa",
        r"\bDott\.": "dottor",
        r"\bDr\.": "dottor",
        r"\bProf\.ssa": "professoressa",
        r"\bProf\.": "professor",
        r"\bIng\.": "ingegner",
        r"\bAvv\.": "avvocato",
        r"\becc\.": "eccetera",
        r"\bp\. ?es\.": "per esempio",
        r"\bpag\.": "pagina",
        r"\b[Nn]\.?[°º]? ?(?=\d)": "numero ",
    },
)
