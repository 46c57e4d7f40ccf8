"""A stretch of text as a reader says it."""

from __future__ import annotations


def read_aloud(text: str) -> str:
    """``text`` with one space between words."""
    return " ".join(text.split())
