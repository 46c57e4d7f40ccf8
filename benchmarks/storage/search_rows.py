"""Turns for `fluxions bench search`: an invented language with the word frequencies of speech, as sorted Delta tables.

A turn has 12 to 20 words, half of them English stop words. The others follow Zipf's law over 50,000 different words. Tables
are as maintenance leaves them: sorted by (account, id), 250,000 rows a file.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa
from deltalake import write_deltalake
from numpy.typing import NDArray

from lakehouse.search import STOP_MARK, tokenize
from lakehouse.search.stemming import stop_words
from lakehouse.tables.delta_writer import WRITER_PROPERTIES
from schemas.tables import TURNS

FILE_ROWS = 250_000
NUM_WORDS = 50_000
STOP_SHARE = 0.5
LENGTHS = (12, 20)
"""Words of the shortest and the longest turn."""
QUERIES_OF_A_KIND = 12
_BEGAN_US = 1_704_067_200_000_000
"""2024-01-01T00:00:00Z."""
_SYLLABLES = [a + b for a in "bdfglmnprst" for b in ("a", "e", "i", "o", "u", "an", "er")]


class Corpus:
    """Texts and queries, seeded."""

    def __init__(self, seed: int = 7) -> None:
        self._random = np.random.default_rng(seed)
        self._chance = random.Random(seed)  # noqa: S311 -- data, not secrets
        invented = ("".join(self._chance.choices(_SYLLABLES, k=self._chance.randint(2, 4))) for _ in itertools.count())
        different = dict.fromkeys(itertools.islice(invented, 2 * NUM_WORDS))
        self.words = list(itertools.islice(different, NUM_WORDS))
        """From the most frequent to the least."""
        all_words = [*self.words, *sorted(stop_words())]
        self._words = pl.Series(all_words, dtype=pl.String)
        self._lexemes = pl.Series([tokenize(word)[0] or STOP_MARK for word in all_words], dtype=pl.String)
        spoken, glue = _shares(NUM_WORDS), _shares(len(all_words) - NUM_WORDS)
        self._reached = np.cumsum(np.concatenate([spoken * (1 - STOP_SHARE), glue * STOP_SHARE]))

    def write(self, uri: str, account: str, turns: int, first_id: int) -> None:
        """Append ``turns`` of ``account`` to the table ``turns`` at ``uri``, one a second."""
        for frame in self.frames(account, turns, first_id):
            data = frame.to_arrow().cast(TURNS.schema)
            write_deltalake(uri, data, mode="append", writer_properties=WRITER_PROPERTIES)

    def frames(self, account: str, turns: int, first_id: int) -> Iterator[pl.DataFrame]:
        """The rows in the table's columns, at most ``FILE_ROWS`` at a time."""
        for start in range(0, turns, FILE_ROWS):
            yield self._frame(account, np.arange(first_id + start, first_id + min(turns, start + FILE_ROWS)))

    def _frame(self, account: str, ids: NDArray[np.int64]) -> pl.DataFrame:
        lengths = self._random.integers(LENGTHS[0], LENGTHS[1], len(ids), endpoint=True)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        chosen = self._reached.searchsorted(self._random.random(int(ends[-1])) * self._reached[-1])
        text, lexemes = (_joined(words.gather(chosen), ends) for words in (self._words, self._lexemes))
        values = {
            "id": pl.lit(pl.Series(ids)),
            "account": pl.lit(account),
            "created_at": pl.lit(pl.Series(_BEGAN_US + ids * 1_000_000)),
            "session_id": pl.format("sess_{}", pl.lit(pl.Series(ids // 20))),
            "role": pl.when(pl.lit(pl.Series(ids % 2 == 0))).then(pl.lit("user")).otherwise(pl.lit("assistant")),
            "text": pl.lit(text) + ".",
            "lexemes": " " + pl.lit(lexemes) + " ",
        }
        kinds = pl.Schema(TURNS.schema)
        return pl.select(values.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in kinds.items())

    def queries(self) -> dict[str, list[str]]:
        """Queries by kind; each word is drawn from a band of word frequencies."""

        def word(first: int, last: int) -> str:
            return self._chance.choice(self.words[first:last])

        kinds: dict[str, Callable[[], str]] = {
            "frequent word": lambda: word(0, 100),
            "word": lambda: word(100, 2000),
            "rare word": lambda: word(20_000, NUM_WORDS),
            "two words": lambda: f"{word(0, 300)} {word(0, 300)}",
            "two rare words": lambda: f"{word(1000, 5000)} {word(1000, 5000)}",
            "phrase": lambda: f'"{word(0, 50)} the {word(0, 50)}"',
            "or": lambda: f"{word(100, 2000)} or {word(100, 2000)}",
            "negation": lambda: f"{word(0, 300)} -{word(0, 100)}",
            "no such word": lambda: f"x{word(0, 100)}x",
        }
        return {kind: [make() for _ in range(QUERIES_OF_A_KIND)] for kind, make in kinds.items()}


def _shares(count: int) -> NDArray[np.float64]:
    """``(count,)`` shares of words by rank, after Zipf and Mandelbrot: 1 / (rank + 2.7), from rank 1 on."""
    weights: NDArray[np.float64] = 1 / (np.arange(count) + 3.7)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def _joined(words: pl.Series, ends: NDArray[np.int64]) -> pl.Series:
    """The words of each row with blanks between them; ``ends``: where rows begin and end in ``words``."""
    rows = pa.ListArray.from_arrays(ends.astype(np.int32), words.to_arrow().cast(pa.string()))
    joined = pl.from_arrow(rows)
    assert isinstance(joined, pl.Series)  # noqa: S101 - of an array it always is
    return joined.list.join(" ")
