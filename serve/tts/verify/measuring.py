"""How well the check separates good renders from planted defects: receiver operating characteristics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from serve.tts.verify.acoustics import AcousticModel
from serve.tts.verify.corpus import DEFECTS, FITTING_VOICES, MEASURING_VOICES, Defect, Render, measuring_renders, sentences
from serve.tts.verify.decision import Decision, fit
from serve.tts.verify.evidence import FEATURES, weigh
from serve.tts.verify.lexicon import load_lexicon

FALSE_ALARM_RATES: Final = (0.01, 0.02, 0.05, 0.1)
_IMPOSSIBLE: Final = np.full(len(FEATURES), np.nan)
FIT_SEED, FIT_PER_SENTENCE = 11, 4


@dataclass(frozen=True, slots=True)
class Trial:
    """One render: its features (NaN where the sound is too short for the words), and what the check cost."""

    features: NDArray[np.float64]
    defect: Defect
    voice: str
    num_words: int
    audio_secs: Seconds
    cpu_secs: Seconds


@dataclass(frozen=True, slots=True)
class Roc:
    """``detected``: share of the defects caught at the decision's own threshold, and at each of `FALSE_ALARM_RATES`."""

    defect: Defect
    count: int
    area: float
    detected: float
    detected_at: tuple[float, ...]


def fitting_renders() -> Iterable[Render]:
    return measuring_renders(sentences()[::2], FITTING_VOICES, FIT_PER_SENTENCE, FIT_SEED, warped=True)


def held_out_renders(per_sentence: int, seed: int, *, warped: bool = False) -> Iterable[Render]:
    """Sentences and voices that neither the acoustic model nor the decision has met."""
    return measuring_renders(sentences()[1::2], MEASURING_VOICES, per_sentence, seed, warped=warped)


def run(renders: Iterable[Render], model: AcousticModel) -> list[Trial]:
    lexicon = load_lexicon()
    trials: list[Trial] = []
    for render in renders:
        words = [lexicon.pronunciations(word) for word in render.words]
        began = time.thread_time()
        evidence = weigh(model.scores(render.samples), words, model)
        cost = time.thread_time() - began
        features = _IMPOSSIBLE if evidence is None else evidence.features.vector()
        secs = render.samples.size / SAMPLE_RATE_HZ
        trials.append(Trial(features, render.defect, render.speaking.voice, len(words), secs, cost))
    return trials


def fitted(trials: Sequence[Trial], made: dict[str, Any]) -> Decision:
    """The decision that separates the good trials from all defects."""
    usable = [trial for trial in trials if np.isfinite(trial.features).all()]
    features = np.stack([trial.features for trial in usable])
    return fit(features, np.asarray([trial.defect != "none" for trial in usable]), made)


def probabilities(trials: Sequence[Trial], decision: Decision) -> NDArray[np.float64]:
    """``(num_trials,)``; 1 for sounds too short to hold their words."""
    return np.nan_to_num(decision.probability(np.stack([trial.features for trial in trials])), nan=1.0)


def rocs(trials: Sequence[Trial], decision: Decision) -> list[Roc]:
    """One for each kind of defect, against all good trials."""
    scores = probabilities(trials, decision)
    kinds = np.asarray([trial.defect for trial in trials])
    good = scores[kinds == "none"]
    found = []
    for defect in DEFECTS:
        bad = scores[kinds == defect]
        at = tuple(float(np.mean(bad > np.quantile(good, 1 - rate))) for rate in FALSE_ALARM_RATES)
        found.append(Roc(defect, len(bad), area_under(good, bad), float(np.mean(bad > decision.threshold)), at))
    return found


def false_alarms(trials: Sequence[Trial], decision: Decision) -> dict[str, tuple[int, int]]:
    """Good renders that fail, and good renders, by voice."""
    found: dict[str, tuple[int, int]] = {}
    for trial, score in zip(trials, probabilities(trials, decision), strict=True):
        if trial.defect == "none":
            failed, total = found.get(trial.voice, (0, 0))
            found[trial.voice] = (failed + bool(score > decision.threshold), total + 1)
    return dict(sorted(found.items()))


def area_under(good: NDArray[np.float64], bad: NDArray[np.float64]) -> float:
    """Chance that a defect scores higher than a good render; ties count half."""
    return float(np.mean((bad[:, None] > good) + 0.5 * (bad[:, None] == good)))


def curve(good: NDArray[np.float64], bad: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False alarm rate and detection rate at every threshold."""
    thresholds = np.unique(np.concatenate([good, bad, [-np.inf, np.inf]]))[::-1]
    return (good >= thresholds[:, None]).mean(axis=1), (bad >= thresholds[:, None]).mean(axis=1)
