"""The Python clients, synchronous and asynchronous, against a running server."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients import sdk_calls
from fluxions.client import AsyncClient, Client, FluxionsError
from schemas.domain import JobStatus
from schemas.errors import Conflict, InvalidParameter, NotFound, ServerUnreachable, Unauthenticated
from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.e2e import recordings

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def client(here: Platform) -> Iterator[Client]:
    with Client(str(here.client.base_url), USER_KEY, patience_secs=2) as made:
        yield made


async def test_a_recording_as_path_bytes_and_file(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(recordings.sentence(1))
    found = await asyncio.to_thread(client.transcribe, path, words=True, language="en", min_speakers=1)
    assert found.status is JobStatus.COMPLETED
    assert found.filename == "talk.wav"
    assert found.segments
    assert found.segments[0].words
    again = await asyncio.to_thread(client.transcribe, path.read_bytes(), filename="talk.wav", language="en")
    assert (again.cached, again.text) == (True, found.text)
    with path.open("rb") as file:
        third = await asyncio.to_thread(client.transcribe, file, language="en")
    assert third.text == found.text
    srt = await asyncio.to_thread(client.file, found.id, "srt", lines=1)
    assert b"-->" in srt
    listed = await asyncio.to_thread(lambda: [item.id for item in client.transcriptions()])
    assert listed[:3] == [third.id, again.id, found.id]
    monkeypatch.setattr(sdk_calls, "PAGE_ROWS", 1)
    pages = client.transcriptions()
    seen = [(await asyncio.to_thread(next, pages)).id]
    await asyncio.to_thread(client.submit, path, filename="meanwhile.wav", language="en")
    seen += [(await asyncio.to_thread(next, pages)).id for _ in range(2)]
    assert seen == [third.id, again.id, found.id], "what arrives meanwhile moves the pages, and repeats nothing"
    events = await asyncio.to_thread(lambda: list(client.events(found.id)))
    assert [event.name for event in events][-1] == "status"
    assert events[-1].data["status"] == "completed"
    with pytest.raises(Conflict):
        await asyncio.to_thread(client.cancel, found.id)
    assert (await asyncio.to_thread(client.delete, found.id)).deleted
    with pytest.raises(NotFound):
        await asyncio.to_thread(client.transcription, found.id)


async def test_speech_whole_and_in_pieces(client: Client) -> None:
    whole = await asyncio.to_thread(client.speak, "Good morning.", voice="harry")
    with wave.open(io.BytesIO(whole)) as file:
        assert file.getframerate() == 24_000
        secs = file.getnframes() / 24_000
    pieces = await asyncio.to_thread(
        lambda: list(client.stream_speech("Good morning.", voice="harry", response_format="pcm"))
    )
    assert sum(map(len, pieces)) / 48_000 == pytest.approx(secs, abs=0.1)
    assert "maeve.h736bab09a" in [voice.voice_id for voice in await asyncio.to_thread(client.voices)]
    slots = {model.slot for model in await asyncio.to_thread(client.models)}
    assert slots == {"recognizer", "diarizer", "event_detector", "synthesizer", "language_model"}


async def test_for_asyncio(here: Platform) -> None:
    async with AsyncClient(str(here.client.base_url), USER_KEY) as client:
        found, other = await asyncio.gather(
            client.transcribe(recordings.sentence(2), filename="two.wav"),
            client.transcribe(recordings.sentence(3), filename="three.wav"),
        )
        assert found.text != other.text
        listed = [item.filename async for item in client.transcriptions()]
        assert {"two.wav", "three.wav"} <= set(listed)
        assert (await client.file(found.id, "txt")).decode().strip() == found.text
        pieces = [piece async for piece in client.stream_speech("Good morning.", response_format="pcm")]
        assert sum(map(len, pieces)) > 24_000
        assert (await client.speak("Good morning.")).startswith(b"RIFF")
        assert await client.voices()
        assert await client.models()
        with pytest.raises(Conflict):
            await client.cancel(found.id)
        assert (await client.delete(found.id)).deleted
        with pytest.raises(NotFound):
            await client.transcription(found.id)


async def test_errors_are_the_servers(client: Client, here: Platform) -> None:
    with pytest.raises(InvalidParameter) as wrong:
        await asyncio.to_thread(client.submit, recordings.sentence(1), language="xx")
    assert wrong.value.param == "language"
    with pytest.raises(FluxionsError, match="cannot be read"):
        await asyncio.to_thread(client.transcribe, b"RIFF\0\0\0\0WAVEfmt " + bytes(300))
    with Client(str(here.client.base_url), "fx_nobody") as stranger, pytest.raises(Unauthenticated):
        await asyncio.to_thread(stranger.models)
    with Client("http://127.0.0.1:9", "x", patience_secs=0.2) as nowhere, pytest.raises(ServerUnreachable):
        await asyncio.to_thread(nowhere.models)
    async with AsyncClient("http://127.0.0.1:9", "x", patience_secs=0.2) as away:
        with pytest.raises(ServerUnreachable):
            await away.models()


async def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXIONS_URL", "http://example.org/")
    monkeypatch.setenv("FLUXIONS_API_KEY", "fx_mine")
    with Client() as client:
        assert client._connection.target.url == "http://example.org"
        assert client._connection.target.key == "fx_mine"
