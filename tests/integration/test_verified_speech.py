"""The check of Kokoro's renders, on sentences and voices that its decision was made without, in each of its languages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from benchmarks.verification.planted_renders import Render, planted_renders
from benchmarks.verification.speaking import LANGUAGES as SPOKEN
from serve.engines.bundled_weights import find_weights
from serve.engines.tts.verify.verdict import UNJUDGED, Expected
from serve.engines.tts.verify.whisper_verifier import LANGUAGES as CHECKED
from serve.engines.tts.verify.whisper_verifier import WhisperVerifier
from serve.engines.weights_catalog import WHISPER_BASE
from tests.support.kokoro import kokoro

pytestmark = pytest.mark.integration

LANGUAGES = [language for language in SPOKEN["kokoro"] if language in CHECKED]
NUM_RENDERS = 8
"""Of a language: two good ones, and two each with a word dropped, a word replaced or repeated, and the end cut off."""


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> WhisperVerifier:
    folder = find_weights(WHISPER_BASE, tmp_path_factory.mktemp("cache")).folder
    return WhisperVerifier(lambda: folder)


def renders(language: str) -> Iterator[Render]:
    return islice(planted_renders(kokoro(), "kokoro", language, "measuring", 1, seed=29), NUM_RENDERS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_good_renders_pass_and_faults_are_caught(verifier: WhisperVerifier, language: str) -> None:
    verdicts = [(render.defect, verifier.check(render.samples, render.expected)) for render in renders(language)]
    good = [verdict for defect, verdict in verdicts if defect == "none"]
    assert len(good) == 2
    assert all(verdict.ok and verdict.word_error_rate is not None for verdict in good), good
    missed = [(defect, verdict.score) for defect, verdict in verdicts if defect != "none" and verdict.ok]
    assert len(missed) <= 1, missed


def test_hindi_passes_unjudged(verifier: WhisperVerifier) -> None:
    said = Expected(("मेरी", "बहन"), "hi")
    assert verifier.check(np.zeros(16_000, np.float32), said) == UNJUDGED
