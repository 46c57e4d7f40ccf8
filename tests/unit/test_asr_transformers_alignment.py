"""Words lie where the attention of a decoder was when it wrote them."""

from __future__ import annotations

import numpy as np
import pytest

from serve.engines.asr.transformers_alignment import path_starts, token_starts

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("seed", range(20))
def test_the_path_is_the_one_of_transformers_own_warping(seed: int) -> None:
    from transformers.models.whisper.generation_whisper import _dynamic_time_warping

    random = np.random.default_rng(seed)
    gains = random.standard_normal((random.integers(1, 12), random.integers(1, 40))).astype(np.float32)
    rows, frames = _dynamic_time_warping(-gains.astype(np.float64))
    jumps = np.pad(np.diff(rows), (1, 0), constant_values=1).astype(bool)
    assert path_starts(gains).tolist() == frames[jumps].tolist()


def test_tokens_start_where_they_are_looked_at() -> None:
    bounds = [0, 20, 35, 60, 80, 100]
    attention = np.random.default_rng(0).uniform(0, 0.2, (3, 5, 100)).astype(np.float32)
    for token in range(5):
        attention[:, token, bounds[token] : bounds[token + 1]] += 1
    assert np.abs(token_starts(attention) - bounds[:-1]).max() <= 2


def test_a_single_token_starts_at_once() -> None:
    assert token_starts(np.ones((2, 1, 10), np.float32)).tolist() == [0]
