"""The decision of a check: a logistic function of its features, stored as JSON with its provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_INVERSE_PENALTY: Final = 0.3
"""L2 regularisation, as in scikit-learn's logistic regression."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``center``, ``scale``, ``weights``: ``(num_features,) float64`` in the order of ``features``.

    A passage fails if its probability exceeds ``threshold``. ``made`` has the data and the command of the fit,
    where they were stored.
    """

    features: tuple[str, ...]
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


def undecided(features: Sequence[str]) -> Decision:
    """A decision that passes everything, for computing features before there is a fitted one."""
    none = np.zeros(len(features))
    return Decision(tuple(features), none, none + 1, none, 0.0, 1.0, {})


def fit(
    features: NDArray[np.float64],
    defective: NDArray[np.bool_],
    directions: Mapping[str, int],
    false_alarms: float,
    made: dict[str, Any],
) -> Decision:
    """Fit a decision; both classes weigh the same. A share ``false_alarms`` of the good renders fails at the threshold.

    ``directions`` names the features in order, with the sign of each weight: 1 if a higher value can only mean an error, -1
    if a lower one can, 0 for either. Without signs, correlated features get weights of opposite signs, and audio unlike
    the fitted renders, such as silence, passes.
    """
    from scipy.optimize import minimize

    center, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    inputs = np.concatenate([(features - center) / scale, np.ones((len(features), 1))], axis=1)
    shares = np.where(defective, 0.5 / defective.sum(), 0.5 / (~defective).sum()) * len(features)
    targets = np.where(defective, 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = targets * (inputs @ weights)
        pulls = -targets * shares / (1 + np.exp(np.clip(margins, -60, 60)))
        penalty = weights[:-1] @ weights[:-1] / (2 * _INVERSE_PENALTY)
        gradient = inputs.T @ pulls
        gradient[:-1] += weights[:-1] / _INVERSE_PENALTY
        return float(shares @ np.logaddexp(0, -margins) + penalty), gradient

    bounds = [{1: (0, None), -1: (None, 0), 0: (None, None)}[direction] for direction in directions.values()]
    found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, bounds=[*bounds, (None, None)], method="L-BFGS-B").x
    decision = Decision(tuple(directions), center, scale, found[:-1], float(found[-1]), 0.5, made)
    threshold = float(np.quantile(decision.probability(features[~defective]), 1 - false_alarms))
    return replace(decision, threshold=threshold)


def read_decision(path: Path, features: Sequence[str]) -> Decision:
    """Raises ValueError if the decision has other features."""
    stored = json.loads(path.read_text("utf-8"))
    if tuple(stored["features"]) != tuple(features):
        raise ValueError(f"{path.name} was made for other features; run `fluxions bench verify --train`")
    center, scale, weights = (
        np.asarray([stored["features"][name][key] for name in features]) for key in ("center", "scale", "weight")
    )
    return Decision(tuple(features), center, scale, weights, stored["bias"], stored["threshold"], stored.get("made", {}))


def write_decision(decision: Decision, path: Path) -> None:
    """Replaces ``path``; numbers are rounded to five decimals."""
    features = {
        name: {"center": round(float(c), 5), "scale": round(float(s), 5), "weight": round(float(w), 5)}
        for name, c, s, w in zip(decision.features, decision.center, decision.scale, decision.weights, strict=True)
    }
    stored = {"made": decision.made, "features": features, "bias": decision.bias, "threshold": decision.threshold}
    path.write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
