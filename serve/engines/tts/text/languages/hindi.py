"""Hindi. num2words has no Hindi, and every number up to a hundred is a separate word, so they are listed here."""

from __future__ import annotations

import re
from typing import Final

from serve.engines.tts.text.languages.vocabulary import Currency, Noun, Vocabulary

_NUMBERS: Final = """
    शून्य एक दो तीन चार पाँच छह सात आठ नौ
    दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस
    बीस इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस
    तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस
    चालीस इकतालीस बयालीस तैंतालीस चवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास
    पचास इक्यावन बावन तिरपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ
    साठ इकसठ बासठ तिरसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर
    सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उनासी
    अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी
    नब्बे इक्यानवे बानवे तिरानवे चौरानवे पचानवे छियानवे सत्तानवे अट्ठानवे निन्यानवे
"""
_BELOW_100: Final = tuple(_NUMBERS.split())
_SCALES: Final = ((10**11, "खरब"), (10**9, "अरब"), (10**7, "करोड़"), (10**5, "लाख"), (10**3, "हज़ार"), (100, "सौ"))
_MONTHS: Final = "जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर".split()  # noqa: SIM905
_ORDINALS: Final = {1: "पहला", 2: "दूसरा", 3: "तीसरा", 4: "चौथा", 6: "छठा"}


def _cardinal(number: int) -> str:
    said: list[str] = []
    for scale, name in _SCALES:
        count, number = divmod(number, scale)
        if count:
            said += [_cardinal(count), name]
    if number or not said:
        said.append(_BELOW_100[number])
    return " ".join(said)


def _ordinal(number: int, feminine: bool) -> str:
    said = _ORDINALS.get(number) or f"{_cardinal(number)}वाँ"
    return said.removesuffix("ा").removesuffix("ाँ") + ("ी" if number in _ORDINALS else "ीं") if feminine else said


def _year(number: int) -> str:
    """Years before 2000 are counted in hundreds: 1984 is nineteen hundred eighty-four."""
    hundreds, rest = divmod(number, 100)
    if number >= 2000:
        return _cardinal(number)
    return f"{_cardinal(hundreds)} सौ" + (f" {_cardinal(rest)}" if rest else "")


def _date(day: int, month: int, year: int | None) -> str:
    said = f"{_cardinal(day)} {_MONTHS[month - 1]}"
    return said if year is None else f"{said} {_year(year)}"


def _clock(hour: int, minute: int) -> str:
    return f"{_cardinal(hour)} बजकर {_cardinal(minute)} मिनट" if minute else f"{_cardinal(hour)} बजे"


def latin_digits(text: str) -> str:
    """``text`` with Devanagari figures as Latin ones, and its full stops as those of other languages."""
    return re.sub(r"[०-९]", lambda match: str(int(match[0])), text).replace("।", ".").replace("॥", ".")


HINDI: Final = Vocabulary(
    cardinal=_cardinal,
    counted=lambda number, feminine: _cardinal(number),
    ordinal=_ordinal,
    ordinal_mark="(?:वाँ|वां|वा|ला|रा|था|ठा|(?P<feminine>वीं|ली|री|थी|ठी))",
    date=_date,
    year=_year,
    clock=_clock,
    and_seconds=" {} सेकंड",
    clock_mark=":",
    months="",
    first_of_month="",
    decimal_mark=".",
    groups_by_space=False,
    is_one=lambda number: number == 1,
    words={
        "point": "दशमलव",
        "minus": "माइनस",
        "plus": "जमा",
        "times": "गुणा",
        "equals": "बराबर",
        "percent": "प्रतिशत",
        "to": "से",
        "number": "नंबर",
        "and": "और",
        "at": "ऐट",
        "dot": "डॉट",
        "slash": "बटा",
        "dash": "डैश",
        "squared": "का वर्ग",
        "cubed": "का घन",
        "underscore": "अंडरस्कोर",
    },
    currencies={
        "₹": Currency(Noun("रुपया", "रुपये"), Noun("पैसा", "पैसे")),
        "रु.": Currency(Noun("रुपया", "रुपये"), Noun("पैसा", "पैसे")),
        "$": Currency(Noun("डॉलर", "डॉलर"), Noun("सेंट", "सेंट")),
        "€": Currency(Noun("यूरो", "यूरो"), Noun("सेंट", "सेंट")),
        "£": Currency(Noun("पाउंड", "पाउंड"), Noun("पेंस", "पेंस")),
        "¥": Currency(Noun("येन", "येन")),
    },
    join_minor="{} {}",
    says_minor=True,
    scales={"हज़ार": "हज़ार", "लाख": "लाख", "करोड़": "करोड़", "अरब": "अरब", "मिलियन": "मिलियन"},
    of=lambda plural: plural,
    units={
        "किमी/घंटा": Noun("किलोमीटर प्रति घंटा", "किलोमीटर प्रति घंटा"),
        "km/h": Noun("किलोमीटर प्रति घंटा", "किलोमीटर प्रति घंटा"),
        "किमी": Noun("किलोमीटर", "किलोमीटर"),
        "कि.मी.": Noun("किलोमीटर", "किलोमीटर"),
        "km": Noun("किलोमीटर", "किलोमीटर"),
        "m": Noun("मीटर", "मीटर"),
        "cm": Noun("सेंटीमीटर", "सेंटीमीटर"),
        "mm": Noun("मिलीमीटर", "मिलीमीटर"),
        "किग्रा": Noun("किलोग्राम", "किलोग्राम"),
        "kg": Noun("किलोग्राम", "किलोग्राम"),
        "g": Noun("ग्राम", "ग्राम"),
        "l": Noun("लीटर", "लीटर"),
        "ml": Noun("मिलीलीटर", "मिलीलीटर"),
        "°C": Noun("डिग्री सेल्सियस", "डिग्री सेल्सियस"),
        "ºC": Noun("डिग्री सेल्सियस", "डिग्री सेल्सियस"),
        "°": Noun("डिग्री", "डिग्री"),
        "GB": Noun("गीगाबाइट", "गीगाबाइट"),
        "MB": Noun("मेगाबाइट", "मेगाबाइट"),
    },
    feminine_noun="",
    plural_noun="",
    fractions={"1/2": "आधा", "1/3": "एक तिहाई", "2/3": "दो तिहाई", "1/4": "एक चौथाई", "3/4": "तीन चौथाई"},
    abbreviations={r"(?<=\d:\d\d) ?बजे": "", r"डॉ\.": "डॉक्टर", r"प्रो\.": "प्रोफ़ेसर", r"सं\. ?(?=\d)": "संख्या "},
)
