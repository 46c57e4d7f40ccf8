"""What is written, and what a reader says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.engines.tts.text.normalization import read_aloud

pytestmark = pytest.mark.unit

SAID = {
    # Numbers
    "I have 3 cats": "I have three cats",
    "1,234 dogs": "one thousand two hundred and thirty-four dogs",
    "1,000,000": "one million",
    "3.14159": "three point one four one five nine",
    "-5 degrees": "minus five degrees",
    "agent 007": "agent zero zero seven",
    "12345678901234567890": "one two three four five six seven eight nine zero " * 2,
    "version 1.2.3": "version one point two point three",
    "mp3 and A4": "mp three and A four",
    "in 3D": "in three D",
    "a 4K film": "a four K film",
    "100k users": "one hundred thousand users",
    "2.5M users": "two point five million users",
    "pages 10–20": "pages ten to twenty",
    "won 3-2": "won three to two",
    "9-to-5": "nine-to-five",
    "3x faster": "three times faster",
    "a 3x4 grid": "a three by four grid",
    "24/7": "twenty-four seven",
    "#5": "number five",
    "No. 5": "number five",
    "~10 people": "about ten people",
    "2+2=4": "two plus two equals four",
    # Fractions
    "1/2 cup": "one half cup",
    "3/4 full": "three quarters full",
    "2 1/2 cups": "two and a half cups",
    "1½ cups": "one and a half cups",
    "2/3": "two thirds",
    # Ordinals and Roman numerals
    "the 1st, 2nd and 23rd": "the first, second and twenty-third",
    "the 101st": "the one hundred and first",
    "Henry VIII": "Henry the eighth",
    "World War II": "World War two",
    "Chapter IV": "Chapter four",
    # Money
    "$5": "five dollars",
    "$1": "one dollar",
    "$3.50": "three dollars and fifty cents",
    "$0.01": "one cent",
    "£1,000": "one thousand pounds",
    "£2.20": "two pounds and twenty pence",
    "€2.5m": "two point five million euros",
    "$1.2 billion": "one point two billion dollars",
    "US$5": "five dollars",
    "50¢": "fifty cents",
    "20 €": "twenty euros",
    # Dates
    "on 2024-03-12": "on March twelfth, twenty twenty-four",
    "on 3/4/2021": "on March fourth, twenty twenty-one",
    "on 25/12/1999": "on December twenty-fifth, nineteen ninety-nine",
    "March 3, 2024": "March third, twenty twenty-four",
    "12 March 1999": "the twelfth of March, nineteen ninety-nine",
    "the 4th of July.": "the fourth of July.",
    "Jan. 5": "January fifth",
    "in Jan 2020": "in January twenty twenty",
    "the 1990s": "the nineteen nineties",
    "the '80s": "the eighties",
    "in 1984": "in nineteen eighty-four",
    "in 1905": "in nineteen oh five",
    "in 2007": "in two thousand seven",
    "in 1900": "in nineteen hundred",
    "in 2000": "in two thousand",
    "Tues., see you": "Tuesday, see you",
    # Times
    "at 3:45 p.m. today": "at three forty-five P M today",
    "at 9am": "at nine A M",
    "at 10:00": "at ten o'clock",
    "at 3:05 PM": "at three oh five P M",
    "at 15:30": "at fifteen thirty",
    "17:00 sharp": "seventeen hundred hours sharp",
    "We met at 5 p.m.": "We met at five P M.",
    # Units
    "20°C": "twenty degrees Celsius",
    "turn 90°": "turn ninety degrees",
    "50 km²": "fifty square kilometres",
    "x² + y³": "x squared plus y cubed",
    "5 km": "five kilometres",
    "1 km": "one kilometre",
    "60 mph": "sixty miles per hour",
    "3.2kg": "three point two kilograms",
    "6 ft": "six feet",
    "5 ft 3 in.": "five feet three inches",
    "5'10\" tall": "five foot ten tall",
    "5 in cash": "five in cash",
    "it is 5in wide": "it is five inches wide",
    "10%": "ten percent",
    "100 GB": "one hundred gigabytes",
    "2.4 GHz": "two point four gigahertz",
    "25kWh": "twenty-five kilowatt hours",
    "5-10 km": "five to ten kilometres",
    # Telephones
    "555-1234": "five five five, one two three four",
    "(555) 123-4567": "five five five, one two three, four five six seven",
    "+1 555-123-4567": "plus one, five five five, one two three, four five six seven",
    "Dial 911": "Dial nine one one",
    # Addresses
    "ann.lee@example.org": "ann dot lee at example dot org",
    "see https://www.example.com/docs.": "see W W W dot example dot com slash docs.",
    "fluxions.ai rocks": "fluxions dot ai rocks",
    "xkcd.com": "X K C D dot com",
    "a_b7@x-y.com": "a underscore b seven at x dash y dot com",
    # Abbreviations
    "Dr. Smith": "Doctor Smith",
    "Mrs. Jones": "Missus Jones",
    "St. Louis": "Saint Louis",
    "5 Main St., here": "five Main Street, here",
    "e.g. this": "for example, this",
    "i.e. that": "that is, that",
    "cats vs. dogs": "cats versus dogs",
    "cats, etc.": "cats, et cetera.",
    "w/o sugar": "without sugar",
    "and/or": "and or",
    # Acronyms
    "the FBI": "the F B I",
    "the U.S.A. team": "the U S A team",
    "NASA": "nasa",
    "UNESCO": "unesco",
    "ISBN": "I S B N",
    "two CPUs": "two C P U's",
    "R&D": "R and D",
    "AT&T": "A T and T",
    "salt & pepper": "salt and pepper",
    "C++": "C plus plus",
    # Marks
    "Hello (world)!": "Hello, world!",
    "“Quoted” text — with dash": "Quoted text, with dash",
    "what?!": "what?",
    "so…": "so...",
    "[12]": "twelve",
    "a  b\n c": "a b c",
    "soft\u00adhyphen": "softhyphen",
    "naïve café": "naïve café",
}


@pytest.mark.parametrize(("written", "said"), SAID.items(), ids=SAID)
def test_a_reader_says(written: str, said: str) -> None:
    assert read_aloud(written) == said.strip()


def test_commands_to_the_synthesiser_cannot_be_smuggled_in() -> None:
    assert read_aloud("a\x01\x00b\x1bc") == "a b c"


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60))
def test_any_text_becomes_printable_and_needs_no_second_reading(text: str) -> None:
    said = read_aloud(text)
    assert said.isprintable()
    assert "  " not in said


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.,:/-$%€ abAkmKx'\"°+#", max_size=24))
def test_no_digit_is_left_to_the_synthesiser(text: str) -> None:
    assert not any(c in "0123456789" for c in read_aloud(text))
