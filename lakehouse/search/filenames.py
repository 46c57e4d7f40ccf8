"""File names as words and as text: ``Dentist-interview_2024.mp3`` is found by ``dentists`` and by ``view_20``.

Names and queries are compared in Unicode's normal form C, in lower case, with one kind of apostrophe, quote and hyphen.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import polars as pl

from lakehouse.search.compiler import matches
from lakehouse.search.lexeme_column import STOP_MARK
from lakehouse.search.snippet import excerpt
from lakehouse.search.stemming import lexeme
from lakehouse.search.websearch import Query, parse

_WORD = re.compile(r"[^\W_]+")
_POLARS_WORD = r"[\p{L}\p{M}\p{N}]+"


_ALIKE: Final = {
    **dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    "\u00a0": " ",
}
_EMOJI_STYLE: Final = "\ufe0f"
"""Variation selector for an emoji in colour. Some keyboards write it, others do not."""
_ALIKE_CODES: Final = str.maketrans(_ALIKE)


def name_query(text: str) -> Query:
    """The query ``text`` in the form that names are compared with. Raises InvalidParameter as `parse`."""
    return parse(unicodedata.normalize("NFC", text))


def may_match(query: Query) -> bool:
    """Whether any name can match."""
    return bool(query) or bool(_needle(query))


def name_matches(query: Query, names: pl.Series) -> pl.Series:
    """``(n,) bool``: which of ``names`` match by their words, or contain the query as typed.

    Each different word is stemmed once, so a hundred thousand names take tenths of a second.
    """
    query = name_query(query.text)
    names = names.str.normalize("NFC").str.to_lowercase()
    alike = names.str.replace_many([*_ALIKE, _EMOJI_STYLE], [*_ALIKE.values(), ""])
    frame = pl.DataFrame({"lexemes": name_lexemes(names), "name": alike})
    found = matches(query) if query else pl.lit(value=False)
    needle = _needle(query)
    if needle:
        found = found | pl.col("name").str.contains(needle, literal=True)
    return frame.select(found.alias("found"))["found"]


def name_lexemes(names: pl.Series) -> pl.Series:
    """Each name in the form of `lexeme_column`. Words are runs of letters, marks and digits."""
    words = names.str.to_lowercase().str.extract_all(_POLARS_WORD)
    # Words with digits are their own lexemes, and most words in names of recordings have digits.
    different = words.explode().drop_nulls()
    different = different.filter(~different.str.contains("[0-9]")).unique()
    stems = [STOP_MARK if (stem := lexeme(word)) is None else stem for word in different]
    stemmed = words.list.eval(pl.element().replace(different, stems))
    return (" " + stemmed.list.join(" ") + " ").alias("lexemes")


def name_snippet(name: str, query: Query) -> str:
    """``name`` as `snippet` shows it: with matching words marked. If no word matches, the query as typed is marked."""
    name, query = unicodedata.normalize("NFC", name), name_query(query.text)
    wanted = {word: number for number, term in enumerate(query.wanted) for word in term.lexemes if word}
    spans = []
    for match in _WORD.finditer(name):
        stem = lexeme(match.group().lower())
        if stem in wanted:
            spans.append((match.start(), match.end(), wanted[stem]))
    needle = _needle(query)
    at = name.lower().translate(_ALIKE_CODES).find(needle) if needle and not spans else -1
    return excerpt(name, [(at, at + len(needle), 0)] if at >= 0 else spans)


def _needle(query: Query) -> str:
    """The query as typed, or the text within one pair of quotes; empty for a query of blanks."""
    text = unicodedata.normalize("NFC", query.text).strip().lower().translate(_ALIKE_CODES).replace(_EMOJI_STYLE, "")
    inside = text[1:-1]
    return inside.strip() if len(text) > 2 and text[0] == text[-1] == '"' and '"' not in inside else text
