"""Brazilian Portuguese."""

from __future__ import annotations

import re
from typing import Final

from num2words import num2words

from serve.engines.tts.text.languages.vocabulary import Currency, Noun, Vocabulary

_MONTHS: Final = (
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro".split()  # noqa: SIM905
)


def _cardinal(number: int) -> str:
    return str(num2words(number, lang="pt_BR")).replace(",", "")


def _counted(number: int, feminine: bool) -> str:
    said = _cardinal(number)
    if not feminine:
        return said
    said = re.sub(r"(zen|cen)tos\b", r"\1tas", said)
    return re.sub(r"\bdois$", "duas", re.sub(r"\bum$", "uma", said))


def _ordinal(number: int, feminine: bool) -> str:
    said = str(num2words(number, lang="pt_BR", to="ordinal"))
    return re.sub(r"o\b", "a", said) if feminine else said


def _date(day: int, month: int, year: int | None) -> str:
    said = f"{'primeiro' if day == 1 else _cardinal(day)} de {_MONTHS[month - 1]}"
    return said if year is None else f"{said} de {_cardinal(year)}"


def _clock(hour: int, minute: int) -> str:
    said = _counted(hour, feminine=True)
    return f"{said} e {_cardinal(minute)}" if minute else f"{said} hora{'s' if hour > 1 else ''}"


PORTUGUESE: Final = Vocabulary(
    cardinal=_cardinal,
    counted=_counted,
    ordinal=_ordinal,
    ordinal_mark=r"\.?(?:[ºo°](?!\w)|(?P<feminine>ª|a(?!\w)))",
    date=_date,
    year=_cardinal,
    clock=_clock,
    and_seconds=" e {} segundos",
    clock_mark="(?::|h)",
    months="de (?:" + "|".join(_MONTHS) + ")",
    first_of_month="primeiro",
    decimal_mark=",",
    groups_by_space=False,
    is_one=lambda number: number == 1,
    words={
        "point": "vírgula",
        "minus": "menos",
        "plus": "mais",
        "times": "por",
        "equals": "igual a",
        "percent": "por cento",
        "to": "a",
        "number": "número",
        "and": "e",
        "at": "arroba",
        "dot": "ponto",
        "slash": "barra",
        "dash": "hífen",
        "squared": "ao quadrado",
        "cubed": "ao cubo",
        "underscore": "sublinhado",
    },
    currencies={
        "R$": Currency(Noun("real", "reais"), Noun("centavo", "centavos")),
        "$": Currency(Noun("dólar", "dólares"), Noun("centavo", "centavos")),
        "US$": Currency(Noun("dólar", "dólares"), Noun("centavo", "centavos")),
        "€": Currency(Noun("euro", "euros"), Noun("centavo", "centavos")),
        "£": Currency(Noun("libra", "libras", feminine=True), Noun("pêni", "pence")),
        "¥": Currency(Noun("iene", "ienes")),
        "₹": Currency(Noun("rúpia", "rúpias", feminine=True), Noun("paisa", "paisas")),
    },
    join_minor="{} e {}",
    says_minor=True,
    scales={
        "mil": "mil",
        "milhão": "milhão",
        "milhões": "milhões",
        "bilhão": "bilhão",
        "bilhões": "bilhões",
        "M": "milhões",
    },
    of=lambda plural: f"de {plural}",
    units={
        "km/h": Noun("quilômetro por hora", "quilômetros por hora"),
        "m/s": Noun("metro por segundo", "metros por segundo"),
        "km": Noun("quilômetro", "quilômetros"),
        "m": Noun("metro", "metros"),
        "cm": Noun("centímetro", "centímetros"),
        "mm": Noun("milímetro", "milímetros"),
        "m²": Noun("metro quadrado", "metros quadrados"),
        "km²": Noun("quilômetro quadrado", "quilômetros quadrados"),
        "kg": Noun("quilo", "quilos"),
        "g": Noun("grama", "gramas"),
        "mg": Noun("miligrama", "miligramas"),
        "l": Noun("litro", "litros"),
        "L": Noun("litro", "litros"),
        "ml": Noun("mililitro", "mililitros"),
        "h": Noun("hora", "horas", feminine=True),
        "min": Noun("minuto", "minutos"),
        "s": Noun("segundo", "segundos"),
        "°C": Noun("grau Celsius", "graus Celsius"),
        "ºC": Noun("grau Celsius", "graus Celsius"),
        "°F": Noun("grau Fahrenheit", "graus Fahrenheit"),
        "°": Noun("grau", "graus"),
        "kW": Noun("quilowatt", "quilowatts"),
        "W": Noun("watt", "watts"),
        "GB": Noun("gigabyte", "gigabytes"),
        "MB": Noun("megabyte", "megabytes"),
        "Hz": Noun("hertz", "hertz"),
        "kHz": Noun("quilohertz", "quilohertz"),
    },
    feminine_noun=r"\w+as?",
    plural_noun=r"\w+s",
    fractions={"1/2": "um meio", "1/3": "um terço", "2/3": "dois terços", "1/4": "um quarto", "3/4": "três quartos"},
    abbreviations={
        r"\bSr\.": "senhor",
        r"\bSra\.": "senhora",
        r"\bSrta\.": "senhorita",
        r"\bDr\.": "doutor",
        r"\bDra\.": "doutora",
        r"\bProf\.": "professor",
        r"\bProfa\.": "professora",
        r"\betc\.": "etcétera",
        r"\bp\. ?ex\.": "por exemplo",
        r"\bpág\.": "página",
        r"\b[Nn]\.?[ºo°] ?(?=\d)": "número ",
    },
)
