"""What the sound says for and against its text, in numbers: features of the decision, and the words that are not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serve.tts.verify.acoustics import AcousticModel
from serve.tts.verify.alignment import ANY, FILLER, FLOOR, MIN_FRAMES, Path, PhoneSpan, Word, align
from serve.tts.verify.features import FRAME_SECS

_WINDOW: Final = 3
"""Phones in a row whose mean is looked at: about what a short word has."""


@dataclass(frozen=True, slots=True)
class Features:
    """Scores are mean log-posteriors, nats; all but the last five come from the search that must hear every word."""

    mean_score: float
    worst_word: float
    second_worst_word: float
    worst_run: float
    """Of three phones in a row."""
    last_word: float
    squeezed: float
    """Largest share of a word's phones that got no more time than they must have."""
    stretched: float
    """Log of the longest phone's duration over what is usual at this rate."""
    gain: float
    """Log of one more than the nats won by leave to depart from the text."""
    missing: float
    """Words left out when that is allowed, and as a share of all."""
    missing_share: float
    stray: float
    """Log of one more than the frames of speech that belong to no word."""
    log_words: float

    def vector(self) -> NDArray[np.float64]:
        return np.asarray(astuple(self), np.float64)


FEATURES: Final = tuple(field.name for field in fields(Features))


@dataclass(frozen=True, slots=True)
class Evidence:
    """``missing`` and ``worst`` count expected words from 0; ``stray_secs`` is where speech without a word starts."""

    features: Features
    missing: tuple[int, ...]
    worst: int
    num_errors: int
    stray_secs: tuple[float, ...]


def weigh(scores: NDArray[np.float32], words: Sequence[Word], model: AcousticModel) -> Evidence | None:
    """Evidence in ``(num_frames, num_phones)`` scores; None where the sound is too short to hold the words."""
    forced = align(scores, words, free=False)
    free = align(scores, words, free=True)
    if forced is None or free is None:
        return None
    clipped = np.maximum(scores, FLOOR)
    phones = [span for span in forced.spans if span.word >= 0 and span.phone < FILLER]
    if not phones:
        return None
    values = np.asarray([clipped[span.start : span.end, span.phone].mean() for span in phones])
    by_word = _by_word(phones, values)
    ranked = sorted(by_word.values())
    expected = [number for number, word in enumerate(words) if word != ((ANY,),)]
    missing = tuple(number for number in expected if number not in free.heard)
    strays = [span for span in free.spans if span.word < 0 and span.phone == FILLER]
    features = Features(
        mean_score=float(values.mean()),
        worst_word=ranked[0],
        second_worst_word=ranked[min(1, len(ranked) - 1)],
        worst_run=float(_running_mean(values).min()),
        last_word=by_word[max(by_word)],
        squeezed=_squeezed(phones),
        stretched=_stretched(phones, model.phone_frames),
        gain=float(np.log1p(max(0.0, free.score - forced.score))),
        missing=float(min(len(missing), 4)),
        missing_share=len(missing) / len(expected),
        stray=float(np.log1p(sum(span.end - span.start for span in strays))),
        log_words=float(np.log(len(expected))),
    )
    return Evidence(
        features,
        missing,
        min(by_word, key=by_word.__getitem__),
        _num_errors(free, missing),
        tuple(round(span.start * FRAME_SECS, 2) for span in strays),
    )


def _by_word(phones: Sequence[PhoneSpan], values: NDArray[np.float32]) -> dict[int, float]:
    grouped: dict[int, list[float]] = {}
    for span, value in zip(phones, values, strict=True):
        grouped.setdefault(span.word, []).append(float(value))
    return {word: float(np.mean(found)) for word, found in grouped.items()}


def _running_mean(values: NDArray[np.float32]) -> NDArray[np.float64]:
    window = min(_WINDOW, len(values))
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def _squeezed(phones: Iterable[PhoneSpan]) -> float:
    grouped: dict[int, list[bool]] = {}
    for span in phones:
        grouped.setdefault(span.word, []).append(span.end - span.start <= MIN_FRAMES)
    return max(float(np.mean(found)) for found in grouped.values())


def _stretched(phones: Sequence[PhoneSpan], usual: NDArray[np.float32]) -> float:
    ratios = np.asarray([(span.end - span.start) / usual[span.phone] for span in phones])
    return float(np.log(ratios.max() / np.median(ratios)))


def _num_errors(free: Path, missing: tuple[int, ...]) -> int:
    """Words missing and stretches of other speech; one of each between the same two words is one replaced word."""
    gaps: dict[int, int] = {}
    last = -1
    for span in free.spans:
        if span.word >= 0:
            last = span.word
        elif span.phone == FILLER:
            gaps[last] = gaps.get(last, 0) + 1
    heard = sorted({-1, *free.heard})
    skipped = {
        a: sum(1 for word in missing if word > a and (b is None or word < b))
        for a, b in zip(heard, [*heard[1:], None], strict=True)
    }
    return sum(max(skipped.get(word, 0), gaps.get(word, 0)) for word in heard)
