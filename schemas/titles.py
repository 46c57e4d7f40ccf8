"""The title of a conversation: how that begins which the user said first."""

from __future__ import annotations

import unicodedata
from typing import Final

TITLE_CHARS: Final = 80
"""Most characters of a title."""
_JOINERS: Final = "\u200c\u200d"
"""Invisible, and part of words and of emoji."""


def title_of(said: str) -> str | None:
    """One line of at most `TITLE_CHARS` characters, cut at a blank where there is one; None if nothing of it is visible.

    Characters that control a terminal or the direction of a text are left out.
    """
    line = " ".join("".join(map(_shown, said)).split())
    if not line.strip(_JOINERS):
        return None
    if len(line) <= TITLE_CHARS:
        return line
    end = TITLE_CHARS - 1
    blank = line.rfind(" ", TITLE_CHARS // 2, end + 1)
    if blank >= 0:
        return f"{line[:blank]}…"
    while end > 1 and (_is_joined(line[end]) or line[end - 1] in _JOINERS):
        end -= 1
    return f"{line[:end]}…"


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    return "" if unicodedata.category(character)[0] == "C" and character not in _JOINERS else character


def _is_joined(character: str) -> bool:
    """Whether it belongs to the character before it."""
    return character in _JOINERS or unicodedata.category(character)[0] == "M"
