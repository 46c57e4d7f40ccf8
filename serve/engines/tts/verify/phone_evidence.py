"""Features of the phone check's decision, and the words that are missing in the audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.engines import Samples
from serve.engines.tts.verify.phone_acoustics import AcousticModel
from serve.engines.tts.verify.phone_alignment import ANY, FILLER, FLOOR, MIN_FRAMES, Path, PhoneSpan, Word, align
from serve.engines.tts.verify.phone_features import FRAME_SECS
from serve.engines.tts.verify.sound_end import end_level_db

_WINDOW: Final = 3
"""Number of phones of a running mean, about those of a short word."""


@dataclass(frozen=True, slots=True)
class PhoneFeatures:
    """Scores are mean log-posteriors, nats; all but the last six come from the forced search."""

    mean_score: float
    worst_word: float
    second_worst_word: float
    worst_run: float
    """Of three phones in a row."""
    last_word: float
    squeezed: float
    """Largest share of a word's phones that have the minimum duration."""
    stretched: float
    """Log of the longest phone's duration over its usual one at this rate."""
    gain: float
    """Log of one plus the nats that the free search gains."""
    missing: float
    """Words that the free search skips, as a number and as a share of all."""
    missing_share: float
    stray: float
    """Log of one plus the frames of speech that belong to no word."""
    log_words: float
    end_level_db: float
    """See `sound_end.end_level_db`."""

    def vector(self) -> NDArray[np.float64]:
        return np.asarray(astuple(self), np.float64)


PHONE_DIRECTIONS: Final = {
    **dict.fromkeys(("mean_score", "worst_word", "second_worst_word", "worst_run", "last_word"), -1),
    **dict.fromkeys(("squeezed", "stretched", "gain", "missing", "missing_share", "stray"), 1),
    "log_words": 0,
    "end_level_db": 1,
}
"""Sign of the weight of each of `PhoneFeatures`, in their order; see `decision.fit`."""

PHONE_FEATURES: Final = tuple(PHONE_DIRECTIONS)


@dataclass(frozen=True, slots=True)
class PhoneEvidence:
    """``missing`` and ``worst`` count expected words from 0; ``stray_secs`` is where speech without a word starts."""

    features: PhoneFeatures
    missing: tuple[int, ...]
    worst: int
    num_errors: int
    stray_secs: tuple[float, ...]


def weigh_phones(samples: Samples, words: Sequence[Word], model: AcousticModel) -> PhoneEvidence | None:
    """Features of ``(num_samples,) float32`` at 16 kHz; None where the audio is too short for the words."""
    scores = model.scores(samples)
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
    missing = tuple(number for number in expected if number not in free.found)
    strays = [span for span in free.spans if span.word < 0 and span.phone == FILLER]
    features = PhoneFeatures(
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
        end_level_db=end_level_db(samples),
    )
    return PhoneEvidence(
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
    """Number of missing words and of other speech; one of each between the same two words is one replaced word."""
    gaps: dict[int, int] = {}
    last = -1
    for span in free.spans:
        if span.word >= 0:
            last = span.word
        elif span.phone == FILLER:
            gaps[last] = gaps.get(last, 0) + 1
    found = sorted({-1, *free.found})
    skipped = {
        a: sum(1 for word in missing if word > a and (b is None or word < b))
        for a, b in zip(found, [*found[1:], None], strict=True)
    }
    return sum(max(skipped.get(word, 0), gaps.get(word, 0)) for word in found)
