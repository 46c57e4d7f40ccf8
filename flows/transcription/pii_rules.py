"""Rules that find personal data in transcribed words: formats and check digits, spoken or written, and cue words.

English cue words; formats of digits in any language. Names are found after cues only ("my name is", titles): without
Presidio (`flows.transcription.pii_presidio`) others are not found.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final

from flows.transcription.spoken_digits import DigitRun, digit_runs, plain
from schemas.redaction import PiiKind

Found = tuple[int, int, PiiKind]
"""First and last word, and the kind."""

_CUE_WORDS: Final = 7
"""How many words before a number may say what it is."""
_PHONE_CUES: Final = frozenset(
    [
        "phone",
        "telephone",
        "mobile",
        "cell",
        "number",
        "call",
        "reach",
        "dial",
        "text",
        "fax",
        "ring",
        "whatsapp",
        "extension",
    ]
)
_CARD_CUES: Final = frozenset(["card", "visa", "mastercard", "amex", "debit", "credit"])
_SSN_CUES: Final = frozenset(("social", "ssn"))
_SECRET_CUES: Final = frozenset(["pin", "code", "password", "passcode", "cvv", "cvc", "otp"])
_ACCOUNT_CUES: Final = frozenset(
    ["account", "routing", "sort", "policy", "member", "passport", "license", "licence", "reference"]
)
_BIRTH_CUES: Final = frozenset(["born", "birth", "birthday", "birthdate", "dob"])
_MONTHS: Final = frozenset(
    [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
    ]
)
_TITLES: Final = frozenset(("mr", "mrs", "ms", "miss", "dr", "doctor", "mister", "professor"))
_NAME_CUES: Final = (("name", "is"), ("name", "was"), ("names",), ("name's",), ("speaking", "with"), ("surname", "is"))
_TLDS: Final = frozenset(
    [
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "io",
        "co",
        "uk",
        "de",
        "fr",
        "es",
        "it",
        "nl",
        "ch",
        "at",
        "eu",
        "info",
        "biz",
        "app",
        "dev",
        "me",
        "tv",
        "us",
        "ca",
        "au",
    ]
)
_EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_URL: Final = re.compile(r"(https?://|www\.)\S+|([\w-]+\.)+(com|org|net|io|edu|gov|co\.uk)(/\S*)?")
_IBAN: Final = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_DATE: Final = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


def find_by_rules(words: Sequence[str]) -> list[Found]:
    """Personal data in ``words``, in no order; spans may overlap."""
    rules: tuple[Callable[[Sequence[str]], list[Found]], ...] = (
        _emails,
        _urls,
        _addresses,
        _numbers,
        _ibans,
        _birth_dates,
        _names,
    )
    return [found for rule in rules for found in rule(words)]


def _emails(words: Sequence[str]) -> list[Found]:
    found: list[Found] = [(n, n, "email") for n, word in enumerate(words) if _EMAIL.search(word)]
    for at, word in enumerate(words):
        if plain(word) in ("at", "@"):
            last = _spoken_domain(words, at + 1)
            if last is not None and at > 0:
                found.append((_local_part(words, at - 1), last, "email"))
    return found


def _spoken_domain(words: Sequence[str], first: int) -> int | None:
    """The last word of a domain that begins with word ``first``: "example dot com" or "example.com"."""
    place = first
    while place < min(first + 6, len(words)):
        if plain(words[place]) == "dot" and place > first and place + 1 < len(words) and plain(words[place + 1]) in _TLDS:
            last = place + 1
            while last + 2 < len(words) and plain(words[last + 1]) == "dot" and plain(words[last + 2]) in _TLDS:
                last += 2
            return last
        label, dot, tld = words[place].lower().strip(".,?!").rpartition(".")
        if dot and label and tld in _TLDS:
            return place
        place += 1
    return None


def _local_part(words: Sequence[str], last: int) -> int:
    """The first word of an address whose part before "at" ends with word ``last``."""
    first = last
    while first > 0:
        before, this = plain(words[first - 1]), plain(words[first])
        joins = {"dot", "underscore", "dash", "hyphen", "minus", "plus"}
        if before in joins and first > 1:
            first -= 2
        elif len(this) == 1 and len(before) == 1:
            first -= 1  # it is spelled
        else:
            break
    return first


def _urls(words: Sequence[str]) -> list[Found]:
    found: list[Found] = []
    for n, word in enumerate(words):
        if "@" not in word and _URL.fullmatch(word.lower().strip(".,?!()")):
            found.append((n, n, "url"))
        elif plain(word) == "www" and (last := _spoken_domain(words, n + 1)) is not None:
            found.append((n, last, "url"))
    return found


def _addresses(words: Sequence[str]) -> list[Found]:
    return [(n, n, "ip") for n, word in enumerate(words) if _is_ip(word.strip(".,?!()"))]


def _numbers(words: Sequence[str]) -> list[Found]:
    found: list[Found] = []
    for run in digit_runs(words):
        kind = _kind_of_number(run, words)
        if kind is not None:
            found.append((run.first, run.last, kind))
    return found


def _kind_of_number(run: DigitRun, words: Sequence[str]) -> PiiKind | None:
    cues = {plain(word).removesuffix("s") for word in words[max(0, run.first - _CUE_WORDS) : run.first]}
    written = " ".join(words[run.first : run.last + 1]).strip(".,?! ")
    length = len(run.digits)
    if 13 <= length <= 19 and (luhn(run.digits) or cues & _CARD_CUES):
        return "card"
    # A recogniser may miss a digit or hear one twice.
    if re.fullmatch(r"\d{3}-\d{2}-\d{4}", written) or (8 <= length <= 10 and cues & _SSN_CUES):
        return "ssn"
    after_plus = run.first > 0 and plain(words[run.first - 1]) == "plus"
    is_dialled = (
        after_plus or written.startswith("+") or re.fullmatch(r"\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}", written) is not None
    )
    is_account = bool(cues & _ACCOUNT_CUES) and not is_dialled and length not in (10, 11)
    if 7 <= length <= 15 and not is_account and (is_dialled or length in (10, 11) or cues & _PHONE_CUES):
        return "phone"
    if length >= 5 or (length >= 3 and cues & (_SECRET_CUES | _ACCOUNT_CUES)):
        return "number"
    if length == 4 and cues & (_CARD_CUES | _SSN_CUES):
        return "number"  # the last four digits
    return None


def _ibans(words: Sequence[str]) -> list[Found]:
    found: list[Found] = []
    for first, word in enumerate(words):
        if not re.match(r"[A-Za-z]{2}\d{2}", word):
            continue
        joined = ""
        for last in range(first, min(first + 10, len(words))):
            joined += re.sub(r"[^A-Z0-9]", "", words[last].upper())
            if _IBAN.fullmatch(joined) and _mod_97(joined):
                found.append((first, last, "iban"))
    return found


def _birth_dates(words: Sequence[str]) -> list[Found]:
    found: list[Found] = []
    for n, word in enumerate(words):
        if plain(word) not in _BIRTH_CUES:
            continue
        near = range(n + 1, min(n + 12, len(words)))
        months = [place for place in near if plain(words[place]) in _MONTHS]
        dates = [place for place in near if _DATE.fullmatch(words[place].strip(".,?!"))]
        if dates:
            found.append((dates[0], dates[0], "birth_date"))
        elif months:
            first, last = months[0], months[0]
            while first - 1 > n and (_is_part_of_date(words[first - 1]) or plain(words[first - 1]) == "of"):
                first -= 1
            while last + 1 < len(words) and _is_part_of_date(words[last + 1]):
                last += 1
            found.append((first, last, "birth_date"))
    return found


def _names(words: Sequence[str]) -> list[Found]:
    found: list[Found] = []
    for n, word in enumerate(words):
        starts = [n + 1] if plain(word) in _TITLES else []
        starts += [n + len(cue) for cue in _NAME_CUES if tuple(plain(w) for w in words[n : n + len(cue)]) == cue]
        for first in starts:
            last = first - 1
            while last + 1 < min(first + 3, len(words)) and _is_name(words[last + 1]):
                last += 1
                if words[last][-1:] in ".,?!;":
                    break
            if last >= first:
                found.append((first, last, "name"))
    return found


_SPOKEN_DATES: Final = re.compile(
    r"(\d{1,4}(st|nd|rd|th)?|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|\w+teenth|"
    r"twentieth|thirtieth|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|nineteen|eighteen|hundred|oh|one|two|three|"
    r"four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|thousand)"
)


def _is_part_of_date(word: str) -> bool:
    return _SPOKEN_DATES.fullmatch(plain(word)) is not None


def _is_name(word: str) -> bool:
    bare = word.strip(".,?!;")
    return bare[:1].isupper() and bare.replace("-", "").replace("'", "").isalpha() and bare not in ("I", "I'm")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def luhn(digits: str) -> bool:
    """Whether ``digits`` end with a valid check digit (ISO/IEC 7812-1)."""
    doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _mod_97(iban: str) -> bool:
    """Whether the check digits of an IBAN are valid (ISO 13616)."""
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1
