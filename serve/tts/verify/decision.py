"""From evidence to a probability: a logistic function of the features, kept in ``decision.json`` with how it was made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serve.tts.verify.evidence import FEATURES

DECISION_FILE: Final = Path(__file__).with_name("decision.json")
FALSE_ALARMS: Final = 0.02
"""Share of good renders the threshold lets fail, on the renders it was chosen on."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``center``, ``scale``, ``weights``: ``(num_features,) float64`` in the order of `FEATURES`."""

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float
    threshold: float
    made: dict[str, Any]

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(..., num_features)`` to the probabilities, ``(...)``, that the words were not spoken as written."""
        logit = ((features - self.center) / self.scale) @ self.weights + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -60, 60))))


def fit(features: NDArray[np.float64], defective: NDArray[np.bool_], made: dict[str, Any]) -> Decision:
    """Both classes weigh the same. The threshold lets `FALSE_ALARMS` of the good renders fail."""
    from sklearn.linear_model import LogisticRegression

    center, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    found = LogisticRegression(C=0.3, class_weight="balanced", max_iter=2_000).fit((features - center) / scale, defective)
    decision = Decision(center, scale, found.coef_[0], float(found.intercept_[0]), 0.5, made)
    good = decision.probability(features[~defective])
    return Decision(center, scale, decision.weights, decision.bias, float(np.quantile(good, 1 - FALSE_ALARMS)), made)


@cache
def load_decision() -> Decision:
    """The one that ships. Raises ValueError where its features are not those of this code."""
    stored = json.loads(DECISION_FILE.read_text("utf-8"))
    if tuple(stored["features"]) != FEATURES:
        raise ValueError(f"{DECISION_FILE.name} was made for other features; run `fluxions bench verify --train`")
    center, scale, weights = (
        np.asarray([stored["features"][name][key] for name in FEATURES]) for key in ("center", "scale", "weight")
    )
    return Decision(center, scale, weights, stored["bias"], stored["threshold"], stored["made"])


def write_decision(decision: Decision, path: Path) -> None:
    features = {
        name: {"center": round(float(c), 5), "scale": round(float(s), 5), "weight": round(float(w), 5)}
        for name, c, s, w in zip(FEATURES, decision.center, decision.scale, decision.weights, strict=True)
    }
    stored = {"made": decision.made, "features": features, "bias": decision.bias, "threshold": decision.threshold}
    path.write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
