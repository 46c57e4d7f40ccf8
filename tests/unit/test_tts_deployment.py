"""The synthesiser's deployment: streams, stops when its caller goes, and never mixes two callers' sound."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings

import numpy as np
import pytest

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.errors import EngineFailure, InvalidParameter
from schemas.settings import EngineSettings, Settings
from schemas.speech import RenderedChunk, RenderRequest
from serve.engines.tts.pitch import melody
from serve.engines.tts.voices import find_voice
from tests.contract.speaking import until

pytestmark = pytest.mark.unit

with warnings.catch_warnings():
    # Ray Serve 2.60 declares its models in a way pydantic deprecates, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.engines.tts.deployment import FIRST_AHEAD_SECS, SynthesizerDeployment, stream

TEXT = "The old man walked slowly along the river. The children played in the garden until the evening. "


@pytest.fixture(scope="module")
def replica() -> SynthesizerDeployment.func_or_class:
    return SynthesizerDeployment.func_or_class(Settings(engines=EngineSettings(tts_engine="espeak")))


async def collected(replica: SynthesizerDeployment.func_or_class, voice: str, text: str) -> Samples:
    request = RenderRequest(find_voice(voice, "espeak"), text, verify=False)
    pcm = b"".join([chunk.pcm async for chunk in replica.render(request)])
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


async def test_the_first_sound_comes_long_before_the_last(replica: SynthesizerDeployment.func_or_class) -> None:
    request = RenderRequest(find_voice("maeve", "espeak"), TEXT * 20, verify=False, window_secs=600)
    begun = time.process_time()
    arrivals = [time.process_time() - begun async for _ in replica.render(request)]
    assert arrivals[0] < 0.1
    assert arrivals[0] < 0.2 * arrivals[-1]


async def test_a_stream_lets_its_first_sound_go_ahead_and_never_for_longer_than_that_lasts(
    replica: SynthesizerDeployment.func_or_class,
) -> None:
    request = RenderRequest(find_voice("maeve", "espeak"), TEXT, verify=False, streamed=True)
    pieces, arrivals = [], []
    async for chunk in replica.render(request):
        pieces.append(chunk)
        arrivals.append(time.perf_counter())
    assert arrivals[1] - arrivals[0] >= FIRST_AHEAD_SECS
    assert pieces[0].duration_secs >= 3 * FIRST_AHEAD_SECS
    whole = await collected(replica, "maeve", TEXT)
    assert sum(piece.duration_secs for piece in pieces) == pytest.approx(whole.size / SPEECH_RATE_HZ, rel=0.02)


async def test_renders_at_once_never_mix(replica: SynthesizerDeployment.func_or_class) -> None:
    voices = ["maeve", "abraham", "isla", "harry"] * 2
    alone = [await collected(replica, voice, TEXT) for voice in voices[:4]] * 2
    together = await asyncio.gather(*(collected(replica, voice, TEXT) for voice in voices))
    for one, other in zip(alone, together, strict=True):
        assert other.size == pytest.approx(one.size, rel=0.02)
        assert melody(other).median_hz == pytest.approx(melody(one).median_hz, rel=0.04)


async def test_a_caller_who_goes_away_stops_the_render_at_once(replica: SynthesizerDeployment.func_or_class) -> None:
    request = RenderRequest(find_voice("maeve", "espeak"), TEXT * 400, verify=False, window_secs=3600)
    chunks = replica.render(request)
    await anext(chunks)
    begun = time.process_time()
    await chunks.aclose()
    assert time.process_time() - begun < 0.2
    assert not [thread for thread in threading.enumerate() if thread.name == "espeak"]

    async def listen() -> None:
        async for _ in replica.render(request):
            pass

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await asyncio.wait([task], timeout=0.05)
    begun = time.process_time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.process_time() - begun < 0.2
    assert (await collected(replica, "maeve", "Still here.")).size > 0


async def test_errors_come_out_as_our_own(replica: SynthesizerDeployment.func_or_class) -> None:
    with pytest.raises(InvalidParameter, match="nothing"):
        await collected(replica, "maeve", "...")


async def test_its_description_states_that_temperature_has_no_effect(replica: SynthesizerDeployment.func_or_class) -> None:
    info = await replica.info()
    assert info.slot == "synthesizer"
    assert info.capabilities["temperature"] is False
    assert info.capabilities["matches_voices"] is True


class Handle:
    """What a streaming DeploymentHandle is to `stream`: a call that answers an iterator that can be cancelled."""

    def __init__(self, replica: SynthesizerDeployment.func_or_class) -> None:
        self.render = self
        self._replica = replica
        self.windows: list[RenderRequest] = []

    def remote(self, request: RenderRequest) -> Handle:
        self.windows.append(request)
        self._chunks = self._replica.render(request)
        return self

    def __aiter__(self) -> Handle:
        return self

    async def __anext__(self) -> RenderedChunk:
        return await anext(self._chunks)  # type: ignore[no-any-return]

    def cancel(self) -> None:
        pass


async def test_a_long_text_is_fetched_window_by_window(replica: SynthesizerDeployment.func_or_class) -> None:
    handle = Handle(replica)
    text = TEXT * 12
    request = RenderRequest(find_voice("maeve", "espeak"), text, verify=False, window_secs=15.0, max_secs=40.0)
    secs = words = 0.0
    async for chunk in stream(handle, request):
        secs += chunk.duration_secs
        words += len(chunk.words)
    assert secs == pytest.approx(40.0, abs=0.01)
    assert len(handle.windows) == 3
    assert [window.start for window in handle.windows] == sorted({window.start for window in handle.windows})

    whole = stream(Handle(replica), RenderRequest(find_voice("maeve", "espeak"), text, verify=False, window_secs=15.0))
    assert sum([len(chunk.words) async for chunk in whole]) == len(text.split())


async def test_the_next_window_is_made_while_one_is_played_and_no_more(
    replica: SynthesizerDeployment.func_or_class,
) -> None:
    handle = Handle(replica)
    request = RenderRequest(find_voice("maeve", "espeak"), TEXT * 40, verify=False, window_secs=10.0)
    chunks = stream(handle, request)
    taken = (await anext(chunks)).duration_secs

    async def windows(number: int) -> None:
        await until(lambda: len(handle.windows) >= number)

    # Nothing of the second window is taken, and it is there; the third waits until a window's worth is left.
    while taken < 3.0:
        taken += (await anext(chunks)).duration_secs
    await windows(2)
    await asyncio.sleep(0.3)
    assert len(handle.windows) == 2
    while taken < 18.0:
        taken += (await anext(chunks)).duration_secs
    await windows(3)
    await chunks.aclose()
    number = len(handle.windows)
    await asyncio.sleep(0.1)
    assert len(handle.windows) == number, "a listener who has left has nothing made"


async def test_an_error_of_a_later_window_reaches_the_listener(replica: SynthesizerDeployment.func_or_class) -> None:
    class Breaking(Handle):
        def remote(self, request: RenderRequest) -> Handle:
            if self.windows:
                raise EngineFailure("the replica is gone")
            return super().remote(request)

    request = RenderRequest(find_voice("maeve", "espeak"), TEXT * 12, verify=False, window_secs=5.0)
    heard: list[RenderedChunk] = []

    async def listen() -> None:
        async for chunk in stream(Breaking(replica), request):
            heard.append(chunk)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(EngineFailure, match="gone"):
        await listen()
    assert 5 <= sum(chunk.duration_secs for chunk in heard) < 8
