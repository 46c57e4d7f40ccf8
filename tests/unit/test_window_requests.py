"""Windows are recognised in the order of their recording, and their text is known before the last one is done."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.pcm import PcmFile
from audio.speech_windows import Window
from flows.transcription import stages
from flows.transcription.context import ListeningContext, SpeechAnalysis
from flows.transcription.engine_time import EngineTime
from flows.transcription.window_pace import WindowPace
from schemas.domain import AS_SPOKEN, Lane, Recognition, RecognizeOptions, Segment, Span, Word
from schemas.engines import EngineInfo
from schemas.errors import EngineFailure
from schemas.speech_engines import ListeningEngines

pytestmark = pytest.mark.unit

RATE_HZ = 16_000


class Recogniser:
    """Recognises a window's number, which its samples hold, once the test lets it."""

    def __init__(self, *, detects: bool, heard_as: str = "en") -> None:
        self.detects, self.heard_as = detects, heard_as
        self.asked: list[tuple[int, str | None]] = []
        self.waiting: dict[int, asyncio.Future[None]] = {}

    async def recognizer(self) -> EngineInfo:
        return EngineInfo("recognizer", "test", "test", "test", {"detects_language": self.detects})

    async def recognize(self, pcm: bytes, lane: Lane = "interactive", options: RecognizeOptions = AS_SPOKEN) -> Recognition:
        number = int(np.frombuffer(pcm, "<i2")[0])
        self.asked.append((number, options.language))
        self.waiting[number] = asyncio.get_running_loop().create_future()
        await self.waiting[number]
        language = options.language or self.heard_as
        return Recognition((Word(f"word{number}", 0.1, 0.5),), language, language_probability=0.9)

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.asked) < count:  # noqa: ASYNC110 - every turn of the loop lets the requests go on
                await asyncio.sleep(0)

    def answer(self, number: int) -> None:
        self.waiting.pop(number).set_result(None)


def recording(folder: Path, count: int) -> SpeechAnalysis:
    """Windows of 1 s, a second apart, whose samples are their number."""
    samples = np.repeat(np.arange(2 * count) // 2, RATE_HZ).astype("<i2")
    (path := folder / "a.s16").write_bytes(samples.tobytes())
    windows = [Window((Span(2.0 * n, 2.0 * n + 1.0),)) for n in range(count)]
    return SpeechAnalysis(PcmFile(path), [], [], windows, np.zeros(1, np.float32))


def context(recogniser: Recogniser, at_once: int) -> ListeningContext:
    unused: Any = None
    return ListeningContext(cast("ListeningEngines", recogniser), unused, 13.0, at_once)


def texts(heard: list[tuple[Segment, ...]]) -> list[str]:
    return [segment.text for segments in heard for segment in segments]


async def test_text_is_known_from_the_start_on_while_later_windows_wait(tmp_path: Path) -> None:
    recogniser, heard = Recogniser(detects=False), list[list[str]]()
    running = asyncio.create_task(
        stages.recognize(
            context(recogniser, 3),
            recording(tmp_path, 5),
            AS_SPOKEN,
            EngineTime(),
            lambda _: None,
            lambda found: heard.append(texts(found)),
        )
    )
    await recogniser.until_asked(3)
    assert [number for number, _ in recogniser.asked] == [0, 1, 2]
    recogniser.answer(1)
    await recogniser.until_asked(4)
    assert heard[-1] == []  # the first one is not recognised yet
    recogniser.answer(0)
    while heard[-1] != ["word0", "word1"]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    recogniser.answer(3)
    await recogniser.until_asked(5)
    assert heard[-1] == ["word0", "word1"]  # the third one is not recognised yet
    for number in (4, 2):
        recogniser.answer(number)
    found, _ = await running
    assert heard[-1] == ["word0", "word1", "word2", "word3", "word4"]
    assert [word.text for one in found for word in one.words] == heard[-1]
    assert [number for number, _ in recogniser.asked] == [0, 1, 2, 3, 4]


async def test_the_first_window_is_among_those_that_decide_the_language(tmp_path: Path) -> None:
    recogniser, heard = Recogniser(detects=True, heard_as="es"), list[list[str]]()
    running = asyncio.create_task(
        stages.recognize(
            context(recogniser, 8),
            recording(tmp_path, 9),
            AS_SPOKEN,
            EngineTime(),
            lambda _: None,
            lambda found: heard.append(texts(found)),
        )
    )
    await recogniser.until_asked(3)
    assert recogniser.asked == [(0, None), (3, None), (6, None)]
    for number in (0, 3, 6):
        recogniser.answer(number)
    await recogniser.until_asked(4)
    assert heard[-1] == ["word0"]
    while not running.done():
        for number in list(recogniser.waiting):
            recogniser.answer(number)
        await asyncio.sleep(0)
    _, language = await running
    assert language == "es"
    assert recogniser.asked[3:] == [(number, "es") for number in (1, 2, 4, 5, 7, 8)]
    assert heard[-1] == [f"word{number}" for number in range(9)]


async def test_a_window_that_fails_ends_the_others(tmp_path: Path) -> None:
    recogniser = Recogniser(detects=False)
    running = asyncio.create_task(
        stages.recognize(context(recogniser, 4), recording(tmp_path, 4), AS_SPOKEN, EngineTime(), lambda _: None)
    )
    await recogniser.until_asked(3)
    recogniser.waiting[1].set_exception(EngineFailure("no memory"))
    with pytest.raises(BaseExceptionGroup):
        await running
    assert recogniser.waiting[0].cancelled()


@given(st.integers(1, 60), st.integers(1, 40), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_many_windows_are_in_flight_at_first_and_few_at_the_end(count: int, at_once: int, random: Any) -> None:
    async def run() -> list[int]:
        pace = WindowPace(count, at_once)
        inside: dict[int, asyncio.Event] = {}
        order, flying = list[int](), list[int]()

        async def one(number: int) -> None:
            async with pace.place():
                order.append(number)
                inside[number] = asyncio.Event()
                await inside[number].wait()

        tasks = [asyncio.create_task(one(number)) for number in range(count)]
        while not all(task.done() for task in tasks):
            for _ in range(4):
                await asyncio.sleep(0)
            if inside:
                flying.append(len(inside))
                inside.pop(random.choice(sorted(inside))).set()
        assert order == list(range(count))
        return flying

    flying = asyncio.run(run())
    least = -(-at_once // 4)
    for done, number in enumerate(flying):
        left = count - done
        assert number <= at_once
        assert min(left, least) <= number <= max(least, -(-2 * left // 3))
    assert flying[0] == min(count, at_once, max(least, -(-2 * count // 3)))
