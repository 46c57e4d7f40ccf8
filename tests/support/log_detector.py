"""Finds in log files what no log may hold: keys, tokens, signatures, what was said, names of recordings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

WORDS_IN_ROW = 4
"""So many words of a transcript, one after the other, are no accident."""
_SHORTEST_NAME = 8
_SHAPES = {
    "an API key": re.compile(r"\bfx_[A-Za-z0-9_-]{20,}"),
    "a bearer token": re.compile(r"Bearer\s+[A-Za-z0-9._~+/-]{16,}"),
    "a signature": re.compile(r"[?&](?:signature|X-Amz-Signature)=[0-9a-fA-F]{16,}"),
    "a lease": re.compile(r"[?&]lease=[^&\s\"']{8,}"),
}
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Secrets:
    """``exact`` strings, and ``texts`` whose runs of words are looked for."""

    exact: frozenset[str]
    texts: tuple[str, ...]


def secrets_of(home: Path) -> Secrets:
    """Keys, file names and texts of a home."""
    tables = home / "data" / "tables"
    keys = {path.read_text().strip() for path in (home / "keys").iterdir() if path.is_file()}
    names = set(pl.read_delta(str(tables / "transcriptions"))["filename"])
    texts = [pl.read_delta(str(tables / name))["text"].to_list() for name in ("segments", "turns", "tts_renders")]
    return Secrets(
        frozenset([key for key in keys if len(key) >= _SHORTEST_NAME] + [n for n in names if len(n) >= _SHORTEST_NAME]),
        tuple(text for column in texts for text in column if text),
    )


def found_in(text: str, secrets: Secrets) -> Iterator[str]:
    """What ``text`` holds that it must not, in words that repeat no secret."""
    for what, shape in _SHAPES.items():
        if shape.search(text):
            yield what
    for exact in secrets.exact:
        if exact in text:
            yield f"a key or a file name of {len(exact)} characters"
    written = _rows(text)
    for said in secrets.texts:
        if not written.isdisjoint(_rows(said)):
            yield f"words of a text of {len(said)} characters"


def _rows(text: str) -> set[tuple[str, ...]]:
    """Each four words of ``text`` that follow each other."""
    words = _WORD.findall(text.lower())
    return set(zip(*(words[n:] for n in range(WORDS_IN_ROW)), strict=False))


def leaks(files: Iterable[Path], secrets: Secrets) -> dict[str, list[str]]:
    """By file, what it holds that it must not."""
    found = {str(path): sorted(set(found_in(path.read_text(errors="replace"), secrets))) for path in files}
    return {path: what for path, what in found.items() if what}
