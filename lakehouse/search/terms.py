"""The different lexemes of an index, in arrays that may be mapped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PREFIX_BYTES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """``n`` lexemes in the order of their bytes; a lexeme's number is its place in that order."""

    text: NDArray[np.uint8]
    """All lexemes, one after the other."""
    ends: NDArray[np.int64]
    """``(n + 1,)`` bounds of each in ``text``, from 0 on."""
    prefixes: NDArray[np.uint64]
    """``(n,)`` first eight bytes of each as one number, so that a search compares few lexemes."""

    @classmethod
    def of(cls, lexemes: Iterable[str]) -> Terms:
        """``lexemes`` must be in the order of their bytes, which is that of their code points."""
        words = [lexeme.encode() for lexeme in lexemes]
        prefixes = b"".join(word[:_PREFIX_BYTES].ljust(_PREFIX_BYTES, b"\0") for word in words)
        return cls(
            np.frombuffer(b"".join(words), np.uint8),
            np.cumsum([0, *map(len, words)], dtype=np.int64),
            np.frombuffer(prefixes, ">u8").astype(np.uint64),
        )

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Terms:
        """As `arrays` gave them."""
        return cls(arrays["terms.text"], arrays["terms.ends"], arrays["terms.prefixes"])

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays, by name."""
        return {"terms.text": self.text, "terms.ends": self.ends, "terms.prefixes": self.prefixes}

    def __len__(self) -> int:
        return len(self.prefixes)

    def number(self, lexeme: str) -> int | None:
        """The number of ``lexeme``; None if it is not among them."""
        word = lexeme.encode()
        prefix = np.uint64(int.from_bytes(word[:_PREFIX_BYTES].ljust(_PREFIX_BYTES, b"\0"), "big"))
        low, high = (int(self.prefixes.searchsorted(prefix, side)) for side in ("left", "right"))
        place = bisect_left(range(high), word, low, high, key=self._word)
        return place if place < high and self._word(place) == word else None

    def _word(self, place: int) -> bytes:
        return self.text[self.ends[place] : self.ends[place + 1]].tobytes()
