"""Search means what PostgreSQL 15 means: hundreds of queries find the same texts, hundreds of odd texts the same lexemes.

What PostgreSQL answered is kept in ``tests/data``; where its programs are installed it is asked again.
"""

from __future__ import annotations

import json

import polars as pl
import pytest

from lakehouse.search import STOP_MARK, lexemes, parse, tokenize
from lakehouse.search.compiler import matches
from tests.support.search_kit import (
    DATA,
    odd_runs,
    postgres,
    postgres_folder,
    postgres_ids,
    postgres_lexemes,
    queries,
    texts,
    to_ranges,
)

pytestmark = pytest.mark.integration

EXPECTED_IDS: dict[str, str] = json.loads((DATA / "search_queries.json").read_text("utf-8"))
EXPECTED_LEXEMES: dict[str, dict[str, str]] = json.loads((DATA / "search_tokens.json").read_text("utf-8"))
PROGRAMS = postgres_folder()


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return pl.DataFrame({"lexemes": [lexemes(text) for text in texts()]}).with_row_index("id")


def found(frame: pl.DataFrame, query: str) -> str:
    return to_ranges(frame.filter(matches(parse(query)))["id"].to_list())


def test_queries_find_what_postgres_finds(frame: pl.DataFrame) -> None:
    different = {query: (found(frame, query), ids) for query, ids in EXPECTED_IDS.items() if found(frame, query) != ids}
    assert len(EXPECTED_IDS) >= 300
    assert len({ids for ids in EXPECTED_IDS.values() if ids}) >= 200, "the queries must tell texts apart"
    assert len(different) * 240 <= 4 * len(EXPECTED_IDS), different


def test_odd_texts_have_the_lexemes_postgres_gives_them() -> None:
    different = {}
    for text, expected in EXPECTED_LEXEMES.items():
        ours = {str(place): lexeme for place, lexeme in enumerate(tokenize(text), 1) if lexeme is not None}
        if ours != expected:
            different[text] = (ours, expected)
    assert len(EXPECTED_LEXEMES) >= 400
    assert len(different) <= len(EXPECTED_LEXEMES) // 100, different


def test_stored_answers_are_for_the_present_texts_and_queries() -> None:
    assert list(EXPECTED_IDS) == queries()
    assert list(EXPECTED_LEXEMES) == odd_runs()


def test_no_lexeme_holds_what_separates_lexemes() -> None:
    for lexeme in filter(None, (lexeme for text in (*texts(), *EXPECTED_LEXEMES) for lexeme in tokenize(text))):
        assert " " not in lexeme
        assert STOP_MARK not in lexeme


@pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL 15 is not installed")
def test_stored_answers_are_those_of_postgres() -> None:
    assert PROGRAMS is not None
    with postgres(PROGRAMS) as server:
        assert postgres_ids(server) == EXPECTED_IDS
        assert postgres_lexemes(server, odd_runs()) == EXPECTED_LEXEMES
