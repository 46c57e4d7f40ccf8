"""Spanish."""

from __future__ import annotations

import re
from typing import Final

from num2words import num2words

from serve.engines.tts.text.languages.vocabulary import Currency, Noun, Vocabulary

_MONTHS: Final = (
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()  # noqa: SIM905
)


def _cardinal(number: int) -> str:
    return str(num2words(number, lang="es"))


def _counted(number: int, feminine: bool) -> str:
    said = _cardinal(number)
    if feminine:
        said = re.sub(r"cientos\b", "cientas", said)
        return re.sub(r"uno$", "una", said)
    return re.sub(r"veintiuno$", "veintiún", re.sub(r"\buno$", "un", said))


def _ordinal(number: int, feminine: bool) -> str:
    said = str(num2words(number, lang="es", to="ordinal"))
    return re.sub(r"o\b", "a", said) if feminine else said


def _date(day: int, month: int, year: int | None) -> str:
    said = f"{_cardinal(day)} de {_MONTHS[month - 1]}"
    return said if year is None else f"{said} de {_cardinal(year)}"


def _clock(hour: int, minute: int) -> str:
    said = _counted(hour, feminine=True)
    return f"{said} y {_cardinal(minute)}" if minute else f"{said} en punto"


SPANISH: Final = Vocabulary(
    cardinal=_cardinal,
    counted=_counted,
    ordinal=_ordinal,
    ordinal_mark=r"\.?(?:[ºo°](?![\w])|(?P<feminine>ª|a(?![\w]))|er(?![\w]))",
    date=_date,
    year=_cardinal,
    clock=_clock,
    and_seconds=" y {} segundos",
    clock_mark=":",
    months="",
    first_of_month="",
    decimal_mark=",",
    groups_by_space=True,
    is_one=lambda number: number == 1,
    words={
        "point": "coma",
        "minus": "menos",
        "plus": "más",
        "times": "por",
        "equals": "igual a",
        "percent": "por ciento",
        "to": "a",
        "number": "número",
        "and": "y",
        "at": "arroba",
        "dot": "punto",
        "slash": "barra",
        "dash": "guion",
        "squared": "al cuadrado",
        "cubed": "al cubo",
        "underscore": "guion bajo",
    },
    currencies={
        "$": Currency(Noun("dólar", "dólares"), Noun("centavo", "centavos")),
        "US$": Currency(Noun("dólar", "dólares"), Noun("centavo", "centavos")),
        "€": Currency(Noun("euro", "euros"), Noun("céntimo", "céntimos")),
        "£": Currency(Noun("libra", "libras", feminine=True), Noun("penique", "peniques")),
        "¥": Currency(Noun("yen", "yenes")),
        "₹": Currency(Noun("rupia", "rupias", feminine=True), Noun("paisa", "paisas", feminine=True)),
        "R$": Currency(Noun("real", "reales"), Noun("centavo", "centavos")),
    },
    join_minor="{} con {}",
    says_minor=True,
    scales={"mil": "mil", "millón": "millón", "millones": "millones", "mil millones": "mil millones", "M": "millones"},
    of=lambda plural: f"de {plural}",
    units={
        "km/h": Noun("kilómetro por hora", "kilómetros por hora"),
        "m/s": Noun("metro por segundo", "metros por segundo"),
        "km": Noun("kilómetro", "kilómetros"),
        "m": Noun("metro", "metros"),
        "cm": Noun("centímetro", "centímetros"),
        "mm": Noun("milímetro", "milímetros"),
        "m²": Noun("metro cuadrado", "metros cuadrados"),
        "km²": Noun("kilómetro cuadrado", "kilómetros cuadrados"),
        "kg": Noun("kilo", "kilos"),
        "g": Noun("gramo", "gramos"),
        "mg": Noun("miligramo", "miligramos"),
        "l": Noun("litro", "litros"),
        "L": Noun("litro", "litros"),
        "ml": Noun("mililitro", "mililitros"),
        "h": Noun("hora", "horas", feminine=True),
        "min": Noun("minuto", "minutos"),
        "s": Noun("segundo", "segundos"),
        "°C": Noun("grado Celsius", "grados Celsius"),
        "ºC": Noun("grado Celsius", "grados Celsius"),
        "°F": Noun("grado Fahrenheit", "grados Fahrenheit"),
        "°": Noun("grado", "grados"),
        "kW": Noun("kilovatio", "kilovatios"),
        "W": Noun("vatio", "vatios"),
        "GB": Noun("gigabyte", "gigabytes"),
        "MB": Noun("megabyte", "megabytes"),
        "Hz": Noun("hercio", "hercios"),
        "kHz": Noun("kilohercio", "kilohercios"),
    },
    feminine_noun=r"\w+as?",
    plural_noun=r"\w+s",
    fractions={"1/2": "un medio", "1/3": "un tercio", "2/3": "dos tercios", "1/4": "un cuarto", "3/4": "tres cuartos"},
    abbreviations={
        r"\bSr\.": "señor",
        r"\bSra\.": "señora",
        r"\bSrta\.": "señorita",
        r"\bDr\.": "doctor",
        r"\bDra\.": "doctora",
        r"\bUds\.": "ustedes",
        r"\bUd\.": "usted",
        r"\bEE\. ?UU\.?": "Estados Unidos",
        r"\betc\.": "etcétera",
        r"\bp\. ?ej\.": "por ejemplo",
        r"\bpág\.": "página",
        r"\b[Nn]\.?[ºo°] ?(?=\d)": "número ",
        r"(?<=\d) ?a\. ?m\.": " de la mañana",
        r"(?<=\d) ?p\. ?m\.": " de la tarde",
    },
)
