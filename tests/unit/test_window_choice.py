"""Of many windows few are embedded, more where the voice may change; those between are on the line of their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.engines.diarization.window_choice import PLENTY, STRIDE, Indices, embedded

pytestmark = pytest.mark.unit


class Encoder:
    """Embeddings of windows that are known, and which of them were asked for."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        self.embeddings = embeddings
        self.asked: list[int] = []

    def __call__(self, wanted: Indices) -> NDArray[np.float32]:
        self.asked += wanted.tolist()
        return self.embeddings[wanted]


def of_voices(voices: list[int]) -> Encoder:
    return Encoder(np.eye(max(voices) + 2, dtype=np.float32)[voices])


def test_few_windows_are_all_embedded() -> None:
    encoder = of_voices([0] * PLENTY)
    assert embedded([1, PLENTY - 1], encoder) == pytest.approx(encoder.embeddings)
    assert encoder.asked == list(range(PLENTY))


def test_of_plenty_of_windows_of_one_voice_the_ends_of_each_span_and_every_fourth_are_embedded() -> None:
    encoder = of_voices([0] * (PLENTY + 11))
    found = embedded([1, 2, 8, PLENTY], encoder)
    assert encoder.asked == [0, 1, 2, 3, 7, 10, *range(11, PLENTY + 11, STRIDE), PLENTY + 10]
    assert found == pytest.approx(encoder.embeddings)


def test_where_the_voice_changes_the_window_in_the_middle_is_embedded_too() -> None:
    voices = [0] * 202 + [1] * 200
    encoder = of_voices(voices)
    found = embedded([402], encoder)
    assert sorted(encoder.asked) == sorted({*range(0, 402, STRIDE), 401, 202})
    nearest = found.argmax(axis=1)
    assert nearest[:201].tolist() == voices[:201]
    assert nearest[202:].tolist() == voices[202:]


def test_a_change_between_two_spans_embeds_no_other_window() -> None:
    encoder = of_voices([0] * 200 + [1] * 201)
    found = embedded([200, 201], encoder)
    assert sorted(encoder.asked) == sorted({*range(0, 200, STRIDE), 199, *range(200, 401, STRIDE)})
    assert found == pytest.approx(encoder.embeddings)


def test_a_window_that_is_not_embedded_is_on_the_line_between_its_neighbours() -> None:
    angles = np.linspace(0, 0.2, PLENTY + 1)
    encoder = Encoder(np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32))
    found = embedded([len(angles)], encoder)
    assert found == pytest.approx(encoder.embeddings, abs=1e-5)
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(angles)))
