"""Snippets: the piece that shows most, matched words marked, everything else harmless in a page."""

from __future__ import annotations

import html
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.search import parse, snippet
from lakehouse.search.filenames import name_lexemes, name_matches, name_snippet
from lakehouse.search.snippet import WINDOW_CHARACTERS

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("See the dentists today", "dentist", "See the <mark>dentists</mark> today"),
        ("A dentist & <b>more</b>", "dentist", "A <mark>dentist</mark> &amp; &lt;b&gt;more&lt;/b&gt;"),
        ("dog big, big the dog", '"big the dog"', "dog big, <mark>big</mark> the <mark>dog</mark>"),
        ("cats and dogs", "cat -bird or dog", "<mark>cats</mark> and <mark>dogs</mark>"),
        ("a well-known dentist", "well-known", "a <mark>well-known</mark> dentist"),
        ("nothing here", "-cat", "nothing here"),
        ("", "-cat", ""),
    ],
)
def test_matched_words_are_marked_and_the_rest_is_escaped(text: str, query: str, expected: str) -> None:
    assert snippet(text, parse(query)) == expected


def test_the_window_with_most_different_terms_is_shown() -> None:
    filler = "lorem " * 60
    text = f"dentist dentist dentist {filler} the dentist and the florist {filler} florist"
    shown = snippet(text, parse("dentist or florist"))
    assert "the <mark>dentist</mark> and the <mark>florist</mark>" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert shown.count("<mark>") == 2


_WORDS = st.sampled_from(["dentist", "dentists", "cat", "the", "a&b", "<i>", "well-known", "x" * 90, "é", "\n", "dog."])


@given(st.lists(_WORDS, max_size=120).map(" ".join), st.lists(_WORDS, min_size=1, max_size=4).map(" ".join))
def test_a_snippet_is_a_piece_of_the_text_of_bounded_length(text: str, words: str) -> None:
    shown = snippet(text, parse(words))
    plain = html.unescape(re.sub("</?mark>", "", shown)).removeprefix("…").removesuffix("…")
    assert plain in text
    assert len(plain) <= WINDOW_CHARACTERS + 90
    assert "<" not in re.sub("</?mark>", "", shown)


def test_a_very_long_text_is_looked_at_in_part_only() -> None:
    assert "<mark>" not in snippet("lorem " * 100_000 + "dentist", parse("dentist"))


NAMES = ["Dentist-interview_2024.mp3", "my.CATS.wav", "call 00017.ogg", "the.wav", "Ünïcode Café.flac", ""]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("dentists", NAMES[:1]),
        ("interview 2024", NAMES[:1]),
        ('"interview 2024"', NAMES[:1]),
        ("view_20", NAMES[:1]),
        ("DENTIST-INTER", NAMES[:1]),
        ("cat", NAMES[1:2]),
        ("my.cats.wav", NAMES[1:2]),
        ("00017", NAMES[2:3]),
        ("0017", NAMES[2:3]),
        ("café", NAMES[4:5]),
        ("wav -cat", NAMES[3:4]),
        ("flacs or mp3", [NAMES[0], NAMES[4]]),
        ("the", NAMES[3:4]),
        ("xyz", []),
    ],
)
def test_a_name_is_found_by_its_words_and_by_its_letters(query: str, found: list[str]) -> None:
    names = pl.Series(NAMES)
    assert names.filter(name_matches(parse(query), names)).to_list() == found


def test_names_become_words() -> None:
    expected = [" dentist interview 2024 mp3 ", " \x01 cat wav ", " call 00017 ogg ", " \x01 wav "]
    assert name_lexemes(pl.Series(NAMES[:4])).to_list() == expected


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("dentists 2024", "<mark>Dentist</mark>-interview_<mark>2024</mark>.mp3"),
        ("VIEW_20", "Dentist-inter<mark>view_20</mark>24.mp3"),
    ],
)
def test_a_name_is_marked_where_it_matches(query: str, shown: str) -> None:
    assert name_snippet(NAMES[0], parse(query)) == shown
