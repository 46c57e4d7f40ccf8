"""Standard error rates: by jiwer for words, pyannote.metrics for speakers, meeteval for both together."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.quality.corpus import Spoken
from schemas.domain import Seconds, Turn, Word
from schemas.errors import InvalidRequest

_TITLES: Final = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
_NOT_WORD: Final = re.compile(r"[^\w' ]+")
_NUMBER: Final = re.compile(r"\b(?P<digits>\d{1,3}(?:,\d{3})+|\d{1,12}(?:\.\d{1,6})?)(?P<ordinal>(?:st|nd|rd|th)\b)?")


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts of one recording; rates of several are made of their sums."""

    wrong: int
    reference: int

    @property
    def rate(self) -> float:
        return self.wrong / max(1, self.reference)


@dataclass(frozen=True, slots=True)
class SpeakerErrors:
    """Seconds of one recording: missed, false alarm, confused, and of reference speech."""

    missed: Seconds
    false_alarm: Seconds
    confused: Seconds
    total: Seconds

    @property
    def rate(self) -> float:
        return (self.missed + self.false_alarm + self.confused) / self.total if self.total else 0.0


def normalized(text: str) -> str:
    """Lower-case words without punctuation; titles and English numbers in full, so ``3rd`` and ``third`` are equal."""
    spelt = _NUMBER.sub(_in_words, text.lower().replace("’", "'"))
    cleaned = _NOT_WORD.sub(" ", spelt.replace("-", " "))
    return " ".join(_TITLES.get(word, word) for word in cleaned.split())


def _in_words(number: re.Match[str]) -> str:
    from num2words import num2words

    digits, ending = number["digits"].replace(",", ""), number["ordinal"] or ""
    if "." in digits:
        return f" {num2words(float(digits))} {ending}"
    return f" {num2words(int(digits), to='ordinal' if ending else 'cardinal')} "


def word_errors(reference: str, heard: str) -> WordErrors:
    """Substituted, deleted and inserted words of ``heard``, both texts normalised."""
    import jiwer

    said = normalized(reference)
    if not said:
        return WordErrors(len(normalized(heard).split()), 0)
    found = jiwer.process_words(said, normalized(heard))
    return WordErrors(found.substitutions + found.deletions + found.insertions, len(said.split()))


def words_right(reference: str, heard: Sequence[Word]) -> list[bool]:
    """Whether jiwer's alignment pairs each recognised word with the same word of the reference."""
    import jiwer

    tokens = [(normalized(word.text).split() or ["·"]) for word in heard]
    owners = [index for index, parts in enumerate(tokens) for _ in parts]
    flat = [part for parts in tokens for part in parts]
    right = [True] * len(heard)
    if not flat:
        return []
    found = jiwer.process_words(normalized(reference), " ".join(flat))
    for chunk in found.alignments[0]:
        if chunk.type != "equal":
            for place in range(chunk.hyp_start_idx, chunk.hyp_end_idx):
                right[owners[place]] = False
    return right


def speaker_errors(
    reference: Sequence[Spoken], turns: Sequence[Turn], duration_secs: Seconds, collar_secs: Seconds
) -> SpeakerErrors:
    """Overlapped speech counts. ``collar_secs`` is left out on either side of each edge of the reference."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    truth, guess = Annotation(), Annotation()
    for place, said in enumerate(reference):
        truth[Segment(said.start_secs, said.end_secs), place] = said.speaker
    for place, turn in enumerate(turns):
        guess[Segment(turn.start_secs, turn.end_secs), place] = str(turn.speaker)
    # pyannote's collar is the whole width around an edge.
    metric = DiarizationErrorRate(collar=2 * collar_secs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = metric(truth.support(), guess, uem=Timeline([Segment(0.0, duration_secs)]), detailed=True)
    return SpeakerErrors(found["missed detection"], found["false alarm"], found["confusion"], found["total"])


def speaker_rate(errors: Sequence[SpeakerErrors]) -> float:
    """Of several recordings together. Raises ZeroDivisionError where none has any speech."""
    return sum(e.missed + e.false_alarm + e.confused for e in errors) / sum(e.total for e in errors)


def cp_word_errors(reference: Sequence[Spoken], words: Sequence[Word], speakers: Sequence[int]) -> WordErrors:
    """Concatenated minimum-permutation word errors: each speaker's words against the best-matching reference speaker.

    Raises InvalidRequest for a reference without words.
    """
    from meeteval.wer import cp_word_error_rate

    if any(said.words is None for said in reference):
        raise InvalidRequest("cpWER needs the words of every turn")
    truth: dict[str, str] = {}
    for said in sorted(reference, key=lambda s: s.start_secs):
        truth[said.speaker] = f"{truth.get(said.speaker, '')} {normalized(said.words or '')}".strip()
    guess: dict[str, str] = {}
    for word, speaker in zip(words, speakers, strict=True):
        guess[str(speaker)] = f"{guess.get(str(speaker), '')} {normalized(word.text)}".strip()
    found = cp_word_error_rate(truth, guess)
    return WordErrors(int(found.errors), int(found.length))
