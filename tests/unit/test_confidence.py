"""A confidence follows its evidence, and the fitted weights were measured on words they were not fitted on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serve.engines.asr.whisper_confidence import FEATURES, FILE, calibration_of, evidence
from serve.engines.weights_catalog import WHISPER_BASE, WHISPER_TINY_EN

pytestmark = pytest.mark.unit

MODELS = (WHISPER_BASE.name, WHISPER_TINY_EN.name)


def words(*probabilities: float) -> list[np.ndarray]:
    return [np.asarray([probability]) for probability in probabilities]


def test_the_evidence_of_a_word_is_its_own_its_neighbours_and_the_utterances() -> None:
    found = evidence([np.asarray([0.9, 0.5]), np.asarray([0.5])], log_prob=-0.3, no_speech=0.5)
    assert found.shape == (2, len(FEATURES))
    mean, least, neighbours, log_prob, no_speech = found[0]
    assert mean == pytest.approx(np.log(0.7 / 0.3))
    assert least == pytest.approx(0.0)
    assert neighbours == pytest.approx(0.0)
    assert (log_prob, no_speech) == (-0.3, pytest.approx(0.0))


def test_probabilities_of_nought_and_one_are_finite_evidence() -> None:
    assert np.isfinite(evidence(words(0.0, 1.0), 0.0, 0.0)).all()


@pytest.mark.parametrize("model", MODELS)
def test_likelier_words_are_surer(model: str) -> None:
    chances = calibration_of(model)(evidence(words(0.05, 0.3, 0.6, 0.9, 0.999), -0.3, 0.05))
    assert (np.diff(chances) > 0).all()
    assert ((chances > 0) & (chances < 1)).all()
    assert chances[0] < 0.5 < 0.9 < chances[-1]


@pytest.mark.parametrize("model", MODELS)
def test_the_weights_were_measured_on_held_out_words(model: str) -> None:
    fitted = json.loads(FILE.read_text("utf-8"))
    assert tuple(fitted["features"]) == FEATURES
    check = fitted["models"][model]["errors"]["check"]
    assert check["words"] >= 1000
    assert check["calibration_error"] <= 0.05
    assert check["calibration_error"] < fitted["models"][model]["errors"]["check_mean_probability"]["calibration_error"]


def test_a_model_that_was_not_fitted_is_given_the_weights_of_base() -> None:
    found = evidence(words(0.2, 0.7), -0.3, 0.05)
    assert (calibration_of("owner/large")(found) == calibration_of(WHISPER_BASE.name)(found)).all()
