"""Finds sentence ends in written text: a mark that does not belong to an abbreviation, a number or an ellipsis."""

from __future__ import annotations

import re
from typing import Final

_MARKED: Final = re.compile(r"(?P<word>.*?)(?P<mark>[.!?…]+|[。！？।؟]+)[\"'”’»)\]]*", re.DOTALL)
"""A word with its mark, and what closes a quotation or bracket after it."""
_NEVER_LAST: Final = frozenset((
    "mr", "mrs", "ms", "mx", "dr", "prof", "rev", "hon", "st", "sr", "jr", "gen", "col", "sgt", "capt", "lt", "gov", "rep",
    "pres", "messrs", "mt", "ft", "nos", "vol", "pp", "cf", "vs", "e.g", "i.e", "viz", "approx",
    "sra", "srta", "dra", "mme", "mlle", "mgr", "sig", "dott", "avv", "herr", "bzw", "z.b",
))  # fmt: skip
"""Titles and the like in English, Spanish, French, Italian, Portuguese and German: a name or a number follows."""
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
"""``J`` of J. Smith, ``U.S`` of U.S. dollars."""


def ends_sentence(text: str, following: str | None) -> bool:
    """Whether the word ``text`` ends a sentence; ``following`` is the next word, None at the end.

    Marks of other scripts always end one. A full stop after a title, an initial or an abbreviation does not, nor one
    within a number that was split into words, nor a full stop or ellipsis before a lower-case word. If an abbreviation
    ends a sentence after all ("in the U.S. He said"), the two sentences are one segment, unless a pause or a change of
    speaker separates them.
    """
    found = _MARKED.fullmatch(text)
    if found is None:
        return False
    if following is None:
        return True
    mark, word = found["mark"], found["word"].lstrip("\"'“‘«([¿¡")
    if mark[0] in "。！？।؟":
        return True
    if following[0].islower():
        return False
    if "?" in mark or "!" in mark:
        return True
    if mark == ".":
        if word.lower() in _NEVER_LAST or (_INITIALS.fullmatch(word) and word not in ("I", "a")):
            return False
        if word[-1:].isdigit() and following[0].isdigit():
            return False
    return True
