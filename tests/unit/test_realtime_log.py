"""The record of a realtime session in its account's history."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from schemas.domain import SPEECH_RATE_HZ, Recognition, Word
from schemas.records import ConversationTurn, ToolCall
from serve.realtime.connection import converse
from serve.realtime.conversation_log import ConversationLog
from tests.support.realtime_kit import SECS_PER_WORD, TEXT, WEATHER, Clock, ScriptedEngines, Talk, calling, written
from tests.unit.test_realtime_audio_in import TURN, secs_of, spoken

pytestmark = pytest.mark.unit

ANSWER = "The sky is blue. It was grey in the morning."


@dataclass
class Noted:
    """A `serve.realtime.conversation_log.RecordedConversation` that records its calls."""

    turns: list[ConversationTurn] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    user: list[tuple[float, bytes]] = field(default_factory=list)
    model: list[tuple[float, bytes]] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    ended: list[tuple[float, float | None]] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event | None = None
    """If there is one, `end` waits for it."""

    def turn(self, turn: ConversationTurn) -> None:
        self.turns.append(turn)
        if turn.role == "assistant":
            self.answered.set()

    def tool_call(self, call: ToolCall) -> None:
        self.calls.append(call)

    def user_sound(self, at_secs: float, pcm: bytes) -> None:
        self.user.append((at_secs, pcm))

    def model_sound(self, at_secs: float, pcm: bytes) -> None:
        self.model.append((at_secs, pcm))

    def cut_model_sound(self, at_secs: float) -> None:
        self.cuts.append(at_secs)

    async def end(self, *, duration_secs: float, cost_usd: float | None) -> None:
        self.ending.set()
        if self.may_end is not None:
            await self.may_end.wait()
        self.ended.append((duration_secs, cost_usd))


def logged(engines: ScriptedEngines) -> tuple[Talk, Noted]:
    clock, noted = Clock(), Noted()
    return Talk(engines, clock=clock, log=ConversationLog(noted, clock, 3600.0, 0.01)), noted


async def test_a_spoken_turn_and_its_answer_are_written_with_their_latencies() -> None:
    talk, noted = logged(ScriptedEngines([written(ANSWER)], hears=["How is the weather?"]))
    async with talk:
        await talk.hear(spoken(TURN, 0.5, 1.0))
        await talk.until("response.done")
        talk.clock.now += 20
    user, answer = noted.turns
    assert (user.role, user.text) == ("user", "How is the weather?")
    assert (answer.role, answer.text) == ("assistant", ANSWER)
    words = len(ANSWER.split())
    assert (answer.words_said, answer.words_heard, answer.interrupted) == (words, words, False)
    times = answer.latencies
    # The clock stands still in this test: all that passed was silence.
    assert times.end_of_turn_secs == pytest.approx(0.5, abs=0.05)
    assert times.end_of_turn_secs == times.first_token_secs == times.first_sound_secs == times.first_sent_secs
    heard_secs = sum(len(pcm) for _, pcm in noted.user) / 2 / SPEECH_RATE_HZ
    assert heard_secs == pytest.approx(len(spoken(TURN, 0.5, 1.0)) / SPEECH_RATE_HZ, abs=0.01)
    ends = [at + len(pcm) / 2 / SPEECH_RATE_HZ for at, pcm in noted.model]
    assert [at for at, _ in noted.model] == pytest.approx([0.0, *ends[:-1]])
    assert ends[-1] == pytest.approx(SECS_PER_WORD * words)
    ((duration, cost),) = noted.ended
    assert duration == pytest.approx(20.0)
    assert cost == pytest.approx(heard_secs + 0.01 * len(ANSWER))


async def test_an_answer_that_calls_a_function_first_counts_from_the_same_end_of_speech() -> None:
    engines = ScriptedEngines([calling(("get_weather", "{}")), written(ANSWER)], hears=["How is the weather?"])
    talk, noted = logged(engines)
    async with talk:
        await talk.update(tools=[WEATHER])
        await talk.hear(spoken(TURN, 0.5, 1.0))
        await talk.until("response.done")
        talk.clock.now += 2
        output = {"type": "function_call_output", "call_id": "call_0", "output": "fine"}
        await talk.send("conversation.item.create", item=output)
        await talk.ask()
        await talk.say("And tomorrow?")
        await talk.ask()
    answer, written_turn = (turn.latencies for turn in noted.turns if turn.role == "assistant")
    assert answer.end_of_turn_secs == pytest.approx(0.5, abs=0.05)
    assert answer.first_sent_secs == pytest.approx(2.5, abs=0.05)
    assert written_turn.first_sent_secs is None


async def test_of_an_interrupted_response_only_the_part_that_was_heard_is_recorded() -> None:
    talk, noted = logged(ScriptedEngines([written(ANSWER)]))
    async with talk:
        await talk.say("How is the weather?")
        done = await talk.ask()
        talk.clock.now += 6.5 * SECS_PER_WORD
        item_id = done["response"]["output"][0]["id"]
        await talk.hear(spoken(TURN, 0.0, 0.0))
        played_ms = round(6500 * SECS_PER_WORD)
        await talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms)
    answer = next(turn for turn in noted.turns if turn.role == "assistant")
    assert answer.text.startswith("The sky is blue.")
    assert "morning" not in answer.text
    assert answer.interrupted is True
    assert answer.words_heard is not None
    assert answer.words_said is not None
    assert 4 <= answer.words_heard < answer.words_said
    assert noted.cuts[0] == pytest.approx(6.5 * SECS_PER_WORD)
    assert (answer.start_secs, answer.end_secs) == (0.0, pytest.approx(6.5 * SECS_PER_WORD, abs=0.001))


def heard(noted: Noted, start: float, end: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    """The user's side of the recording between two times."""
    side = np.zeros(round(end * SPEECH_RATE_HZ) + SPEECH_RATE_HZ, np.int16)
    for at, pcm in noted.user:
        piece = np.frombuffer(pcm, "<i2")[: max(0, len(side) - round(at * SPEECH_RATE_HZ))]
        side[round(at * SPEECH_RATE_HZ) :][: len(piece)] = piece
    return side[round(start * SPEECH_RATE_HZ) : round(end * SPEECH_RATE_HZ)]


async def test_turns_have_their_places_in_the_recording() -> None:
    talk, noted = logged(ScriptedEngines([written("The sky is blue."), written("Yes.")], hears=["How is it?", "Sure?"] * 3))
    async with talk:
        await talk.hear(spoken(TURN, 0.5, 1.0))
        await talk.until("response.done")
        # The client sends no sound while the answer is played and its user thinks.
        talk.clock.now += 30
        await talk.hear(spoken(TURN, 0.1, 1.0))
        await talk.until("response.done")
        talk.clock.now += 20
    first, second = (turn for turn in noted.turns if turn.role == "user")
    secs = secs_of(TURN)
    began = 30 - 0.1  # when the first piece had arrived, by the session's clock
    for turn, speech in ((first, 0.5), (second, began + 0.1)):
        assert turn.start_secs is not None
        assert turn.end_secs is not None
        assert max(speech - 0.5, began if turn is second else 0.0) <= turn.start_secs <= speech
        assert turn.end_secs == pytest.approx(speech + secs, abs=0.15)
        loud = np.abs(heard(noted, turn.start_secs, turn.end_secs)) > 1000
        assert np.flatnonzero(loud)[0] < 0.5 * SPEECH_RATE_HZ
    one, other = (turn for turn in noted.turns if turn.role == "assistant")
    assert (one.start_secs, one.end_secs) == (0.0, 4 * SECS_PER_WORD)
    assert (other.start_secs, other.end_secs) == (30.0, 30 + SECS_PER_WORD)


async def test_a_committed_turn_begins_with_its_speech_not_with_the_buffer() -> None:
    talk, noted = logged(ScriptedEngines())
    async with talk:
        await talk.update(audio={"input": {"turn_detection": None}}, **TEXT)
        await talk.hear(spoken(TURN, 12.0, 3.0))
        await talk.send("input_audio_buffer.commit")
        await talk.ask()
    user = noted.turns[0]
    assert user.start_secs is not None
    assert 11.4 <= user.start_secs <= 12.0
    assert user.end_secs == pytest.approx(12 + secs_of(TURN), abs=0.15)


async def test_written_turns_have_no_place() -> None:
    talk, noted = logged(ScriptedEngines())
    async with talk:
        await talk.update(**TEXT)
        await talk.say("Good day.")
        await talk.ask()
    assert [(turn.start_secs, turn.end_secs) for turn in noted.turns] == [(None, None), (None, None)]


async def test_pieces_that_cut_a_sample_are_recorded_whole() -> None:
    talk, noted = logged(ScriptedEngines())
    pcm = (spoken(TURN, 0.0, 0.0) * 32767).astype("<i2").tobytes()
    async with talk:
        for at in range(0, len(pcm), 4801):
            await talk.send("input_audio_buffer.append", audio=base64.b64encode(pcm[at : at + 4801]).decode())
    recorded = np.frombuffer(b"".join(piece for _, piece in noted.user), "<i2").astype(float)
    sent = np.frombuffer(pcm, "<i2").astype(float)
    assert len(recorded) == len(sent)
    assert np.abs(recorded - sent).max() <= 2


async def test_a_short_interruption_is_written_after_what_it_interrupted() -> None:
    engines = ScriptedEngines([written(ANSWER), written("Fine.")], hears=["Stop!"] * 3)
    clock, noted = Clock(), Noted()
    log = ConversationLog(noted, clock, 3600.0, 0.01)
    async with Talk(engines, clock=clock, log=log, realtime_interrupt_secs=2.0) as talk:
        await talk.say("How is the weather?")
        engines.speech_gate.clear()
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.hear(spoken("stop", 0.3, 1.2))
        await talk.until("response.done")
        engines.speech_gate.set()
        await talk.until("response.done")
    # History lists turns by their times.
    turns = sorted(noted.turns, key=lambda turn: turn.created_at)
    assert [turn.role for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert [turns[2].text, turns[3].text] == ["Stop!", "Fine."]


class _SlowEars(ScriptedEngines):
    """Their recogniser answers when it is let go."""

    def __init__(self, answer: str) -> None:
        super().__init__([written(answer)])
        self.go, self.listens = asyncio.Event(), asyncio.Event()

    async def recognize(self, *_: Any, **__: Any) -> Recognition:
        self.listens.set()
        await self.go.wait()
        return Recognition(tuple(Word(word, 0.25 * place, 0.25 * (place + 1)) for place, word in enumerate(["The", "sky"])))


async def test_words_heard_are_written_once_they_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.realtime.conversation_log._CUT_SECS", 0.01)
    engines = _SlowEars(ANSWER)
    talk, noted = logged(engines)
    async with talk:
        await talk.say("How is the weather?")
        done = await talk.ask()
        item_id = done["response"]["output"][0]["id"]
        talk.clock.now += 6.5 * SECS_PER_WORD
        talk.session._responding.interrupt()
        played_ms = round(3500 * SECS_PER_WORD)
        await talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms)
        await asyncio.wait_for(engines.listens.wait(), 10)
        await asyncio.sleep(0.1)
        assert [turn.role for turn in noted.turns] == ["user"]
        engines.go.set()
        await asyncio.wait_for(noted.answered.wait(), 10)
    assert (noted.turns[1].text, noted.turns[1].words_heard) == ("The sky", 2)


async def test_tool_calls_are_written_with_their_results_or_without() -> None:
    asked = calling(("get_weather", '{"city": "Oslo"}'), ("get_weather", '{"city": "Rome"}'))
    talk, noted = logged(ScriptedEngines([asked]))
    async with talk:
        await talk.update(tools=[WEATHER], **TEXT)
        await talk.say("Oslo and Rome?")
        await talk.ask()
        output = {"type": "function_call_output", "call_id": "call_0", "output": "rain"}
        await talk.send("conversation.item.create", item=output)
    assert [(call.tool, call.args, call.result) for call in noted.calls] == [
        ("get_weather", {"city": "Oslo"}, "rain"),
        ("get_weather", {"city": "Rome"}, None),
    ]
    assert [turn.role for turn in noted.turns] == ["user"]


async def test_responses_beside_the_conversation_are_not_written() -> None:
    talk, noted = logged(ScriptedEngines([written("Aside.")]))
    async with talk:
        await talk.ask(conversation="none", **TEXT)
    assert noted.turns == []
    assert len(noted.ended) == 1


async def test_a_conversation_ends_though_its_handler_is_cancelled_while_it_closes() -> None:
    talk, noted = logged(ScriptedEngines([]))
    noted.may_end = asyncio.Event()

    async def gone() -> None:
        return None

    handler = asyncio.create_task(
        converse(talk.session, talk.writer, gone, longest_secs=60.0, leaving=asyncio.Event()), name="handler"
    )
    async with asyncio.timeout(20):
        await noted.ending.wait()
        handler.cancel()
        await asyncio.wait((handler,), timeout=0.2)
        assert not noted.ended
        noted.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await handler
    assert len(noted.ended) == 1
