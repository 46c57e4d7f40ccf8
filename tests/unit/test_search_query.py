"""What a query means, what it may cost, and that no text or query takes more than its length is worth."""

from __future__ import annotations

import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.search import lexemes, parse, snippet
from lakehouse.search.compiler import matches
from lakehouse.search.websearch import MAX_CHARACTERS, MAX_TERMS, Query, Term
from schemas.errors import InvalidParameter

pytestmark = pytest.mark.unit


def shape(text: str) -> list[list[str]]:
    """Alternatives of terms; ``.`` stands for any word, ``-`` before a negated term."""
    return [
        ["-" * term.negated + " ".join(word or "." for word in term.lexemes) for term in terms]
        for terms in parse(text).alternatives
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dentist appointments", [["dentist", "appoint"]]),
        ('"big the dogs"', [["big . dog"]]),
        ('"the dogs of"', [["dog"]]),
        ("cats or dogs birds", [["cat"], ["dog", "bird"]]),
        ("-cats dogs", [["-cat", "dog"]]),
        ('-"black cats"', [["-black cat"]]),
        ("--cats", [["cat"]]),
        ("well-known", [["well-known well known"]]),
        ("cats or", [["cat"]]),
        ("or cats", [["cat"]]),
        ("cats or the", [["cat"]]),
        ("cats -the", [["cat"]]),
        ('cats "black dogs', [["cat", "black dog"]]),
        ("cats cats CAT", [["cat"]]),
        ("cats or cat", [["cat"]]),
        ("the of and", []),
        ("", []),
    ],
)
def test_a_query_is_parsed_into_its_terms(text: str, expected: list[list[str]]) -> None:
    assert shape(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x" * (MAX_CHARACTERS + 1), "1001 characters"),
        ("dentist " * 3000, "characters"),
        ("dentist" * 3600, "characters"),
        (" ".join(f"w{i}" for i in range(MAX_TERMS + 1)), "65 different terms"),
        (" or ".join(f"w{i}" for i in range(MAX_TERMS + 1)), "65 different terms"),
        ("".join(f"-w{i} " for i in range(MAX_TERMS + 1)), "65 different terms"),
    ],
)
def test_a_query_over_its_limits_is_refused_with_the_limit(text: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words) as caught:
        parse(text)
    assert caught.value.param == "q"
    assert caught.value.status == 422


def test_a_query_at_its_limits_is_taken() -> None:
    assert len(parse(" or ".join(f"w{i}" for i in range(MAX_TERMS))).alternatives) == MAX_TERMS
    assert parse("ab " * 333).alternatives == ((Term(("ab",)),),)
    assert len(parse('"' + "ab " * 333).alternatives[0][0].lexemes) == 333


_REPEATED = [('"', 1000), ("-", 1000), ("(", 1000), ("<", 1000), (".", 1000), ("\x00", 1000), ("a-", 500)]
_HOSTILE = [
    *(piece * times for piece, times in _REPEATED),
    *("or " * 333, '"a ' * 333, "a or " * 200, "\ud800"),
    '"' + "big the " * 124 + 'big"',
    "[^ ]+ .* (?:x) \\d $ ^",
    " or ".join(f"w{i} -v{i}" for i in range(32)),
]


@pytest.mark.parametrize("text", _HOSTILE)
def test_hostile_queries_are_answered_in_bounded_time(text: str) -> None:
    stored = lexemes("big the " * 50)
    rows = pl.DataFrame({"lexemes": [f"{stored}{number} " for number in range(5000)]})
    began = time.process_time()
    query = parse(text)
    rows.filter(matches(query))
    snippet("big the " * 1000, query)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "piece",
    [
        "a_",
        "a.",
        "a-",
        "1.",
        "1_",
        "<a",
        "<a '",
        '<a"',
        "<!--",
        "&a",
        "/.",
        "/./",
        "~/",
        "+1",
        "1e",
        "é_",
        "e\u0301",
        "aa.bb/",
        "a@",
    ],
)
def test_hostile_texts_take_linear_time(piece: str) -> None:
    began = time.process_time()
    lexemes((piece * 40_000)[:40_000])
    assert time.process_time() - began < 5, "40 kB take some ten ms; quadratic matching would take minutes"


@given(st.text(max_size=200))
def test_every_text_can_be_a_query_and_finds_itself(text: str) -> None:
    query = parse(f'"{text.replace(chr(34), " ")}"')
    stored = text.replace('"', " ").replace("\x00", "").encode(errors="replace").decode()
    assert pl.DataFrame({"lexemes": [lexemes(stored)]}).filter(matches(query)).height == bool(query)


@pytest.mark.parametrize("text", ["a.b", "a+b", "$5", "c++ (x)"])
def test_characters_of_regular_expressions_are_only_characters(text: str) -> None:
    rows = pl.DataFrame({"lexemes": [lexemes(f"start {text} the end {text}"), " start axb \x01 end axb "]})
    assert rows.filter(matches(parse(f'"start {text} the end"')))["lexemes"].to_list() == rows["lexemes"].to_list()[:1]


def test_no_query_matches_without_a_lexeme() -> None:
    assert not parse("the")
    assert pl.DataFrame({"lexemes": [" ", " \x01 ", " a "]}).filter(matches(Query("", ()))).is_empty()
