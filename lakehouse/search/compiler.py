"""A query as a Polars expression over a column of lexemes."""

from __future__ import annotations

from functools import reduce

import polars as pl

from lakehouse.search.websearch import Query, Term

_ANY_LEXEME = "[^ ]+"


def matches(query: Query, column: str = "lexemes") -> pl.Expr:
    """An expression that is true for rows that match. A query without a lexeme matches no row.

    Each of at most 64 different terms is one pass over the column, so the limits of a query bound its cost.
    """
    lexemes = pl.col(column)
    if not query:
        return pl.lit(value=False)
    return reduce(
        lambda a, b: a | b, (reduce(lambda a, b: a & b, (_holds(term, lexemes) for term in t)) for t in query.alternatives)
    )


def _holds(term: Term, lexemes: pl.Expr) -> pl.Expr:
    if None in term.lexemes:
        words = (_ANY_LEXEME if word is None else pl.escape_regex(word) for word in term.lexemes)
        found = lexemes.str.contains(f" {' '.join(words)} ")
    else:
        found = lexemes.str.contains(f" {' '.join(filter(None, term.lexemes))} ", literal=True)
    return ~found if term.negated else found
