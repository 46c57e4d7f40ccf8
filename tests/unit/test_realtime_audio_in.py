"""What a realtime session hears: turns, transcripts, commits, formats; checks 13 to 15, 20, 21, 23, 34, 35, 38."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import av
import numpy as np
import pytest
import soxr

from audio import g711
from audio.vad import VoiceActivity
from audio.vad_stream import VoiceActivityStream
from audio.wire_formats import WireEncoder, converted, decode
from schemas.api.realtime.session_config import TranscriptionConfig
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.errors import EngineFailure
from tests.support.realtime_kit import TEXT, ScriptedEngines, Talk, activity, endless, text_of, tone, written
from tests.support.speech import say, silence

pytestmark = pytest.mark.unit


def spoken(text: str, before_secs: float = 1.0, after_secs: float = 1.0) -> Samples:
    """Speech with silence around it, at 24 kHz."""
    samples = np.concatenate((silence(before_secs), say(text), silence(after_secs)))
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ, SPEECH_RATE_HZ), np.float32)


def secs_of(text: str) -> float:
    """To the last of what can be heard."""
    return float(np.flatnonzero(np.abs(say(text)) > 0.01)[-1]) / SAMPLE_RATE_HZ


TURN = "the old man walked slowly along the river"


async def test_a_turn_is_found_written_down_and_answered() -> None:
    engines = ScriptedEngines([written("Did he?")], hears=["The old man walked."])
    async with Talk(engines) as talk:
        await talk.update(audio={"input": {"transcription": {"model": "whisper-1"}}}, **TEXT)
        since = len(talk.events)
        await talk.hear(spoken(TURN))
        await talk.until("response.done")
        await talk.quiet()
        kinds = [kind for kind in talk.kinds(since) if "transcription" not in kind]
        assert kinds[:6] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
        started, stopped, committed, added = talk.events[since : since + 4]
        item_id = started["item_id"]
        assert stopped["item_id"] == committed["item_id"] == added["item"]["id"] == item_id
        assert committed["previous_item_id"] is None
        assert added["item"]["status"] == "completed"
        assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
        # The padding lies before the speech, the silence that ended it is included.
        assert abs(started["audio_start_ms"] - 700) <= 150
        assert abs(stopped["audio_end_ms"] - 1000 * (1 + secs_of(TURN) + 0.5)) <= 150
        completed = talk.of("conversation.item.input_audio_transcription.completed")[0]
        assert (completed["item_id"], completed["content_index"]) == (item_id, 0)
        assert completed["transcript"] == "The old man walked."
        assert completed["usage"]["type"] == "duration"
        deltas = talk.of("conversation.item.input_audio_transcription.delta")
        assert "".join(event["delta"] for event in deltas) == "The old man walked."
        assert [m.content for m in engines.asked[0].messages if m.role == "user"] == ["The old man walked."]
        await talk.send("conversation.item.retrieve", item_id=item_id)
        content = (await talk.until("conversation.item.retrieved"))["item"]["content"][0]
        sound = np.frombuffer(base64.b64decode(content["audio"]), "<i2")
        length_ms = 1000 * len(sound) / SPEECH_RATE_HZ
        assert abs(length_ms - (stopped["audio_end_ms"] - started["audio_start_ms"])) <= 40


async def test_words_are_recognised_once_though_not_shown_when_not_asked_for() -> None:
    engines = ScriptedEngines([written("Yes.")], hears=["Hello."])
    async with Talk(engines) as talk:
        await talk.update(**TEXT)
        await talk.hear(spoken(TURN))
        await talk.until("response.done")
        assert [kind for kind in talk.kinds() if "transcription" in kind] == []
        # Recognised in the silence that ended the turn, and not again after it.
        assert len(engines.heard) == 1


async def test_times_grow_over_the_session_and_a_pause_within_a_turn_does_not_end_it() -> None:
    turn = np.concatenate((spoken(TURN, 0.5, 0.0), spoken(TURN, 0.0, 0.8)))
    async with Talk(ScriptedEngines()) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
        for _ in range(2):
            await talk.hear(turn)
            await talk.until("input_audio_buffer.speech_stopped")
        await talk.quiet()
        starts = [event["audio_start_ms"] for event in talk.of("input_audio_buffer.speech_started")]
        stops = [event["audio_end_ms"] for event in talk.of("input_audio_buffer.speech_stopped")]
        assert len(starts) == len(stops) == 2
        assert starts[0] < stops[0] < starts[1] < stops[1]
        assert all(isinstance(ms, int) for ms in (*starts, *stops))
        # create_response false: the turn becomes an item, and nothing is answered.
        assert talk.kinds()[-1] == "conversation.item.done"
        assert talk.of("response.created") == []
        assert (
            talk.of("conversation.item.added")[1]["previous_item_id"] == talk.of("conversation.item.added")[0]["item"]["id"]
        )


@pytest.mark.parametrize("chunk_secs", [0.01, 0.0337, 5.0])
async def test_the_size_of_chunks_changes_nothing(chunk_secs: float) -> None:
    sound = spoken(TURN)

    async def marks(chunk: float) -> list[int]:
        async with Talk(ScriptedEngines()) as talk:
            await talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
            await talk.hear(sound, chunk)
            await talk.until("input_audio_buffer.speech_stopped")
            return [
                event.get("audio_start_ms", event.get("audio_end_ms", 0))
                for event in talk.of("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped")
            ]

    assert await marks(chunk_secs) == await marks(0.1)


async def test_odd_splits_of_samples_are_joined() -> None:
    pcm = (spoken(TURN) * 32767).astype("<i2").tobytes()
    async with Talk(ScriptedEngines()) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
        for at in range(0, len(pcm), 4801):
            await talk.send("input_audio_buffer.append", audio=base64.b64encode(pcm[at : at + 4801]).decode())
        await talk.until("input_audio_buffer.speech_stopped")
        assert talk.of("error") == []


async def test_without_turn_detection_the_client_says_when_a_turn_is_over() -> None:
    engines = ScriptedEngines([written("Yes.")], hears=["Hello."])
    async with Talk(engines) as talk:
        await talk.update(audio={"input": {"turn_detection": None, "transcription": {"model": "x"}}}, **TEXT)
        since = len(talk.events)
        await talk.send("input_audio_buffer.commit", event_id="empty")
        error = (await talk.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "empty")
        await talk.hear(spoken(TURN))
        await talk.send("input_audio_buffer.commit")
        await talk.until("conversation.item.input_audio_transcription.completed")
        assert talk.kinds(since)[1:4] == [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
        assert talk.of("response.created", "input_audio_buffer.speech_started") == []
        assert text_of(await talk.ask()) == "Yes."
        await talk.hear(spoken(TURN))
        await talk.send("input_audio_buffer.clear")
        await talk.until("input_audio_buffer.cleared")
        await talk.send("input_audio_buffer.commit")
        assert (await talk.until("error"))["error"]["code"] == "input_audio_buffer_commit_empty"


async def test_a_buffer_that_is_never_committed_is_bounded() -> None:
    async with Talk(ScriptedEngines(), realtime_turn_secs=2) as talk:
        await talk.update(audio={"input": {"turn_detection": None}})
        await talk.hear(np.zeros(4 * SPEECH_RATE_HZ, np.float32))
        assert (await talk.until("error"))["error"]["code"] == "input_audio_buffer_full"


async def test_silence_is_no_turn_and_a_turn_without_words_is_not_answered() -> None:
    engines = ScriptedEngines(hears=[""] * 4)
    async with Talk(engines) as talk:
        await talk.update(audio={"input": {"transcription": {"model": "x"}}}, **TEXT)
        await talk.hear(np.zeros(10 * SPEECH_RATE_HZ, np.float32))
        await talk.quiet()
        assert talk.kinds()[2:] == []
        await talk.hear(spoken(TURN))
        done = await talk.until("response.done")
        assert (done["response"]["status"], done["response"]["output"]) == ("completed", [])
        assert engines.asked == []


async def test_a_failed_recognition_is_reported_and_the_session_continues() -> None:
    engines = ScriptedEngines(hears=[EngineFailure("it could not hear")])
    async with Talk(engines) as talk:
        await talk.update(audio={"input": {"transcription": {"model": "x"}}}, **TEXT)
        await talk.hear(spoken(TURN))
        await talk.until("response.done")
        failed = talk.of("conversation.item.input_audio_transcription.failed")[0]
        assert failed["error"]["code"] == "engine_failure"


async def test_speech_interrupts_an_answer() -> None:
    answer, stopped = endless()
    async with Talk(ScriptedEngines([answer, written("Second.")])) as talk:
        await talk.update(**TEXT)
        await talk.say("Go on.")
        await talk.send("response.create")
        await talk.until("response.output_text.delta")
        await talk.hear(spoken(TURN))
        done = await talk.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        kinds = talk.kinds()
        assert kinds.index("input_audio_buffer.speech_started") < kinds.index("response.done")
        async with asyncio.timeout(5):
            await stopped.wait()
        assert text_of(await talk.until("response.done")) == "Second."


async def test_an_answer_that_may_not_be_interrupted_ends_first() -> None:
    gate = asyncio.Event()

    async def waiting(_: Any) -> Any:
        from schemas.language_model import ChatDelta

        yield ChatDelta("First.")
        await gate.wait()
        yield ChatDelta(finish="stop")

    async with Talk(ScriptedEngines([waiting, written("Second.")])) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}}, **TEXT)
        await talk.say("Go on.")
        await talk.send("response.create")
        await talk.until("response.output_text.delta")
        await talk.hear(spoken(TURN))
        await talk.until("input_audio_buffer.committed")
        assert talk.of("response.done") == []
        gate.set()
        assert text_of(await talk.until("response.done")) == "First."
        assert text_of(await talk.until("response.done")) == "Second."


async def test_a_long_turn_is_recognised_piece_by_piece() -> None:
    engines = ScriptedEngines(hears=["One.", "Two.", "Three.", "Four."])
    async with Talk(engines) as talk:
        await talk.update(audio={"input": {"turn_detection": None, "transcription": {"model": "x"}}})
        await talk.hear(np.concatenate([spoken(TURN, 0.1, 0.1)] * 10), chunk_secs=1.0)
        await talk.send("input_audio_buffer.commit")
        completed = await talk.until("conversation.item.input_audio_transcription.completed")
        assert len(engines.heard) >= 2
        assert completed["transcript"].startswith("One. Two.")
        assert max(map(len, engines.heard)) / 2 / SAMPLE_RATE_HZ <= 13.1


async def test_sound_in_an_item_is_recognised() -> None:
    engines = ScriptedEngines([written("Yes.")], hears=["Hello."])
    async with Talk(engines) as talk:
        await talk.update(**TEXT)
        audio = base64.b64encode((spoken(TURN) * 32767).astype("<i2").tobytes()).decode()
        content = [{"type": "input_audio", "audio": audio}]
        await talk.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await talk.ask()
        assert [m.content for m in engines.asked[0].messages if m.role == "user"] == ["Hello."]


async def test_a_transcription_session_transcribes_and_does_not_respond() -> None:
    async with Talk(ScriptedEngines(hears=["Hello."]), TranscriptionConfig()) as talk:
        session = talk.events[0]["session"]
        assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
        turns = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 600, "silence_duration_ms": 350}
        sent = {"type": "transcription", "audio": {"input": {"turn_detection": turns}}}
        await talk.send("session.update", session=sent)
        await talk.until("session.updated")
        await talk.hear(spoken(TURN))
        completed = await talk.until("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "Hello."
        assert talk.of("response.created") == []
        await talk.send("response.create")
        assert (await talk.until("error"))["error"]["code"] == "invalid_event"


@pytest.mark.parametrize("form", ["audio/pcmu", "audio/pcma"])
async def test_telephone_formats_are_accepted(form: Any) -> None:
    coded = converted(spoken(TURN), SPEECH_RATE_HZ, form)
    async with Talk(ScriptedEngines()) as talk:
        updated = await talk.update(audio={"input": {"format": {"type": form}}}, **TEXT)
        assert updated["session"]["audio"]["input"]["format"] == {"type": form}
        assert updated["session"]["audio"]["output"]["format"]["type"] == "audio/pcm"
        for at in range(0, len(coded), 800):
            await talk.send("input_audio_buffer.append", audio=base64.b64encode(coded[at : at + 800]).decode())
        stopped = await talk.until("input_audio_buffer.speech_stopped")
        assert abs(stopped["audio_end_ms"] - 1000 * (1 + secs_of(TURN) + 0.5)) <= 150


@pytest.mark.parametrize(("law", "codec"), [("mu", "pcm_mulaw"), ("a", "pcm_alaw")])
def test_g711_is_that_of_ffmpeg(law: Any, codec: str) -> None:
    context = av.CodecContext.create(codec, "r")
    context.sample_rate = 8000
    context.layout = "mono"
    (frame,) = context.decode(av.Packet(bytes(range(256))))
    assert g711.decode(bytes(range(256)), law).tolist() == frame.to_ndarray()[0].tolist()
    samples = np.arange(-32768, 32768, 7, dtype=np.int32).astype(np.int16)
    again = g711.decode(g711.encode(samples, law), law)
    step = np.maximum(np.abs(samples.astype(np.int32)) / 16, 8)
    assert (np.abs(again.astype(np.int32) - samples) <= step).all()


@pytest.mark.parametrize("form", ["audio/pcm", "audio/pcmu", "audio/pcma"])
def test_what_is_sent_sounds_like_what_was_made(form: Any) -> None:
    encoder = WireEncoder(form)
    pieces = [encoder.feed(tone(0.1)) for _ in range(10)] + [encoder.finish()]
    samples = decode(b"".join(pieces), form)
    rate = 24_000 if form == "audio/pcm" else 8_000
    assert abs(len(samples) / rate - 1.0) < 0.01
    assert np.std(samples) == pytest.approx(8000 / 32768 / np.sqrt(2), rel=0.05)


def test_voice_activity_of_a_stream_is_that_of_the_whole() -> None:
    samples = np.concatenate((say(TURN), silence(0.3)))
    whole = VoiceActivity().probabilities(samples)
    stream = VoiceActivityStream(activity())
    # Few frames at once, and many.
    sizes = np.random.default_rng(0).choice([1, 160, 480, 1100, 2500, 8000], 200)
    pieces, at = [], 0
    for size in sizes.tolist():
        pieces.append(stream.feed(samples[at : at + size]))
        at += size
    found = np.concatenate(pieces)
    assert len(found) == len(samples) // 512
    np.testing.assert_allclose(found, whole[: len(found)], atol=1e-5)
