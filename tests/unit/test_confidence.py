"""Calibrated confidences are chances: ordered as the posteriors are, and never certain."""

from __future__ import annotations

import pytest

from schemas.domain import Word
from serve.asr.confidence import calibrated


def test_only_the_confidence_changes_and_certainty_is_never_claimed() -> None:
    words = [Word("a", 0.0, 0.2, 0.0), Word("b", 0.2, 0.5, 1.0), Word("c", 0.6, 0.7, 0.5)]
    found = calibrated(words)
    assert [(w.text, w.start_secs, w.end_secs) for w in found] == [(w.text, w.start_secs, w.end_secs) for w in words]
    assert all(0.01 < w.confidence < 0.99 for w in found)


def test_a_higher_posterior_is_a_higher_chance_and_so_is_good_company() -> None:
    def middle(own: float, beside: float) -> float:
        return calibrated([Word("x", 0, 1, beside), Word("y", 1, 2, own), Word("z", 2, 3, beside)])[1].confidence

    assert middle(0.2, 0.5) < middle(0.5, 0.5) < middle(0.9, 0.5)
    assert middle(0.5, 0.1) < middle(0.5, 0.9)
    assert middle(0.05, 0.05) < 0.2
    assert middle(1.0, 1.0) > 0.95


def test_no_words_need_no_confidence() -> None:
    assert calibrated([]) == ()
    assert calibrated([Word("one", 0, 1, 0.5)])[0].confidence == pytest.approx(0.558, abs=0.001)
