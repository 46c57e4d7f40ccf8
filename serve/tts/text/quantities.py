"""Money, percentages and units of measurement as words."""

from __future__ import annotations

import re
from typing import Final

from serve.tts.text.numbers import NUMBER, Rule, cardinal, plural, spoken

_CURRENCIES: Final = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
_SCALES: Final = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion", "tn": "trillion"}
_SCALE: Final = r"(?: ?(?P<scale>thousand|million|billion|trillion|[kKmMbB]n?|tn)\b)?"

_UNITS: Final = {
    "km/h": "kilometre per hour",
    "kph": "kilometre per hour",
    "mph": "mile per hour",
    "m/s": "metre per second",
    "km": "kilometre",
    "cm": "centimetre",
    "mm": "millimetre",
    "nm": "nanometre",
    "m": "metre",
    "mi": "mile",
    "ft": "foot",
    "yd": "yard",
    "in": "inch",
    "kg": "kilogram",
    "mg": "milligram",
    "g": "gram",
    "lbs": "pound",
    "lb": "pound",
    "oz": "ounce",
    "ml": "millilitre",
    "l": "litre",
    "L": "litre",
    "hrs": "hour",
    "hr": "hour",
    "h": "hour",
    "mins": "minute",
    "min": "minute",
    "secs": "second",
    "sec": "second",
    "s": "second",
    "ms": "millisecond",
    "kHz": "kilohertz",
    "MHz": "megahertz",
    "GHz": "gigahertz",
    "Hz": "hertz",
    "KB": "kilobyte",
    "kB": "kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "Mbps": "megabit per second",
    "kW": "kilowatt",
    "MW": "megawatt",
    "W": "watt",
    "kWh": "kilowatt hour",
    "m²": "square metre",
    "km²": "square kilometre",
    "V": "volt",
    "dB": "decibel",
    "°C": "degree Celsius",
    "°F": "degree Fahrenheit",
    "ºC": "degree Celsius",
    "°": "degree",
    "%": "percent",
}
_UNIT: Final = f"(?:{'|'.join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))})"


def _money(match: re.Match[str]) -> str:
    main, minor = _CURRENCIES[match["sign"]]
    amount, scale = match["amount"], match["scale"]
    if scale:
        return f"{spoken(amount)} {_SCALES.get(scale.lower(), scale)} {_many(main)}"
    whole, _, hundredths = amount.replace(",", "").partition(".")
    if len(hundredths) not in (0, 2):
        return f"{spoken(amount)} {_many(main)}"
    said = []
    if int(whole) or not int(hundredths or 0):
        said.append(f"{spoken(whole)} {main if int(whole) == 1 else _many(main)}")
    if int(hundredths or 0):
        count = int(hundredths)
        said.append(f"{cardinal(count)} {minor if count == 1 else _many(minor)}")
    return " and ".join(said)


def _many(word: str) -> str:
    return {"penny": "pence", "yen": "yen", "sen": "sen"}.get(word, word + "s")


def _height(match: re.Match[str]) -> str:
    return f"{cardinal(int(match[1]))} foot {cardinal(int(match[2]))}"


def _measure(match: re.Match[str]) -> str:
    return f"{spoken(match['amount'])} {plural(_UNITS[match['unit']], match['amount'])}"


def _scaled(match: re.Match[str]) -> str:
    return f"{spoken(match['amount'])} {_SCALES[match['scale'].lower()]}"


RULES: Final[tuple[Rule, ...]] = (
    (re.compile(rf"(?:US|USD ?|CA|AU)?(?P<sign>[$£€¥]) ?(?P<amount>{NUMBER}){_SCALE}"), _money),
    (re.compile(rf"(?P<amount>{NUMBER}){_SCALE} ?(?P<sign>[€£])"), _money),
    (re.compile(rf"({NUMBER}) ?¢"), lambda m: f"{spoken(m[1])} {'cent' if m[1] == '1' else 'cents'}"),
    (re.compile(r"\b(\d)['′] ?(\d{1,2})(?:\"|″|'')"), _height),
    (re.compile(r"\b(\d+) ?(?:ft|feet|foot) (\d+) ?in\b\.?"), lambda m: f"{spoken(m[1])} feet {spoken(m[2])} inches"),
    (re.compile(rf"(?P<from>{NUMBER}) ?[-–] ?(?={NUMBER} ?{_UNIT}(?![\w/]))"), lambda m: f"{spoken(m['from'])} to "),
    (re.compile(rf"(?<![\w.])(?P<amount>{NUMBER}) ?(?P<unit>(?!in\b){_UNIT}|(?<=\d)in)(?![\w/])"), _measure),
    (re.compile(rf"(?<![\w.])(?P<amount>{NUMBER})(?P<scale>(?<=\d\d)[kK]|[mM]|bn)\b"), _scaled),
)
