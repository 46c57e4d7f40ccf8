"""Reads a folder of recordings with references in the usual file formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.domain import Seconds
from schemas.errors import InvalidRequest

_AUDIO: Final = frozenset({".aac", ".flac", ".m4a", ".mp3", ".mp4", ".ogg", ".opus", ".wav", ".webm"})


@dataclass(frozen=True, slots=True)
class Spoken:
    """An interval in which one person speaks, with its words if they are known."""

    speaker: str
    start_secs: Seconds
    end_secs: Seconds
    words: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """One recording and its reference: words, turns, both, or words by speaker."""

    audio: Path
    words: str | None = None
    turns: tuple[Spoken, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.audio.stem

    @property
    def has_speaker_words(self) -> bool:
        return bool(self.turns) and all(turn.words is not None for turn in self.turns)


def read_corpus(folder: Path) -> list[Reference]:
    """Every recording below ``folder`` that has a reference, by name. Raises InvalidRequest where there is none.

    A reference is ``NAME.txt`` beside ``NAME.wav`` (words), a line ``NAME<tab>words`` or LibriSpeech's ``NAME WORDS`` of
    any other text file, lines of any ``.rttm`` (who, when), or of any ``.stm`` (who, when, what).
    """
    words, turns = _words(folder), _turns(folder)
    found = []
    for audio in sorted(path for path in folder.rglob("*") if path.suffix.lower() in _AUDIO):
        said = tuple(turns.get(audio.stem, ()))
        text = words.get(audio.stem)
        if text is None and said and all(turn.words is not None for turn in said):
            text = " ".join(turn.words or "" for turn in sorted(said, key=lambda t: t.start_secs))
        if text is not None or said:
            found.append(Reference(audio, text, said))
    if not found:
        raise InvalidRequest(f"{folder} holds no recording with a reference: NAME.txt, or NAME in a .txt, .rttm or .stm")
    return found


def _words(folder: Path) -> dict[str, str]:
    names = {path.stem for path in folder.rglob("*") if path.suffix.lower() in _AUDIO}
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.txt")):
        text = path.read_text(encoding="utf-8")
        if path.stem in names:
            found[path.stem] = " ".join(text.split())
            continue
        for line in text.splitlines():
            name, _, said = line.replace("\t", " ", 1).partition(" ")
            if name in names:
                found[name] = " ".join(said.split())
    return found


def _turns(folder: Path) -> dict[str, list[Spoken]]:
    found: dict[str, list[Spoken]] = {}
    for path in sorted(folder.rglob("*.rttm")):
        for name, turn in _rttm(path):
            found.setdefault(name, []).append(turn)
    for path in sorted(folder.rglob("*.stm")):
        for name, turn in _stm(path):
            found.setdefault(name, []).append(turn)
    return found


def _rttm(path: Path) -> Iterator[tuple[str, Spoken]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start, length = float(fields[3]), float(fields[4])
            yield fields[1], Spoken(fields[7], start, start + length)
        except (IndexError, ValueError):
            raise InvalidRequest(f"{path.name}, line {number}: not an RTTM line of a speaker") from None


def _stm(path: Path) -> Iterator[tuple[str, Spoken]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split(maxsplit=5)
        if not fields or fields[0].startswith(";;"):
            continue
        try:
            said = fields[5] if len(fields) > 5 else ""
            yield fields[0], Spoken(fields[2], float(fields[3]), float(fields[4]), _without_label(said))
        except (IndexError, ValueError):
            raise InvalidRequest(f"{path.name}, line {number}: not an STM line") from None


def _without_label(said: str) -> str:
    """The words of an STM line without the optional label ``<o,f0,male>`` before them."""
    return said.partition(">")[2].strip() if said.startswith("<") else said
