"""Which utterances go together, and what a bad one or a short memory costs the others."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.domain import AS_SPOKEN, SAMPLE_RATE_HZ, Recognition, RecognizeOptions, Word
from schemas.engines import EngineInfo, Samples
from schemas.errors import EngineFailure, InvalidParameter
from serve.engines.asr.batching import Batcher, Utterance

pytestmark = pytest.mark.unit


def sound(secs: float, value: float = 0.1) -> Utterance:
    return Utterance(np.full(round(secs * SAMPLE_RATE_HZ), value, np.float32))


class Recognizer:
    """Hears how long an utterance is; refuses negative sound, and has memory for so many padded seconds."""

    def __init__(self, memory_secs: float = 1e9, error: type[Exception] = RuntimeError) -> None:
        self.memory_secs, self.error = memory_secs, error
        self.calls: list[int] = []

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("recognizer", "test", "test", "test", {})

    def recognize(self, utterances: Sequence[Samples], options: RecognizeOptions = AS_SPOKEN) -> list[Recognition]:
        self.calls.append(len(utterances))
        if max(u.size for u in utterances) * len(utterances) / SAMPLE_RATE_HZ > self.memory_secs:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        if any(u.size and u.min() < 0 for u in utterances):
            raise ValueError("a sample is negative")
        return [Recognition((Word(f"{u.size / SAMPLE_RATE_HZ:g}", 0.0, 1.0),)) for u in utterances]

    def close(self) -> None:
        raise AssertionError("nobody closes it here")


def heard(results: Sequence[Recognition | Exception]) -> list[str | type[Exception]]:
    return [type(r) if isinstance(r, Exception) else r.words[0].text for r in results]


@given(st.lists(st.floats(0.1, 30), min_size=1, max_size=40), st.integers(1, 16), st.floats(1, 200))
@settings(deadline=None)
def test_a_batch_keeps_its_bounds(lengths: list[float], max_items: int, budget_secs: float) -> None:
    chosen = Batcher(Recognizer(), max_items, budget_secs).choose(lengths)
    assert chosen[0] == 0, "the oldest is served"
    assert len(set(chosen)) == len(chosen) <= max_items
    padded = max(lengths[n] for n in chosen) * len(chosen)
    assert len(chosen) == 1 or padded <= budget_secs
    assert sum(lengths[n] for n in chosen) >= padded * 2 / 3 - 1e-6, "no more than a third is padding"


@given(st.lists(st.floats(1, 30), min_size=1, max_size=40), st.floats(1, 100))
@settings(deadline=None)
def test_equal_lengths_fill_the_batch(lengths: list[float], budget_secs: float) -> None:
    equal = [lengths[0]] * len(lengths)
    chosen = Batcher(Recognizer(), 8, budget_secs).choose(equal)
    assert len(chosen) == min(8, len(equal), max(1, int(budget_secs / equal[0])))


def test_near_lengths_go_together() -> None:
    batcher = Batcher(Recognizer(), 3, 60.0)
    assert sorted(batcher.choose([10.0, 1.0, 11.0, 30.0, 9.5])) == [0, 2, 4]


def test_a_bad_utterance_fails_alone() -> None:
    recognizer = Recognizer()
    results = Batcher(recognizer, 8, 60.0).run([sound(1), sound(2, -0.1), sound(3)])
    assert heard(results) == ["1", EngineFailure, "3"]
    assert recognizer.calls == [3, 1, 1, 1]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_out_of_memory_halves_the_batch_permanently_and_continues(error: type[Exception]) -> None:
    recognizer = Recognizer(memory_secs=10.0, error=error)
    batcher = Batcher(recognizer, 16, 1000.0)
    results = batcher.run([sound(4) for _ in range(8)])
    assert heard(results) == ["4"] * 8
    assert recognizer.calls == [8, 4, 2, 2, 4, 2, 2]
    assert batcher.budget_secs == 8.0
    assert len(batcher.choose([4.0] * 8)) == 2


def test_an_utterance_too_long_for_the_memory_says_so() -> None:
    batcher = Batcher(Recognizer(memory_secs=5.0), 16, 1000.0)
    results = batcher.run([sound(2), sound(6), sound(2)])
    assert heard(results) == ["2", EngineFailure, "2"]
    failure = results[1]
    assert isinstance(failure, EngineFailure)
    assert failure.code == "out_of_memory"
    assert "6.0 s" in failure.message


def test_memory_and_a_bad_utterance_at_once() -> None:
    batcher = Batcher(Recognizer(memory_secs=5.0), 16, 1000.0)
    assert heard(batcher.run([sound(1, -0.1), sound(2), sound(2), sound(2)])) == [EngineFailure, "2", "2", "2"]


@given(st.lists(st.tuples(st.floats(0.1, 6), st.booleans()), min_size=1, max_size=12), st.floats(0.5, 30))
@settings(deadline=None)
def test_every_utterance_gets_its_own_answer(items: list[tuple[float, bool]], memory_secs: float) -> None:
    results = Batcher(Recognizer(memory_secs), 16, 100.0).run([sound(secs, -0.1 if bad else 0.1) for secs, bad in items])
    samples = [round(secs * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ for secs, _ in items]
    expected = [
        EngineFailure if bad or secs > memory_secs else f"{secs:g}" for secs, (_, bad) in zip(samples, items, strict=True)
    ]
    assert heard(results) == expected


def test_each_recognition_carries_the_time_of_its_batch() -> None:
    class Slow(Recognizer):
        def recognize(self, utterances: Sequence[Samples], options: RecognizeOptions = AS_SPOKEN) -> list[Recognition]:
            time.sleep(0.05)
            return super().recognize(utterances, options)

    began = time.monotonic()
    results = Batcher(Slow(), 8, 60.0).run([sound(1), sound(3)])
    wall_secs = time.monotonic() - began
    first, second = [result.engine_secs for result in results if isinstance(result, Recognition)]
    assert 0.05 <= first == second <= wall_secs


def test_options_the_engine_cannot_heed_are_everyones_error() -> None:
    class English(Recognizer):
        def recognize(self, utterances: Sequence[Samples], options: RecognizeOptions = AS_SPOKEN) -> list[Recognition]:
            if options.language not in (None, "en"):
                raise InvalidParameter(f"{options.language} is not known", param="language")
            return super().recognize(utterances, options)

    german = [Utterance(one.samples, RecognizeOptions(language="de")) for one in (sound(1), sound(2))]
    assert heard(Batcher(English(), 8, 60.0).run(german)) == [InvalidParameter, InvalidParameter]
