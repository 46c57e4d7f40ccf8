"""Money, percentages and units of measurement as words."""

from __future__ import annotations

import re
from typing import Final

from serve.engines.tts.text.numbers import NUMBER, Rule, cardinal, plural, spoken

_CURRENCIES: Final = {
    "$": ("dollar", "cent"),
    "£": ("pound", "penny"),
    "€": ("euro", "cent"),
    "¥": ("yen", "sen"),
    "₹": ("rupee", "paisa"),
}
_CODES: Final = {
    "USD": ("U S dollar", "cent"),
    "EUR": ("euro", "cent"),
    "GBP": ("pound", "penny"),
    "CHF": ("Swiss franc", "centime"),
    "JPY": ("yen", "sen"),
    "INR": ("rupee", "paisa"),
    "CAD": ("Canadian dollar", "cent"),
    "AUD": ("Australian dollar", "cent"),
}
_CODE: Final = f"(?P<code>{'|'.join(_CODES)})"
_SCALES: Final = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion", "tn": "trillion"}
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
    "Gbps": "gigabit per second",
    "kbps": "kilobit per second",
    "μm": "micrometre",
    "μg": "microgram",
    "μs": "microsecond",
    "kΩ": "kiloohm",
    "Ω": "ohm",
    "mA": "milliampere",
    "kcal": "kilocalorie",
    "kJ": "kilojoule",
    "hPa": "hectopascal",
    "kPa": "kilopascal",
    "ppm": "part per million",
    "ppb": "part per billion",
    "psi": "pound per square inch",
    "rpm": "revolution per minute",
    "fps": "frame per second",
    "dpi": "dot per inch",
    "MWh": "megawatt hour",
    "GW": "gigawatt",
    "kW": "kilowatt",
    "MW": "megawatt",
    "W": "watt",
    "kWh": "kilowatt hour",
    "m²": "square metre",
    "km²": "square kilometre",
    "cm²": "square centimetre",
    "m³": "cubic metre",
    "cm³": "cubic centimetre",
    "V": "volt",
    "dB": "decibel",
    "bpm": "beat per minute",
    "mg/dL": "milligram per decilitre",
    "mmol/L": "millimole per litre",
    "mmHg": "millimetre of mercury",
    "m/s²": "metre per second squared",
    "km/s": "kilometre per second",
    "ft/s": "foot per second",
    "kg/m³": "kilogram per cubic metre",
    "g/L": "gram per litre",
    "MB/s": "megabyte per second",
    "GB/s": "gigabyte per second",
    "mAh": "milliampere hour",
    "Wh": "watt hour",
    "MPa": "megapascal",
    "°C": "degree Celsius",
    "°F": "degree Fahrenheit",
    "ºC": "degree Celsius",
    "°": "degree",
    "%": "percent",
}
_UNIT: Final = f"(?:{'|'.join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))})"


def _money(match: re.Match[str]) -> str:
    return _sum_of(*_CURRENCIES[match["sign"]], match["amount"], match["scale"])


def _in_code(match: re.Match[str]) -> str:
    return _sum_of(*_CODES[match["code"]], match["amount"], match["scale"])


def _sum_of(main: str, minor: str, amount: str, scale: str | None) -> str:
    """An amount of a currency with the names of its units."""
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


def _hours(match: re.Match[str]) -> str:
    hours, minutes = match["hours"], match["minutes"]
    return f"{spoken(hours)} {plural('hour', hours)} {spoken(minutes)}" + (
        f" {plural('minute', str(int(minutes)))}" if match["named"] else ""
    )


def _many(word: str) -> str:
    return {"penny": "pence", "yen": "yen", "sen": "sen", "paisa": "paise"}.get(word, word + "s")


def _height(match: re.Match[str]) -> str:
    return f"{cardinal(int(match[1]))} foot {cardinal(int(match[2]))}"


def _measure(match: re.Match[str]) -> str:
    return f"{spoken(match['amount'])} {plural(_UNITS[match['unit']], match['amount'])}"


def _scaled(match: re.Match[str]) -> str:
    return f"{spoken(match['amount'])} {_SCALES[match['scale'].lower()]}"


RULES: Final[tuple[Rule, ...]] = (
    (
        re.compile(rf"(?P<sign>[$£€¥₹])(?P<from>{NUMBER})\s?[-–]\s?(?P=sign)?(?={NUMBER})"),
        lambda m: f"{m['from']} to {m['sign']}",
    ),
    (re.compile(rf"\b{_CODE} ?(?P<amount>{NUMBER}){_SCALE}"), _in_code),
    (re.compile(rf"(?<![\w.])(?P<amount>{NUMBER}){_SCALE} ?{_CODE}\b"), _in_code),
    (re.compile(r"(?<![\w.])(?P<hours>\d{1,3}) ?h ?(?P<minutes>\d{1,2})(?P<named> ?m(?:in)?)?\b"), _hours),
    (re.compile(r"(?<![\w.$£€])(\d{1,2})p\b(?! ?\w)"), lambda m: f"{spoken(m[1])} {'penny' if m[1] == '1' else 'pence'}"),
    (re.compile(rf"(?:US|USD ?|CA|AU)?(?P<sign>[$£€¥₹]) ?(?P<amount>{NUMBER}){_SCALE}"), _money),
    (re.compile(rf"(?P<amount>{NUMBER}){_SCALE} ?(?P<sign>[€£¥₹])"), _money),
    (re.compile(rf"({NUMBER}) ?¢"), lambda m: f"{spoken(m[1])} {'cent' if m[1] == '1' else 'cents'}"),
    (re.compile(r"\b(\d)['′] ?(\d{1,2})(?:\"|″|'')"), _height),
    (re.compile(r"\b(\d+) ?(?:ft|feet|foot) (\d+) ?in\b\.?"), lambda m: f"{spoken(m[1])} feet {spoken(m[2])} inches"),
    (
        re.compile(rf"(?<=\d)(?P<unit> ?(?:%|°[CF]?|km|kg|cm|mm)) ?[-–] ?(?={NUMBER} ?(?P=unit))"),
        lambda m: f"{m['unit']} to ",
    ),
    (re.compile(rf"(?P<from>{NUMBER}) ?[-–] ?(?={NUMBER} ?{_UNIT}(?![\w/]))"), lambda m: f"{spoken(m['from'])} to "),
    (re.compile(rf"(?<![\w.])(?P<amount>{NUMBER}) ?(?P<unit>(?!in\b){_UNIT}|(?<=\d)in)(?![\w/])"), _measure),
    (re.compile(rf"(?<![\w.])(?P<amount>{NUMBER})(?P<scale>(?<=\d\d)[kK]|[mM]|[bm]n)\b"), _scaled),
)
