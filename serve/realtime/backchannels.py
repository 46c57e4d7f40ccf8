"""Backchannels: words that a listener says without taking the turn."""

from __future__ import annotations

import re
from typing import Final

# fmt: off
_WORDS: Final = frozenset({
    "mhm", "mm", "mmm", "hm", "hmm", "uh", "huh", "uhhuh", "mmhmm", "ah", "oh", "aha", "okay", "ok", "yeah",
    "yep", "yes", "yup", "right", "sure", "exactly", "really", "wow", "i", "see", "got", "it", "of", "course",
    "true", "indeed", "ja", "genau", "sí", "si", "claro", "vale", "oui", "daccord",
})
# fmt: on
_MOST_WORDS: Final = 3
_LETTERS: Final = re.compile(r"[^\w\s]")


def is_backchannel(text: str) -> bool:
    """Whether ``text`` consists of a few backchannel words only, as in "mhm" or "yeah, right". An empty text does not."""
    words = _LETTERS.sub("", text.lower()).split()
    return 0 < len(words) <= _MOST_WORDS and all(word in _WORDS for word in words)
