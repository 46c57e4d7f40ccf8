"""Decides the language of a recording once, from a few windows spread over it, so that all windows get the same language.

Language detection errs on single windows: on short ones, on noise, on names. Votes of several windows, weighted by
probability and duration, are right far more often.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Final

from audio.speech_windows import Window
from schemas.domain import Recognition, Seconds

SAMPLE_WINDOWS: Final = 3
"""Windows that are recognised before the rest of a recording. Their recognitions are used, so they cost nothing extra."""
SURE_SHARE: Final = 0.7
"""Share of the votes that decides; with less, further windows are recognised."""
MAX_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class LanguageChoice:
    """``language`` is None where nothing was said, or the recogniser does not detect languages.

    ``usable``: recognitions of sampled windows in that language, by number of the window.
    """

    language: str | None
    usable: Mapping[int, Recognition] = field(default_factory=dict)


async def choose_language(
    windows: Sequence[Window], recognize: Callable[[Sequence[int]], Awaitable[Sequence[Recognition]]]
) -> LanguageChoice:
    """Recognise samples with ``recognize``, which takes numbers of windows, until one language has enough votes."""
    sampled: dict[int, Recognition] = {}
    language: str | None = None
    for sample in islice(samples_of(windows), MAX_ROUNDS):
        sampled.update(zip(sample, await recognize(sample), strict=True))
        language, share = most_votes((windows[number].duration_secs, found) for number, found in sampled.items())
        if share >= SURE_SHARE:
            break
    return LanguageChoice(language, {n: found for n, found in sampled.items() if fits(found, language)})


def fits(recognition: Recognition, language: str | None) -> bool:
    """Whether a recognition can be used in a recording of ``language``: it is in that language, or has no words."""
    return not recognition.words or recognition.language in (None, language)


def samples_of(windows: Sequence[Window]) -> list[list[int]]:
    """Numbers of the windows of each round: first the longest window of each of `SAMPLE_WINDOWS` equal parts, then the
    next longest, and so on. The recording's first window belongs to the first round, so that its text comes early."""
    count = min(SAMPLE_WINDOWS, len(windows))
    edges = [len(windows) * part // count for part in range(count + 1)] if count else []
    parts = [
        sorted(range(first, last), key=lambda number: -windows[number].duration_secs) for first, last in pairwise(edges)
    ]
    turns = range(max((len(part) for part in parts), default=0))
    rounds = [{part[turn] for part in parts if turn < len(part)} for turn in turns]
    for later in rounds[1:]:
        later.discard(0)
    if rounds:
        rounds[0].add(0)
    return [sorted(numbers) for numbers in rounds if numbers]


def most_votes(recognitions: Iterable[tuple[Seconds, Recognition]]) -> tuple[str | None, float]:
    """The language with the most votes, and its share; a window's vote is its duration times the language's probability.

    Windows without words do not vote. (None, 0.0) without votes.
    """
    votes: dict[str, float] = {}
    for secs, recognition in recognitions:
        if recognition.language is not None and recognition.words:
            probability = 1.0 if recognition.language_probability is None else recognition.language_probability
            votes[recognition.language] = votes.get(recognition.language, 0.0) + probability * secs
    total = sum(votes.values())
    if not total:
        return None, 0.0
    language = max(votes, key=lambda code: votes[code])
    return language, votes[language] / total
