"""The model under its queue: durations, a pace for each token, cancellation, order, and what is refused."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import EngineFailure, Unavailable
from serve.engines.tts.kokoro import build, describe
from serve.engines.tts.kokoro_model import FRAME_SAMPLES, Call, KokoroModel, Spoken, _ShortestFirst, with_durations
from serve.engines.tts.kokoro_phonemes import tokens
from serve.engines.tts.kokoro_styles import StyleBook
from tests.support.kokoro import chosen, kokoro

pytestmark = pytest.mark.unit

HELLO = "həlˈoʊ ðˈɛɹ."
LONG = HELLO * 30


def call(symbols: str, pace: float = 1.0) -> Call:
    model: KokoroModel = kokoro()._model
    style = StyleBook().style("af_heart")[len(symbols) - 1]
    return model.call(tokens(symbols), style, np.full(len(symbols), pace, np.float32))


def spoken(symbols: str, pace: float = 1.0) -> Spoken:
    found = call(symbols, pace).wait(60)
    assert found is not None
    return found


def test_durations_cover_all_of_the_sound_and_follow_the_pace() -> None:
    usual, slow = spoken(HELLO), spoken(HELLO, 0.5)
    for found in (usual, slow):
        assert found.samples.dtype == np.float32
        assert found.durations.shape == (len(HELLO) + 2,)
        assert found.durations.sum() * FRAME_SAMPLES == found.samples.size
        assert found.durations.min() >= 1
    assert slow.samples.size == pytest.approx(2 * usual.samples.size, rel=0.1)
    assert np.array_equal(spoken(HELLO).samples, usual.samples), "the same call gives the same sound"


def test_the_pace_of_one_token_moves_that_token_alone() -> None:
    model, style = kokoro()._model, StyleBook().style("af_heart")[len(HELLO) - 1]
    pace = np.ones(len(HELLO), np.float32)
    pace[HELLO.index("o")] = 0.2
    found = model.call(tokens(HELLO), style, pace).wait(60)
    assert found is not None
    change = found.durations - spoken(HELLO).durations
    assert change[1 + HELLO.index("o")] > 4
    assert np.abs(np.delete(change, 1 + HELLO.index("o"))).max() == 0


def test_a_call_that_runs_is_ended_within_moments() -> None:
    running = call(LONG)
    assert running.wait(0.3) is None, "twenty seconds of sound are not made so soon"
    began = time.process_time()
    running.cancel()
    with pytest.raises(EngineFailure, match="cancelled"):
        running.wait(30)
    # A node of the graph takes some milliseconds; the rest is what other programs on the machine take.
    assert time.process_time() - began < 2.0
    assert spoken(HELLO).samples.size > 0, "the model goes on with other calls"


def test_short_calls_go_first_and_long_ones_are_not_forgotten() -> None:
    order: list[int] = []
    first = threading.Event()

    def infer(inputs: dict[str, Any], options: Any) -> Spoken:
        first.wait(60)
        order.append(int(inputs["tokens"]))
        return Spoken(np.zeros(0, np.float32), np.zeros(0, np.int64))

    queue = _ShortestFirst(1, infer)
    calls = [Call({"tokens": np.array(n)}, _Options()) for n in range(5)]
    queue.put(calls[0], 1.0)
    while queue._waiting:
        time.sleep(0.001)
    for waiting, secs in zip(calls[1:], (8.0, 0.5, 4.0, 0.5), strict=True):
        queue.put(waiting, secs)
    calls[3].cancel()
    first.set()
    for waiting in (calls[0], *calls[1:3], calls[4]):
        assert waiting.wait(60) is not None
    assert order == [0, 2, 4, 1]
    queue.close()
    with pytest.raises(EngineFailure, match="closed"):
        queue.put(calls[0], 1.0)


class _Options:
    terminate = False


def test_a_call_that_fails_says_so_and_nothing_of_its_text() -> None:
    failing = Call({}, _Options())
    failing.run(lambda inputs, options: [][0])  # type: ignore[misc]
    with pytest.raises(EngineFailure, match="IndexError"):
        failing.wait(1)


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Kokoro"):
        with_durations(b"not a model")
    (tmp_path / "some.onnx").write_bytes(b"not a model")
    with pytest.raises(Unavailable, match=r"FLUXIONS_TTS_MODEL.*not the export of Kokoro") as refused:
        build(chosen(str(tmp_path)))
    assert refused.value.code == "model_unavailable"
    (tmp_path / "other.onnx").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"2 \.onnx files"):
        build(chosen(str(tmp_path)))


def test_its_description_states_its_capabilities_and_that_temperature_has_no_effect() -> None:
    info = describe(chosen())
    assert (info.slot, info.engine) == ("synthesizer", "kokoro")
    assert info.capabilities["temperature"] is False
    assert info.capabilities["speed"] is True
    assert info.capabilities["whole_passages"] is True
    assert set(info.capabilities["languages"]) == {"en-us", "en-gb", "es", "fr", "it", "pt-br", "hi"}
    assert info == kokoro().info
