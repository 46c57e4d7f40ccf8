"""File names as words: ``Dentist-interview_2024.mp3`` is found by ``dentists`` and by ``view_20``."""

from __future__ import annotations

import re

import polars as pl

from lakehouse.search.column import STOP_MARK
from lakehouse.search.compiler import matches
from lakehouse.search.snippet import excerpt
from lakehouse.search.stemming import lexeme
from lakehouse.search.websearch import Query

_WORD = re.compile(r"[^\W_]+")
_POLARS_WORD = r"[\p{L}\p{M}\p{N}]+"


def name_matches(query: Query, names: pl.Series) -> pl.Series:
    """Which of ``names`` (strings) match by their words, or hold the query as it was typed, letter case aside.

    ``(n,) bool``. Each different word is stemmed once, so that a hundred thousand names take tenths of a second.
    """
    frame = pl.DataFrame({"lexemes": name_lexemes(names), "name": names.str.to_lowercase()})
    found = matches(query)
    needle = _needle(query)
    if needle:
        found = found | pl.col("name").str.contains(needle, literal=True)
    return frame.select(found.alias("found"))["found"]


def name_lexemes(names: pl.Series) -> pl.Series:
    """The column form of each name, its words taken between everything that is neither letter nor digit."""
    words = names.str.to_lowercase().str.extract_all(_POLARS_WORD)
    # Words with digits are their own lexemes, and in names of recordings most words are such.
    different = words.explode().drop_nulls()
    different = different.filter(~different.str.contains("[0-9]")).unique()
    stems = [STOP_MARK if (stem := lexeme(word)) is None else stem for word in different]
    stemmed = words.list.eval(pl.element().replace(different, stems))
    return (" " + stemmed.list.join(" ") + " ").alias("lexemes")


def name_snippet(name: str, query: Query) -> str:
    """``name`` as ``snippet`` shows it: words that match marked, else the part that holds the query as typed."""
    wanted = {word: number for number, term in enumerate(query.wanted) for word in term.lexemes if word}
    spans = []
    for match in _WORD.finditer(name):
        stem = lexeme(match.group().lower())
        if stem in wanted:
            spans.append((match.start(), match.end(), wanted[stem]))
    needle = _needle(query)
    at = name.lower().find(needle) if needle and not spans else -1
    return excerpt(name, [(at, at + len(needle), 0)] if at >= 0 else spans)


def _needle(query: Query) -> str:
    """The query as typed, in lower case; empty where it has operators and so is not a piece of a name."""
    negates = any(term.negated for terms in query.alternatives for term in terms)
    return "" if '"' in query.text or negates or not query else query.text.strip().lower()
