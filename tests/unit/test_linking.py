"""Speakers of blocks are one person by their voices, apart within a block, and no more than there may be."""

from __future__ import annotations

import time

import numpy as np
import pytest

from schemas.domain import SpeakerHint
from serve.engines.diarization.block_linking import LocalSpeakers, link

pytestmark = pytest.mark.unit


def block(*voices: int, spread: float = 0.02, seed: int = 0, talk: tuple[float, ...] = ()) -> LocalSpeakers:
    """Speakers whose voices are fixed directions with some spread around them."""
    directions = np.maximum(np.random.default_rng(99).standard_normal((8, 256)), 0) / 16
    found = directions[list(voices)] + spread * np.random.default_rng(seed).standard_normal((len(voices), 256))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return LocalSpeakers(found.astype(np.float32), np.array(talk or [10.0] * len(voices)))


def test_a_person_keeps_a_number_whatever_the_block_calls_them() -> None:
    assert link([block(3, 5), block(5, 3, seed=1), block(5, seed=2), block(7, 3, seed=3)], 4) == [
        [0, 1],
        [1, 0],
        [1],
        [2, 0],
    ]


def test_two_speakers_of_a_block_are_never_one_while_there_is_room() -> None:
    assert link([block(3, 3)], 4) == [[0, 1]]
    first, second = link([block(3), block(3, 3, seed=1)], 4)
    assert first == [0]
    assert sorted(second) == [0, 1]


def test_no_more_people_than_there_may_be() -> None:
    blocks = [block(0, 1), block(2, 3, seed=1), block(4, 5, seed=2)]
    assert {n for found in link(blocks, 4) for n in found} == {0, 1, 2, 3}
    assert {n for found in link(blocks, 4, SpeakerHint(1, 2)) for n in found} == {0, 1}
    assert all(len(set(found)) == 2 for found in link(blocks, 4, SpeakerHint(1, 2)))
    assert link([block(0, 1, 2, talk=(1.0, 30.0, 20.0))], 4, SpeakerHint(1, 1)) == [[0, 0, 0]]


def test_a_hint_of_more_people_parts_voices_that_are_alike() -> None:
    alike = [block(0, spread=0.02), block(0, spread=0.02, seed=1), block(0, spread=0.02, seed=2)]
    assert link(alike, 4) == [[0], [0], [0]]
    assert link(alike, 4, SpeakerHint(3, 3)) == [[0], [1], [2]]


@pytest.mark.parametrize("blocks", [[], [block()]])
def test_nobody(blocks: list[LocalSpeakers]) -> None:
    assert link(blocks, 4) == [[] for _ in blocks]


def test_ten_hours_of_short_blocks_are_linked_in_a_moment() -> None:
    blocks = [block(n % 3, 3, seed=n) for n in range(7_200)]
    started = time.process_time()
    assert link(blocks, 4)[-1] == link(blocks[:3], 4)[-1]
    assert time.process_time() - started < 10
