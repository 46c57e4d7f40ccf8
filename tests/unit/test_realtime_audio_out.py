"""What a realtime session says: sound with its transcript, voices, truncation, barge-in; checks 8, 9, 20, 24, 30."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest

from schemas.domain import SPEECH_RATE_HZ, Recognition, Word
from schemas.errors import EngineFailure, InvalidParameter
from schemas.language_model import ChatDelta, ChatRequest, ToolCallFragment
from serve.realtime.event_writer import MAX_BYTES, ROOM_BYTES, EventWriter
from serve.realtime.heard_text import SpokenPassage, heard_text
from serve.realtime.heard_words import heard_chars
from serve.realtime.speech_chunks import SpeechChunks, speakable
from tests.support.realtime_kit import SECS_PER_WORD, WEATHER, ScriptedEngines, Talk, gather, text_of, written
from tests.unit.test_realtime_audio_in import TURN, spoken

pytestmark = pytest.mark.unit

LONG = ("The sky is blue. ", "It was grey in the morning. ", "Now the sun is out.")


def secs(events: list[dict[str, Any]], rate_hz: int = SPEECH_RATE_HZ, width: int = 2) -> float:
    pieces = [base64.b64decode(event["delta"], validate=True) for event in events]
    assert all(len(piece) % width == 0 for piece in pieces)
    return sum(map(len, pieces)) / width / rate_hz


async def test_a_spoken_response_has_its_events_in_order() -> None:
    async with Talk(ScriptedEngines([written(*LONG)])) as talk:
        await talk.say("How is the weather?")
        since = len(talk.events)
        done = await talk.ask()
        await talk.quiet()
        kinds = talk.kinds(since)
        assert kinds[:4] == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
        ]
        assert set(kinds[4:-7]) == {"response.output_audio.delta", "response.output_audio_transcript.delta"}
        assert kinds[-7:] == [
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "rate_limits.updated",
        ]
        assert talk.of("response.content_part.added")[0]["part"] == {"type": "audio", "transcript": ""}
        deltas = "".join(event["delta"] for event in talk.of("response.output_audio_transcript.delta"))
        transcript = talk.of("response.output_audio_transcript.done")[0]["transcript"]
        part = talk.of("response.content_part.done")[0]["part"]
        assert deltas == transcript == part["transcript"] == text_of(done) == "".join(LONG)
        content = done["response"]["output"][0]["content"]
        assert content == [{"type": "output_audio", "transcript": transcript}]
        words = len(transcript.split())
        assert secs(talk.of("response.output_audio.delta")) == pytest.approx(words * SECS_PER_WORD)
        # The first sentence was on its way before the model had finished.
        assert talk.engines.rendered[0] == LONG[0]


@pytest.mark.parametrize("form", ["audio/pcmu", "audio/pcma"])
async def test_telephone_formats_are_spoken(form: str) -> None:
    async with Talk(ScriptedEngines([written(*LONG)])) as talk:
        await talk.update(audio={"output": {"format": {"type": form}}})
        await talk.say("Hello")
        await talk.ask()
        words = len("".join(LONG).split())
        assert secs(talk.of("response.output_audio.delta"), 8000, 1) == pytest.approx(words * SECS_PER_WORD, abs=0.01)


@pytest.mark.parametrize(("speed", "own"), [(0.25, 0.5), (0.4, 0.5), (1.5, 1.5)])
async def test_speeds_beyond_the_synthesisers_are_spoken_truly(speed: float, own: float) -> None:
    """The scripted synthesiser takes as long at every speed; what it lacks is made up for in its sound."""
    engines = ScriptedEngines([written(*LONG)])
    async with Talk(engines, paces=lambda asked: (max(0.5, asked), asked / max(0.5, asked))) as talk:
        await talk.update(audio={"output": {"speed": speed}})
        await talk.say("Hello")
        done = await talk.ask()
        item_id = done["response"]["output"][0]["id"]
        words = len("".join(LONG).split())
        length_secs = words * SECS_PER_WORD * own / speed
        assert secs(talk.of("response.output_audio.delta")) == pytest.approx(length_secs, abs=0.002)
        assert set(engines.speeds) == {own}
        # Passages have their places in the slower sound.
        cut_ms = round(1000 * 4.5 * SECS_PER_WORD * own / speed)
        await talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=cut_ms)
        await talk.until("conversation.item.truncated")
        await talk.say("Go on.")
        await talk.ask()
        heard = talk.engines.asked[-1].messages[2].content
        assert heard.startswith("The sky is blue.")
        assert "grey" not in heard


async def test_a_voice_may_change_until_it_has_spoken() -> None:
    async with Talk(ScriptedEngines()) as talk:
        updated = await talk.update(audio={"output": {"voice": "harry"}})
        assert updated["session"]["audio"]["output"]["voice"] == "harry"
        await talk.say("Hello")
        await talk.ask()
        assert (await talk.update(audio={"output": {"voice": "harry", "speed": 1.2}}))["type"] == "session.updated"
        error = (await talk.update(audio={"output": {"voice": "maeve"}}))["error"]
        assert (error["code"], error["param"]) == ("cannot_update_voice", "session.audio.output.voice")


async def test_what_was_truncated_is_not_in_the_conversation() -> None:
    async with Talk(ScriptedEngines([written(*LONG), written("Right.")])) as talk:
        await talk.say("How is the weather?")
        done = await talk.ask()
        item_id = done["response"]["output"][0]["id"]
        # Six words and a half were played.
        played_ms = round(1000 * 6.5 * SECS_PER_WORD)
        await talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=99_999)
        error = (await talk.until("error"))["error"]
        assert (error["code"], error["param"]) == ("invalid_value", "audio_end_ms")
        await talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms)
        truncated = await talk.until("conversation.item.truncated")
        assert (truncated["item_id"], truncated["content_index"]) == (item_id, 0)
        assert truncated["audio_end_ms"] == played_ms
        # Some clients say it twice, the second time with what they would have played by then.
        await talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms + 200)
        await talk.until("conversation.item.truncated")
        await talk.send("conversation.item.retrieve", item_id=item_id)
        content = (await talk.until("conversation.item.retrieved"))["item"]["content"][0]
        assert "transcript" not in content
        sound = np.frombuffer(base64.b64decode(content["audio"]), "<i2")
        assert len(sound) == played_ms * SPEECH_RATE_HZ // 1000
        await talk.say("Go on.")
        await talk.ask()
        known = talk.engines.asked[-1].messages[2]
        assert known.role == "assistant"
        assert known.content.startswith("The sky is blue. It was")
        assert "morning" not in known.content
        item = await talk.say("Text.")
        await talk.send("conversation.item.truncate", item_id=item["item"]["id"], content_index=0, audio_end_ms=0)
        assert (await talk.until("error"))["error"]["code"] == "unsupported_content_type"


async def test_the_last_word_that_was_played_is_recognised() -> None:
    words = [Word(word, 0.25 * place, 0.25 * (place + 1)) for place, word in enumerate(["It", "was", "gray", "in"])]
    engines = ScriptedEngines([written(*LONG), written("Right.")], hears=[Recognition(tuple(words))])
    async with Talk(engines) as talk:
        await talk.say("How is the weather?")
        done = await talk.ask()
        played_ms = round(1000 * 8.0 * SECS_PER_WORD)
        item_id = done["response"]["output"][0]["id"]
        await talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms)
        await talk.ask()
        (known,) = [m.content for m in engines.asked[-1].messages if m.role == "assistant"]
        assert known == "The sky is blue. It was grey in"


@pytest.mark.parametrize(
    ("heard", "text"),
    [
        (["it", "was"], "It was"),
        (["It", "was", "gray"], "It was grey,"),
        (["something", "else", "altogether"], None),
        ([], None),
        (["It", "was", "grey", "all", "day", "long", "and", "on"], "It was grey, all day."),
    ],
)
def test_words_that_were_played_are_found_in_the_text(heard: list[str], text: str | None) -> None:
    found = heard_chars("It was grey, all day. ", heard)
    assert (None if found is None else "It was grey, all day. "[:found]) == text


async def test_barge_in_drops_audio_and_keeps_only_text_that_can_have_been_played() -> None:
    engines = ScriptedEngines([written("The sky is blue and it was grey all morning long."), written("Yes?")])
    async with Talk(engines) as talk:
        await talk.say("How is the weather?")
        engines.speech_gate.clear()
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        talk.clock.now += 0.6
        await talk.hear(spoken(TURN, 0.2, 0.0))
        done = await talk.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        stale = [e for e in talk.events[talk.events.index(done) :] if e["type"] == "response.output_audio.delta"]
        assert stale == []
        engines.speech_gate.set()
        await talk.hear(spoken(TURN, 0.0, 1.0))
        await talk.until("response.done")
        known = [m.content for m in engines.asked[-1].messages if m.role == "assistant"]
        # One word was sent, and no more of the transcript is in the conversation.
        assert "morning" not in "".join(known)


async def test_an_answer_that_is_still_playing_is_cut_where_speech_begins() -> None:
    engines = ScriptedEngines([written(*LONG), written("Yes?")])
    async with Talk(engines) as talk:
        await talk.say("How is the weather?")
        await talk.ask()
        talk.clock.now += 6.5 * SECS_PER_WORD
        await talk.hear(spoken(TURN))
        await talk.until("response.done")
        (known,) = [m.content for m in engines.asked[-1].messages if m.role == "assistant"]
        assert known.startswith("The sky is blue.")
        assert "sun" not in known


async def test_a_client_cancels_a_response_in_the_middle_of_its_audio() -> None:
    engines = ScriptedEngines([written(*LONG), written("Next.")])
    async with Talk(engines) as talk:
        await talk.say("How is the weather?")
        engines.speech_gate.clear()
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.send("response.cancel")
        done = await talk.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert done["response"]["output"][0]["status"] == "incomplete"
        engines.speech_gate.set()
        assert text_of(await talk.ask()) == "Next."
        late = talk.events[talk.events.index(done) :]
        assert [event["type"] for event in late if event.get("response_id") == done["response"]["id"]] == []


@pytest.mark.parametrize("pieces", [0, 1])
async def test_a_synthesiser_that_fails_fails_the_response_and_not_the_session(pieces: int) -> None:
    class Failing(ScriptedEngines):
        fails = True

        async def render(self, request: Any) -> Any:
            places = pieces if self.fails else -1
            async for chunk in super().render(request):
                if not places:
                    raise EngineFailure("it lost its voice")
                places -= 1
                yield chunk

    engines = Failing([written(*LONG), written("Here I am.")])
    async with Talk(engines) as talk:
        await talk.say("How is the weather?")
        response = (await talk.ask())["response"]
        assert (response["status"], response["status_details"]["error"]["code"]) == ("failed", "engine_failure")
        assert len(talk.of("response.output_audio.delta")) <= 3 * pieces
        engines.fails = False
        assert text_of(await talk.ask()) == "Here I am."


async def test_text_with_nothing_to_say_is_shown_and_not_spoken() -> None:
    class Mute(ScriptedEngines):
        async def render(self, request: Any) -> Any:
            if not any(c.isalnum() for c in request.text):
                raise InvalidParameter("nothing", code="nothing_to_say", param="input")
            async for chunk in super().render(request):
                yield chunk

    async with Talk(Mute([written("🙂")])) as talk:
        await talk.say("Hello")
        done = await talk.ask()
        assert text_of(done) == "🙂"
        assert done["response"]["status"] == "completed"
        assert talk.of("response.output_audio.delta") == []


async def test_words_before_a_call_are_spoken_while_its_arguments_are_written() -> None:
    written_down = asyncio.Event()

    async def look(_: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        yield ChatDelta("I look.")
        yield ChatDelta(call=ToolCallFragment(0, "call_0", "get_weather"))
        await written_down.wait()
        yield ChatDelta(call=ToolCallFragment(0, arguments='{"city": "Oslo"}'))
        yield ChatDelta(finish="tool_calls")

    async with Talk(ScriptedEngines([look])) as talk:
        await talk.update(tools=[WEATHER])
        await talk.say("How is the weather in Oslo?")
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        written_down.set()
        said, called = (await talk.until("response.done"))["response"]["output"]
        assert (said["content"][0]["transcript"], called["arguments"]) == ("I look.", '{"city": "Oslo"}')


async def test_thirty_sessions_never_mix() -> None:
    words = [f"word{number}" for number in range(30)]
    talks = [Talk(ScriptedEngines([written(word)], hears=[word])) for word in words]

    async def one(talk: Talk, word: str) -> None:
        async with talk:
            await talk.update(audio={"input": {"transcription": {"model": "x"}}})
            await talk.hear(spoken(TURN))
            done = await talk.until("response.done")
            assert text_of(done) == word
            completed = talk.of("conversation.item.input_audio_transcription.completed")[0]
            assert completed["transcript"] == word
            assert [m.content for m in talk.engines.asked[0].messages if m.role == "user"] == [word]

    await gather(*(one(talk, word) for talk, word in zip(talks, words, strict=True)))


async def test_a_client_that_does_not_read_bounds_what_waits_for_it() -> None:
    gate = asyncio.Event()

    async def stuck(_: str) -> None:
        await gate.wait()

    writer = EventWriter(stuck)
    running = asyncio.create_task(writer.run())
    while writer.waiting_bytes <= ROOM_BYTES + 200_000:
        writer.send({"type": "response.output_audio.delta", "response_id": "r", "delta": "x" * 100_000})
    waiting = asyncio.create_task(writer.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert writer.drop_audio("r") > 0
    await asyncio.wait_for(waiting, 60)
    for _ in range(MAX_BYTES // 100_000 + 3):
        writer.send({"type": "error", "error": {"message": "x" * 100_000}})
    assert writer.overflow.is_set()
    gate.set()
    running.cancel()


@pytest.mark.parametrize(
    ("heard_secs", "text"),
    [(0.0, ""), (0.5, "One"), (1.9, "One two."), (2.0, "One two."), (3.1, "One two. Three"), (9.0, "One two. Three four.")],
)
def test_the_text_that_was_heard_follows_from_the_time_of_playback(heard_secs: float, text: str) -> None:
    passages = [SpokenPassage(0, 9, 0.0, 2.0), SpokenPassage(9, 20, 2.0, 4.0)]
    assert heard_text("One two. Three four.", passages, heard_secs) == text


def test_a_text_is_cut_where_sentences_certainly_end() -> None:
    chunks = SpeechChunks("en-us")
    assert chunks.add("It costs 3") == []
    assert chunks.add(".5 pounds.") == []
    assert chunks.add(" I") == ["It costs 3.5 pounds. "]
    assert chunks.add(" would take it.") == []
    assert chunks.finish() == ["I would take it."]
    assert chunks.finish() == []
    marked = "**Bold** [link](https://example.org/a) `code`"
    assert len(speakable(marked)) == len(marked)
    assert "example" not in speakable(marked)
    assert not set("*[]`") & set(speakable(marked))
