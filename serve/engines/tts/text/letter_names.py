"""Letters that espeak-ng would read as words."""

from __future__ import annotations

import re
from typing import Final

_LETTER_A: Final = re.compile(r"(?<=\b[B-Z] )A\b|\bA(?= [A-Z]\b)")


def letter_names(text: str) -> str:
    """English text in which the A of spelled-out initials, as in ``A B C``, is named and not read as the article."""
    return _LETTER_A.sub("ay", text)
