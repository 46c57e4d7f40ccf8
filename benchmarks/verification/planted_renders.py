"""Renders with known words, good and with planted faults, for fitting and measuring the checks.

Everything is drawn from a seeded generator. Sentences on even lines are for fitting, those on odd lines for measuring; the
voices of an engine are split as well. Languages other than English are only measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from benchmarks.verification.speaking import Split, Style, styles
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples, Synthesizer
from schemas.speech import DEFAULT_TEMPERATURE, Part, Passage
from serve.engines.tts.text.markup import parts_of
from serve.engines.tts.verify.pronunciation import Phones, Pronouncer, bare, espeak_voice
from serve.engines.tts.verify.verdict import Expected
from serve.engines.tts.verify.verified_render import for_listening

Defect = Literal["none", "drop", "substitution", "confusable", "repeat", "truncation"]
DEFECTS: Final[tuple[Defect, ...]] = tuple(d for d in get_args(Defect) if d != "none")

_MISREADINGS: Final[tuple[Defect, ...]] = ("confusable", "substitution", "repeat")
_FEWEST_WORDS: Final = 3
"""Shorter sentences get no misreadings."""
_LEAST_LEFT, _MOST_LEFT = 0.6, 0.95
"""Share of the speech that remains after a truncation."""
_FADE: Final = round(0.01 * SAMPLE_RATE_HZ)
_SILENCE: Final = round(0.3 * SAMPLE_RATE_HZ)
_AUDIBLE: Final = 0.02
"""Amplitude at which speech begins and ends, as a share of the largest."""


@dataclass(frozen=True, slots=True)
class Render:
    """``samples``: ``(num_samples,) float32`` at 16 kHz mono; ``expected`` was requested, not necessarily spoken."""

    samples: Samples
    expected: Expected
    style: Style
    defect: Defect


@cache
def sentences(language: str) -> tuple[str, ...]:
    """The lines of ``sentences/<language>.txt``, as a client would write them."""
    path = Path(__file__).parent / "sentences" / f"{language}.txt"
    return tuple(path.read_text("utf-8").splitlines())


def planted_renders(
    synthesizer: Synthesizer, engine: str, language: str, split: Split, per_sentence: int, seed: int
) -> Iterator[Render]:
    """Each sentence ``per_sentence`` times, with voices in turn: good, with a word dropped, with one of the other
    misreadings in turn, and truncated. Raises EngineFailure.
    """
    random = np.random.default_rng(seed)
    texts = sentences(language)
    if language == "en":
        texts = texts[::2] if split == "fitting" else texts[1::2]
    voices = styles(engine, language, split)
    for turn in range(per_sentence):
        for number, text in enumerate(texts):
            style = voices[(turn * len(texts) + number) % len(voices)].varied(random)
            other = _MISREADINGS[(number + turn) % len(_MISREADINGS)]
            yield from _with_faults(synthesizer, text, style, ("drop", other), random)


def _with_faults(
    synthesizer: Synthesizer, text: str, style: Style, faults: Sequence[Defect], random: np.random.Generator
) -> Iterator[Render]:
    said = spoken(text, style.voice.language)
    expected = Expected(tuple(said.split()), style.voice.language)
    good = Render(say(synthesizer, said, style), expected, style, "none")
    yield good
    if len(expected.words) >= _FEWEST_WORDS:
        for fault in faults:
            faulty = misread(said, fault, style.voice.language, random)
            yield replace(good, samples=say(synthesizer, faulty, style), defect=fault)
    yield replace(good, samples=broken_off(good.samples, random), defect="truncation")


def spoken(text: str, language: str) -> str:
    """``text`` with its numbers and signs as words of ``language``."""
    return " ".join(part.text for part in parts_of(text, language))


def say(synthesizer: Synthesizer, text: str, style: Style) -> Samples:
    """``(num_samples,) float32`` at 16 kHz mono."""
    passage = Passage((Part(text),), len(text), 0.0)
    pieces = list(synthesizer.render(passage, style.voice, DEFAULT_TEMPERATURE, style.speed))
    return for_listening(np.concatenate(pieces))


def misread(text: str, fault: Defect, language: str, random: np.random.Generator) -> str:
    """``text`` with one word left out (*drop*), said twice (*repeat*), or another in its place.

    *substitution* takes any word of the language's sentences that sounds different, *confusable* the most similar one.
    Punctuation stays.
    """
    tokens = text.split()
    at = int(random.integers(len(tokens)))
    before, word, after = _split_token(tokens[at])
    if fault == "drop":
        if after and at:
            start, previous, _ = _split_token(tokens[at - 1])
            tokens[at - 1] = start + previous + after
        del tokens[at]
    elif fault == "repeat":
        tokens[at : at + 1] = [before + word, word.lower() + after]
    else:
        other = _substitute(word.lower(), language, random, alike=fault == "confusable")
        tokens[at] = before + other + after
    return " ".join((tokens[0][:1].upper() + tokens[0][1:], *tokens[1:]))


def broken_off(samples: Samples, random: np.random.Generator) -> Samples:
    """The first 60 to 95 % of the speech: cut off, or faded out over 10 ms, or faded out with silence behind it."""
    loud = np.flatnonzero(np.abs(samples) > _AUDIBLE * np.abs(samples).max())
    end = int(loud[0] + (loud[-1] - loud[0]) * random.uniform(_LEAST_LEFT, _MOST_LEFT))
    cut, ending = samples[:end].copy(), int(random.integers(3))
    if ending:
        cut[-_FADE:] *= np.linspace(1, 0, _FADE, dtype=np.float32)
    return np.concatenate([cut, np.zeros(_SILENCE, np.float32)]) if ending == 2 else cut


def _split_token(token: str) -> tuple[str, str, str]:
    word = bare(token)
    before, _, after = token.partition(word)
    return before, word, after


def _substitute(word: str, language: str, random: np.random.Generator, *, alike: bool) -> str:
    phones = _phones_of_words(language)
    own = Pronouncer(espeak_voice(language) or "").phones(word)
    others = [other for other, found in phones.items() if found and found != own]
    if not alike:
        return str(random.choice(others))
    return min(others, key=lambda other: edits(own, phones[other]) / max(len(own), len(phones[other])))


@cache
def _phones_of_words(language: str) -> dict[str, Phones]:
    """Phones of the words of all sentences of a language except numbers, in alphabetical order."""
    pronouncer = Pronouncer(espeak_voice(language) or "")
    words = {bare(token).lower() for text in sentences(language.partition("-")[0]) for token in text.split()}
    return {word: pronouncer.phones(word) for word in sorted(words) if word.isalpha()}


def edits(a: Phones, b: Phones) -> int:
    """Levenshtein distance of two phone sequences."""
    row = list(range(len(b) + 1))
    for i, wanted in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, phone in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != phone))
    return row[-1]
