"""Live transcription with AssemblyAI's SDK, unmodified but for address and key."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest
from assemblyai.streaming.v3 import (
    RealTimeError,
    RealTimeEvents,
    RealTimeParameters,
    RealTimeSessionParameters,
    RealTimeTranscriberOptions,
)
from assemblyai.streaming.v3.async_client import AsyncRealTimeTranscriber
from assemblyai.streaming.v3.models import Encoding

from schemas.domain import SAMPLE_RATE_HZ
from schemas.errors import RateLimited, Unavailable
from tests.clients.test_live import PIECE_SECS, address, heard, pcm, talk
from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.support.live_containers import contained
from tests.support.speech import SENTENCES

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]


class Session:
    """A client and what it was sent."""

    def __init__(self, here: Platform, key: str = USER_KEY) -> None:
        self.client = AsyncRealTimeTranscriber(
            RealTimeTranscriberOptions(api_host=address(here), api_key=key, connect_timeout=10, terminate_timeout=60)
        )
        self.events: list[Any] = []
        self.heard = asyncio.Event()
        self.ended = asyncio.Event()
        for kind in RealTimeEvents:
            self.client.on(kind, self._add)

    def _add(self, _: Any, event: Any) -> None:
        self.events.append(event)
        if not isinstance(event, RealTimeError) and event.type == "Turn":
            self.heard.set()
        if isinstance(event, RealTimeError) or event.type == "Termination":
            self.ended.set()

    def turns(self) -> list[Any]:
        return [event for event in self.events if getattr(event, "type", "") == "Turn"]


async def test_turns_come_while_speech_goes_on_and_end_with_it(here: Platform) -> None:
    session = Session(here)
    await session.client.connect(
        RealTimeParameters(
            sample_rate=SAMPLE_RATE_HZ, language_codes=["en"], format_turns=True, speaker_labels=True, max_turn_silence=800
        )
    )
    sound = pcm(talk())
    size = int(PIECE_SECS * SAMPLE_RATE_HZ) * 2
    for at in range(0, len(sound), size):
        await session.client.stream(sound[at : at + size])
        if at <= 2 * len(sound) // 10 < at + size:  # in the first sentence, which goes on when this came
            await asyncio.wait_for(session.heard.wait(), 60)
    await session.client.keep_alive()
    await session.client.set_params(RealTimeSessionParameters(min_turn_silence=300))
    await session.client.force_endpoint()
    await session.client.disconnect(terminate=True)
    kinds = [event.type for event in session.events]
    assert kinds[0] == "Begin"
    assert kinds[-1] == "Termination"
    assert session.events[-1].audio_duration_seconds == round(talk().size / SAMPLE_RATE_HZ)
    assert "SpeechStarted" in kinds
    turns = session.turns()
    assert any(not turn.end_of_turn for turn in turns)
    formatted = [turn for turn in turns if turn.turn_is_formatted]
    text = " ".join(turn.transcript for turn in formatted)
    assert heard(text, SENTENCES[0]) >= 6
    assert heard(text, SENTENCES[2]) >= 5
    assert [turn.turn_order for turn in formatted] == list(range(len(formatted)))
    assert {turn.speaker_label for turn in formatted} == {"A", "B"}
    assert all(word.word_is_final and word.end >= word.start for turn in formatted for word in turn.words)
    listed = (await here.client.get("/transcriptions")).json()["transcriptions"][0]
    assert (listed["filename"], listed["num_speakers"]) == ("live", 2)


async def test_opus_in_ogg_is_transcribed(here: Platform) -> None:
    session = Session(here)
    await session.client.connect(RealTimeParameters(encoding=Encoding.ogg_opus))
    data = contained(talk(), "ogg")
    for at in range(0, len(data), 1500):
        await session.client.stream(data[at : at + 1500])
    await session.client.disconnect(terminate=True)
    text = " ".join(turn.transcript for turn in session.turns() if turn.end_of_turn)
    assert heard(text, SENTENCES[0]) >= 6


@pytest.mark.parametrize(
    ("key", "parameters", "code"),
    [
        ("fx_nobody", RealTimeParameters(sample_rate=16_000), 4001),
        (USER_KEY, RealTimeParameters(sample_rate=17_000), 3006),
        (USER_KEY, RealTimeParameters(encoding=Encoding.aac), 3006),
    ],
    ids=["unknown key", "rate", "encoding"],
)
async def test_a_session_that_cannot_begin_says_why(
    here: Platform, key: str, parameters: RealTimeParameters, code: int
) -> None:
    session = Session(here, key)
    await session.client.connect(parameters)
    await asyncio.wait_for(session.ended.wait(), 60)
    await session.client.disconnect()
    errors = [event for event in session.events if isinstance(event, RealTimeError)]
    assert errors[0].code == code


async def closed_with(session: Session, sound: bytes) -> int | None:
    """The code with which a session is closed that sends ``sound`` and then silence, in messages of 100 ms."""
    await session.client.connect(RealTimeParameters(sample_rate=SAMPLE_RATE_HZ))
    size = SAMPLE_RATE_HZ // 10 * 2
    async with asyncio.timeout(60):
        while not session.ended.is_set():
            await session.client.stream(sound[:size].ljust(size, b"\0"))
            sound = sound[size:]
            with suppress(TimeoutError):
                await asyncio.wait_for(session.ended.wait(), PIECE_SECS / 4)
    await session.client.disconnect()
    (error,) = [event for event in session.events if isinstance(event, RealTimeError)]
    return error.code


async def test_more_audio_than_a_recording_may_have_ends_the_session(
    here: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = here.gateway.services.live_streams
    monkeypatch.setattr(streams, "limits", replace(streams.limits, audio_secs=1.5))
    assert await closed_with(Session(here), b"") == 3008


async def test_a_session_that_finds_no_place_is_told_so(here: Platform) -> None:
    services = here.gateway.services
    account = (await services.keys.principal(USER_KEY)).account
    with ExitStack() as others:
        with suppress(RateLimited):
            while True:
                others.enter_context(services.live_streams.place(account))
        assert await closed_with(Session(here), b"") == 3009


async def test_an_engine_that_fails_is_an_error_of_the_server(here: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any) -> Any:
        raise Unavailable("an engine's process died and is restarting; try again", retry_after_secs=2)

    monkeypatch.setattr(here.gateway.services.engines, "recognize", fails)
    assert await closed_with(Session(here), pcm(talk())) == 3005


@pytest.mark.parametrize(
    ("pieces_ms", "refused"),
    [((25, 25), "25.0 ms"), ((100, 1100), "1100.0 ms"), ((100, 1000, 50, 25), None)],
    ids=["short", "long", "short at the end"],
)
async def test_messages_of_other_lengths_than_theirs_are_refused_as_by_their_server(
    here: Platform, pieces_ms: tuple[int, ...], refused: str | None
) -> None:
    session = Session(here)
    await session.client.connect(RealTimeParameters(sample_rate=SAMPLE_RATE_HZ))
    for piece_ms in pieces_ms:
        await session.client.stream(bytes(2 * SAMPLE_RATE_HZ * piece_ms // 1000))
    if refused is None:
        await session.client.disconnect(terminate=True)
        assert session.events[-1].type == "Termination"
        return
    await asyncio.wait_for(session.ended.wait(), 60)
    await session.client.disconnect()
    (error,) = [event for event in session.events if isinstance(event, RealTimeError)]
    assert error.code == 3007
    assert f"{refused}. Expected between 50 and 1000 ms" in str(error)
