"""The recognition of a live stream: utterances, final and interim results, and a recogniser that fails."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from audio.vad import FRAME_SAMPLES
from schemas.domain import AS_SPOKEN, Recognition, RecognizeOptions, Word
from schemas.engines import Samples
from schemas.errors import EngineFailure
from serve.live.listener import Listener
from serve.live.live_events import FinalResult, LiveOptions
from serve.live.live_protocol import LiveRequest, Message
from serve.live.live_stream import LiveStream, StreamLimits
from serve.live.own_protocol import OwnProtocol
from serve.live.stream_decoder import PcmDecoder

pytestmark = pytest.mark.unit


class Recogniser:
    """Engines that recognise the number of the request."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    async def recognize(self, pcm: bytes, lane: str, options: RecognizeOptions) -> Recognition:
        self.lengths.append(len(pcm) // 2 // FRAME_SAMPLES)
        return Recognition((Word(f"take{len(self.lengths)}", 0.0, 1.0),), "en")


async def finals_of(probabilities: list[float]) -> tuple[list[int], list[FinalResult]]:
    """(frames of each request to the recogniser, final results) of a stream with these frames."""
    engines = Recogniser()
    listener = Listener(engines, None, LiveOptions(AS_SPOKEN, interim=False, endpoint_secs=0.5))  # type: ignore[arg-type]
    frame = np.zeros(FRAME_SAMPLES, np.int16)
    for probability in probabilities:
        listener._frame(frame, probability)
        await asyncio.wait_for(listener._idle.wait(), 60)
    await listener.finish()
    events = []
    while (event := listener.events.get_nowait()) is not None:
        events.append(event)
    return engines.lengths, [event for event in events if isinstance(event, FinalResult)]


async def test_an_utterance_is_recognised_in_its_silence_so_that_its_result_is_there_when_it_ends() -> None:
    lengths, finals = await finals_of([0.9] * 30 + [0.0] * 14)
    assert lengths == [33]  # after 3 frames of silence, and not again at the end
    assert [(one.words[0].text, one.speech_final) for one in finals] == [("take1", True)]
    assert finals[0].end_secs == pytest.approx(44 * 0.032)


async def test_speech_after_a_short_silence_is_part_of_the_result() -> None:
    lengths, finals = await finals_of([0.9] * 30 + [0.0] * 8 + [0.9] * 10 + [0.0] * 14)
    assert lengths == [33, 51]
    assert [one.words[0].text for one in finals] == ["take2"]


class SlowForInterim(Recogniser):
    """Engines that never answer an interim request."""

    def __init__(self) -> None:
        super().__init__()
        self.interim = asyncio.Event()
        self.cancelled = 0

    async def recognize(self, pcm: bytes, lane: str, options: RecognizeOptions) -> Recognition:
        if lane == "interim":
            self.interim.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return await super().recognize(pcm, lane, options)


@pytest.mark.parametrize("silent_frames", [14, 0], ids=["silence", "the client's finalize"])
async def test_an_interim_request_gives_way_to_the_final_one(silent_frames: int) -> None:
    engines = SlowForInterim()
    listener = Listener(engines, None, LiveOptions(AS_SPOKEN, endpoint_secs=0.5))  # type: ignore[arg-type]
    frame = np.zeros(FRAME_SAMPLES, np.int16)
    for _ in range(20):
        listener._frame(frame, 0.9)
    await asyncio.wait_for(engines.interim.wait(), 60)
    for _ in range(silent_frames):
        listener._frame(frame, 0.0)
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await listener.finish()
    events = [listener.events.get_nowait() for _ in range(listener.events.qsize())]
    assert [event.words[0].text for event in events if isinstance(event, FinalResult)] == ["take1"]
    assert engines.cancelled == 1


class Failing(Recogniser):
    """Engines whose recogniser fails."""

    async def recognize(self, pcm: bytes, lane: str, options: RecognizeOptions) -> Recognition:
        raise EngineFailure("the recogniser failed")


class Records:
    """A recorder that keeps whether it was asked to record the stream."""

    def __init__(self) -> None:
        self.finished = False

    def add_audio(self, samples: Samples) -> None: ...

    async def finish(self, *_: object) -> int | None:
        self.finished = True
        return None


async def test_a_client_that_sends_nothing_more_hears_at_once_that_the_recogniser_failed() -> None:
    request = LiveRequest(LiveOptions(AS_SPOKEN, endpoint_secs=0.5))
    listener = Listener(Failing(), None, request.options)  # type: ignore[arg-type]
    records = Records()
    stream = LiveStream(
        OwnProtocol(),
        request,
        PcmDecoder("linear16", 16_000),
        listener,
        records,
        StreamLimits(600.0, 600.0, 1 << 20),
        set(),
    )  # type: ignore[arg-type]
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        for _ in range(30):
            listener._frame(np.zeros(FRAME_SAMPLES, np.int16), 0.9)

    async def nothing() -> str | bytes | None:
        await asyncio.Event().wait()
        return None

    with pytest.raises(EngineFailure):
        await asyncio.wait_for(stream.run(send, nothing), 60)
    assert [message["type"] for message in sent][:1] == ["started"]
    assert records.finished
