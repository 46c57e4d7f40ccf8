"""Receiver operating characteristics of a check on good renders and planted faults, and its cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.verification.planted_renders import DEFECTS, Defect, Render
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from serve.engines.tts.verify.decision import Decision, fit
from serve.engines.tts.verify.verdict import Expected

FALSE_ALARM_RATES: Final = (0.01, 0.02, 0.05, 0.1)


class Features(Protocol):
    def vector(self) -> NDArray[np.float64]: ...


class Evidence(Protocol):
    @property
    def features(self) -> Features: ...


Weigh = Callable[[Samples, Expected], Evidence | None]
"""A check's ``evidence``."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One render: its features (NaN where the audio is too short for the words), and the cost of the check."""

    features: NDArray[np.float64]
    defect: Defect
    voice: str
    audio_secs: Seconds
    cpu_secs: Seconds


@dataclass(frozen=True, slots=True)
class Roc:
    """``detected``: share of the faults caught at the decision's own threshold, and at each of `FALSE_ALARM_RATES`."""

    defect: Defect
    count: int
    area: float
    detected: float
    detected_at: tuple[float, ...]


def run(renders: Iterable[Render], weigh: Weigh, num_features: int) -> list[Trial]:
    """Checks each render once; ``cpu_secs`` count all threads of this process."""
    trials: list[Trial] = []
    for render in renders:
        began = time.process_time()
        evidence = weigh(render.samples, render.expected)
        cost = time.process_time() - began
        features = np.full(num_features, np.nan) if evidence is None else evidence.features.vector()
        secs = render.samples.size / SAMPLE_RATE_HZ
        trials.append(Trial(features, render.defect, render.style.voice.voice_id, secs, cost))
    return trials


def fitted(trials: Sequence[Trial], directions: Mapping[str, int], false_alarms: float, made: dict[str, Any]) -> Decision:
    """The decision that separates the good trials from all faults."""
    usable = [trial for trial in trials if np.isfinite(trial.features).all()]
    features = np.stack([trial.features for trial in usable])
    defective = np.asarray([trial.defect != "none" for trial in usable])
    return fit(features, defective, directions, false_alarms, made)


def probabilities(trials: Sequence[Trial], decision: Decision) -> NDArray[np.float64]:
    """``(num_trials,)``; 1 for audio that is too short for its words."""
    return np.nan_to_num(decision.probability(np.stack([trial.features for trial in trials])), nan=1.0)


def rocs(trials: Sequence[Trial], decision: Decision) -> list[Roc]:
    """One ROC for each kind of fault, against all good trials."""
    scores = probabilities(trials, decision)
    kinds = np.asarray([trial.defect for trial in trials])
    good = scores[kinds == "none"]
    found = []
    for defect in DEFECTS:
        bad = scores[kinds == defect]
        if len(bad):
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
    """Probability that a fault scores higher than a good render; ties count half."""
    return float(np.mean((bad[:, None] > good) + 0.5 * (bad[:, None] == good)))


def curve(good: NDArray[np.float64], bad: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False alarm rate and detection rate at every threshold."""
    thresholds = np.unique(np.concatenate([good, bad, [-np.inf, np.inf]]))[::-1]
    return (good >= thresholds[:, None]).mean(axis=1), (bad >= thresholds[:, None]).mean(axis=1)
