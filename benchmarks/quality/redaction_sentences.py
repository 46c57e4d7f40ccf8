"""Sentences for the measurement of redaction, as callers say them: with personal data drawn at random, and without.

They were written after the rules, and no rule was changed after the first run on them. None is in the tests of the rules.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from flows.transcription.pii_rules import luhn
from schemas.redaction import PiiKind

_DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FIRST: Final = ("Sarah", "Thomas", "Emma", "Robert", "Julia", "Henry", "Claire", "Simon", "Nora", "Victor")
_LAST: Final = ("Parker", "Collins", "Brooks", "Sullivan", "Grant", "Harper", "Lawson", "Murphy", "Carter", "Ellis")
_MONTHS: Final = ("February", "May", "August", "September", "November")
_HOSTS: Final = ("harbor", "maple", "stone", "willow", "summit", "lantern")
_WITHOUT: Final = (
    "Our shop opens at eight and closes at a quarter to seven.",
    "The flight to Denver was delayed by three hours and twenty minutes.",
    "They ordered two hundred chairs and forty round tables for the wedding.",
    "The museum was built in eighteen ninety two and restored twice.",
    "You need three eggs, half a pound of flour, and a little salt.",
    "The score was four to two after ninety minutes.",
    "Could you send the second invoice again, the one for sixty three dollars?",
    "We moved here eleven years ago, when the children were small.",
    "The parcel weighs about seven kilos and goes out tomorrow morning.",
    "Take the third exit, and then it is two miles straight ahead.",
    "Only one in five customers asked for a refund this quarter.",
    "The doctor is away until the fourteenth, so we have to wait.",
    "My sister and I share the car on weekdays.",
    "The temperature fell to minus twelve during the night.",
    "I have been on hold for twenty five minutes now.",
    "There are nine floors, and the meeting room is on the sixth.",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A sentence as it is spoken, and the kinds of the personal data in it."""

    text: str
    kinds: tuple[PiiKind, ...] = ()


def cases(count: int, seed: int) -> Iterator[Case]:
    """``count`` sentences; every third has no personal data."""
    draw = random.Random(seed)  # noqa: S311 - test data
    makers: tuple[Callable[[random.Random], Case], ...] = (
        _phone,
        _name,
        _card,
        _email,
        _birth_date,
        _pin,
        _account,
        _ssn,
        _url,
        _last_digits,
    )
    for number in range(count):
        if number % 3 == 2:
            yield Case(_WITHOUT[number // 3 % len(_WITHOUT)])
        else:
            yield makers[(number - number // 3) % len(makers)](draw)


def _spell(digits: str, groups: Sequence[int]) -> str:
    """Digits as words, with a comma after each group."""
    found, at = [], 0
    for size in groups:
        found.append(" ".join(_DIGITS[int(digit)] for digit in digits[at : at + size]))
        at += size
    return ", ".join(found)


def _digits(draw: random.Random, count: int) -> str:
    return str(draw.randint(2, 9)) + "".join(str(draw.randint(0, 9)) for _ in range(count - 1))


def _person(draw: random.Random) -> str:
    return f"{draw.choice(_FIRST)} {draw.choice(_LAST)}"


def _phone(draw: random.Random) -> Case:
    said = _spell(_digits(draw, 10), (3, 3, 4))
    pattern = draw.choice(
        (
            "If we get cut off, I am on {}.",
            "The best number for me is {}, any time after lunch.",
            "Please ring my wife instead, she is at {}.",
            "Let me give you my cell, it is {}.",
        )
    )
    return Case(pattern.format(said), ("phone",))


def _email(draw: random.Random) -> Case:
    tld = draw.choice(("com", "org", "net"))
    said = f"{draw.choice(_FIRST).lower()} dot {draw.choice(_LAST).lower()} at {draw.choice(_HOSTS)} dot {tld}"
    pattern = draw.choice(("You can email the form to {}.", "My address for the receipt is {}, all in lower case."))
    return Case(pattern.format(said), ("email",))


def _card(draw: random.Random) -> Case:
    start = draw.choice("45") + "".join(str(draw.randint(0, 9)) for _ in range(14))
    number = next(start + str(last) for last in range(10) if luhn(start + str(last)))
    pattern = draw.choice(("All right, the long number on the front is {}.", "It is a Visa, and it starts {}."))
    return Case(pattern.format(_spell(number, (4, 4, 4, 4))), ("card",))


def _name(draw: random.Random) -> Case:
    pattern = draw.choice(
        (
            "Good afternoon, this is {} calling about the leaking tap.",
            "Yes, my name is {}, and I booked a room for Friday.",
            "Could you put me through to Mister {} in accounts?",
            "The appointment is for Missus {}, at ten.",
        )
    )
    return Case(pattern.format(_person(draw)), ("name",))


def _birth_date(draw: random.Random) -> Case:
    said = f"{draw.choice(_MONTHS)} {draw.randint(2, 28)}, {draw.randint(1945, 2004)}"
    pattern = draw.choice(("My date of birth is {}.", "The patient was born on {}, here in the city."))
    return Case(pattern.format(said), ("birth_date",))


def _pin(draw: random.Random) -> Case:
    pattern = draw.choice(("The code for the gate is {}, then press star.", "I think the password is {}, try that."))
    return Case(pattern.format(_spell(_digits(draw, 5), (5,))), ("number",))


def _account(draw: random.Random) -> Case:
    pattern = draw.choice(("My policy number is {}, it should be on your screen.", "Transfer it to account {}, please."))
    return Case(pattern.format(_spell(_digits(draw, 9), (3, 3, 3))), ("number",))


def _ssn(draw: random.Random) -> Case:
    pattern = draw.choice(("Sure, my social is {}.", "For the tax form, her social security number is {}."))
    return Case(pattern.format(_spell(_digits(draw, 9), (3, 2, 4))), ("ssn",))


def _url(draw: random.Random) -> Case:
    said = f"{draw.choice(_HOSTS)} {draw.choice(_HOSTS)} dot {draw.choice(('com', 'org'))}"
    return Case(f"You will find the pictures on w w w dot {said}, under news.", ("url",))


def _last_digits(draw: random.Random) -> Case:
    return Case(f"The card ends in {_spell(_digits(draw, 4), (4,))}, does that help?", ("number",))
