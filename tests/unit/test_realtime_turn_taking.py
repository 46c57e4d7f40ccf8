"""When turns end and answers begin: semantic detection, backchannels, eager answers, idle users, in the sound's time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from schemas.api.realtime.session_config import SemanticVad
from schemas.domain import SPEECH_RATE_HZ, Word
from schemas.domain import Recognition as HeardWords
from serve.realtime.backchannels import is_backchannel
from serve.realtime.recognition import Recognition
from serve.realtime.semantic_detector import SemanticDetector
from serve.realtime.turn_detector import TurnBegan, TurnEnded
from tests.support.realtime_kit import TEXT, ScriptedEngines, Talk, activity, text_of, written
from tests.unit.test_realtime_audio_in import TURN, secs_of, spoken

pytestmark = pytest.mark.unit

LONG = "The sky is blue. It was grey in the morning. Now the sun is out and all is well."


def silent(secs: float) -> Any:
    return np.zeros(round(secs * SPEECH_RATE_HZ), np.float32)


@pytest.mark.parametrize(
    ("eagerness", "probability", "after_secs"),
    [
        ("high", 1.0, 0.22),
        ("auto", 1.0, 0.5),
        ("low", 1.0, 0.8),
        ("auto", 0.0, 4.0),
        ("high", 0.0, 2.0),
        ("low", 0.0, 8.0),
    ],
)
async def test_a_turn_ends_when_it_sounds_finished_or_at_the_latest(
    eagerness: Any, probability: float, after_secs: float
) -> None:
    asked: list[float] = []

    async def finished() -> float:
        asked.append(probability)
        return probability

    detector = SemanticDetector(SemanticVad(type="semantic_vad", eagerness=eagerness), 0, finished)
    began = [await detector.feed(0.9) for _ in range(20)]
    assert [one for one in began if one] == [TurnBegan(0)]
    for frame in range(20, 400):
        if ended := await detector.feed(0.01):
            assert ended == TurnEnded(20)
            assert (frame + 1 - 20) * 0.032 == pytest.approx(after_secs, abs=0.04)
            assert len(asked) == 1
            return
    raise AssertionError("it never ended")


async def test_the_less_finished_a_turn_sounds_the_longer_is_the_silence_that_ends_it() -> None:
    async def frames(probability: float) -> int:
        async def finished() -> float:
            return probability

        detector = SemanticDetector(SemanticVad(type="semantic_vad"), 0, finished)
        for _ in range(20):
            await detector.feed(0.9)
        count = 1
        while not await detector.feed(0.01):
            count += 1
        return count

    waits = [await frames(step / 20) for step in range(21)]
    assert waits == sorted(waits, reverse=True)
    # A turn that sounds finished ends after half a second, another after more than the longest usual pause within one.
    assert all(count == 16 or count >= 31 for count in waits)
    assert len(set(waits)) > 4


async def test_a_session_with_semantic_detection_follows_the_model() -> None:
    async with Talk(ScriptedEngines(hears=["He walked along the river."] * 2)) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}, **TEXT)
        await talk.hear(spoken(TURN, 0.5, 3.0))
        await talk.until("response.done")
        (stopped,) = talk.of("input_audio_buffer.speech_stopped")
        assert stopped["audio_end_ms"] < 1000 * (0.5 + secs_of(TURN)) + 800
        # Latencies count from the end of speech, not from that of the silence after it.
        assert stopped["speech_end_ms"] == pytest.approx(1000 * (0.5 + secs_of(TURN)), abs=200)
        assert stopped["audio_end_ms"] - stopped["speech_end_ms"] >= 200
        assert talk.end_of_turn.heard
        assert max(talk.end_of_turn.heard) <= 8 * 16_000


async def test_words_that_stop_within_a_sentence_do_not_end_a_turn_soon() -> None:
    # The model is sure that the turn is over; the words are not.
    async with Talk(ScriptedEngines(hears=["We walked along the river until"] * 4)) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}, **TEXT)
        await talk.hear(spoken(TURN, 0.5, 2.0))
        stopped = await talk.until("input_audio_buffer.speech_stopped")
        assert 900 < stopped["audio_end_ms"] - 1000 * (0.5 + secs_of(TURN)) < 1300


async def test_a_whole_sentence_that_does_not_sound_finished_does_not_wait_long() -> None:
    async with Talk(ScriptedEngines(hears=["We walked along the river."] * 4)) as talk:
        talk.end_of_turn.answers = [0.0]
        await talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}, **TEXT)
        await talk.hear(spoken(TURN, 0.5, 3.0))
        stopped = await talk.until("input_audio_buffer.speech_stopped")
        assert 1900 < stopped["audio_end_ms"] - 1000 * (0.5 + secs_of(TURN)) < 2500


class _DeafEngines(ScriptedEngines):
    """Their recogniser never answers."""

    async def recognize(self, *_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()


async def test_a_recogniser_that_hangs_does_not_hold_the_end_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.realtime.hearing.WORDS_SECS", 0.05)
    async with Talk(_DeafEngines()) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}, **TEXT)
        await talk.hear(spoken(TURN, 0.5, 2.0))
        await talk.until("input_audio_buffer.speech_stopped")


@pytest.mark.parametrize(
    ("words", "punctuated", "ends"),
    [
        ("We walked along the river until", True, False),
        ("He said that he had never seen", True, False),
        ("Well, I think that...", True, False),
        ("If it rains,", True, False),
        ("What are you looking for?", True, True),
        ("The committee meets on Thursday.", True, True),
        ("", True, None),
        ("we walked along the river until", False, False),
        ("the committee meets on thursday", False, None),
    ],
)
async def test_words_tell_by_their_punctuation_or_their_last_one_whether_a_sentence_ends(
    words: str, punctuated: bool, ends: bool | None
) -> None:
    spelled = tuple(Word(word, 0.0, 0.1) for word in words.split())
    recognition = Recognition(ScriptedEngines(hears=[HeardWords(spelled, "en", punctuated=punctuated)]), activity(), 13.0)
    assert recognition.ends_sentence(await recognition.text(b"")) is ends


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mhm.", True),
        ("Yeah, right.", True),
        ("OK", True),
        ("Stop!", False),
        ("Yeah but no", False),
        ("", False),
        ("ja", True),
    ],
)
def test_backchannels_are_few_words_that_ask_for_nothing(text: str, expected: bool) -> None:
    assert is_backchannel(text) is expected


async def test_a_backchannel_interrupts_nothing_and_leaves_no_trace() -> None:
    engines = ScriptedEngines([written(LONG)], hears=["Yeah."] * 3)
    async with Talk(engines, realtime_interrupt_secs=2.0) as talk:
        await talk.say("How is the weather?")
        engines.speech_gate.clear()
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        since = len(talk.events)
        await talk.hear(spoken("yeah", 0.3, 1.2))
        engines.speech_gate.set()
        done = await talk.until("response.done")
        assert done["response"]["status"] == "completed"
        assert text_of(done) == LONG
        assert [
            kind
            for kind in talk.kinds(since)
            if not kind.startswith(("response.", "rate_limits.", "conversation.item.done"))
        ] == []
        assert len(talk.session.conversation) == 2


async def test_short_words_that_are_no_backchannel_interrupt() -> None:
    engines = ScriptedEngines([written(LONG), written("Fine.")], hears=["Stop!"] * 3)
    async with Talk(engines, realtime_interrupt_secs=2.0) as talk:
        await talk.say("How is the weather?")
        engines.speech_gate.clear()
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.hear(spoken("stop", 0.3, 1.2))
        done = await talk.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        engines.speech_gate.set()
        assert text_of(await talk.until("response.done")) == "Fine."
        kinds = talk.kinds()
        started = kinds.index("input_audio_buffer.speech_started")
        assert kinds.index("response.done") > started
        assert "input_audio_buffer.committed" in kinds


async def test_sound_waits_while_it_is_not_known_whether_speech_interrupts() -> None:
    engines = ScriptedEngines([written(LONG)])
    async with Talk(engines, realtime_interrupt_secs=1.0) as talk:
        await talk.say("How is the weather?")
        engines.speech_gate.clear()
        await talk.send("response.create")
        await talk.until("response.output_audio.delta")
        await talk.hear(spoken(TURN, 0.3, 0.0)[: round(1.1 * SPEECH_RATE_HZ)])
        sent = len(talk.of("response.output_audio.delta"))
        engines.speech_gate.set()
        await asyncio.sleep(0.05)
        assert len(talk.of("response.output_audio.delta")) == sent
        assert talk.of("input_audio_buffer.speech_started") == []
        await talk.hear(spoken(TURN, 0.0, 0.0)[round(0.8 * SPEECH_RATE_HZ) :])
        await talk.until("input_audio_buffer.speech_started")
        assert len(talk.of("response.output_audio.delta")) == sent


async def test_a_response_is_prepared_in_the_silence_and_sent_when_the_turn_is_over() -> None:
    engines = ScriptedEngines([written("I am ", "here.")] * 3, hears=["Are you there?"] * 3)
    async with Talk(engines, realtime_eager=True) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 2000}}}, **TEXT)
        since = len(talk.events)
        await talk.hear(spoken(TURN, 0.5, 1.0))
        async with asyncio.timeout(10):
            await engines.was_asked.wait()
        await asyncio.sleep(0.05)
        assert talk.kinds(since) == ["input_audio_buffer.speech_started"]
        await talk.hear(silent(1.5))
        done = await talk.until("response.done")
        assert text_of(done) == "I am here."
        kinds = talk.kinds(since)
        assert kinds.index("response.created") == kinds.index("conversation.item.done") + 1
        item, answer = list(talk.session.conversation)
        assert talk.of("conversation.item.added")[-1]["previous_item_id"] == item.id
        assert answer.role == "assistant"
        assert [m.content for m in engines.asked[0].messages if m.role == "user"] == ["Are you there?"]


async def test_an_answer_that_was_prepared_too_early_leaves_no_trace() -> None:
    engines = ScriptedEngines([written("Wrong.")] * 4, hears=["Are you"] * 8)
    async with Talk(engines, realtime_eager=True) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 2000}}}, **TEXT)
        await talk.hear(spoken(TURN, 0.5, 0.8))
        async with asyncio.timeout(10):
            await engines.was_asked.wait()
        engines.answers = [written("Right.")] * 4
        await talk.hear(spoken(TURN, 0.0, 3.0))
        done = await talk.until("response.done")
        assert text_of(done) == "Right."
        assert "Wrong" not in json.dumps(talk.events)
        assert len(talk.of("response.created")) == 1


async def test_a_user_who_says_nothing_is_asked() -> None:
    engines = ScriptedEngines([written("Hello."), written("Are you there?")])
    async with Talk(engines) as talk:
        turns = {"type": "server_vad", "idle_timeout_ms": 5000}
        await talk.update(audio={"input": {"turn_detection": turns, "transcription": {"model": "x"}}}, **TEXT)
        await talk.hear(silent(6.0), 1.0)
        assert talk.of("input_audio_buffer.timeout_triggered") == []
        await talk.say("Hello")
        await talk.ask()
        await talk.hear(silent(4.5), 0.5)
        assert talk.of("input_audio_buffer.timeout_triggered") == []
        since = len(talk.events)
        await talk.hear(silent(1.0), 0.5)
        done = await talk.until("response.done")
        assert text_of(done) == "Are you there?"
        kinds = [kind for kind in talk.kinds(since) if "transcription" not in kind]
        assert kinds[:7] == [
            "input_audio_buffer.timeout_triggered",
            "conversation.item.added",
            "conversation.item.done",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
        triggered, system = talk.events[since : since + 2]
        assert triggered["audio_end_ms"] - triggered["audio_start_ms"] >= 5000
        assert system["item"]["role"] == "system"
        completed = talk.of("conversation.item.input_audio_transcription.completed")[-1]
        assert (completed["item_id"], completed["transcript"]) == (triggered["item_id"], "")


async def test_the_idle_time_begins_when_the_answer_was_played() -> None:
    engines = ScriptedEngines([written(LONG), written("Still there?")])
    async with Talk(engines) as talk:
        await talk.update(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}})
        await talk.say("Hello")
        await talk.ask()
        # Eighteen words of a quarter of a second are still to be played.
        await talk.hear(silent(9.0), 0.5)
        assert talk.of("input_audio_buffer.timeout_triggered") == []
        await talk.hear(silent(1.5), 0.5)
        await talk.until("input_audio_buffer.timeout_triggered")


async def test_silence_for_an_hour_is_kept_nowhere_and_the_next_turn_is_answered() -> None:
    engines = ScriptedEngines([written("Still here.")])
    async with Talk(engines) as talk:
        await talk.update(**TEXT)
        minute = np.zeros(60 * SPEECH_RATE_HZ, np.float32)
        for _ in range(60):
            await talk.hear(minute, 10.0)
        await talk.quiet()
        assert talk.kinds() == ["session.created", "session.updated"]
        assert talk.session._hearing.position_ms == pytest.approx(3_600_000, abs=100)
        assert talk.session._hearing._input.duration_secs < 1
        assert engines.heard == []
        await talk.hear(spoken(TURN))
        assert (await talk.until("input_audio_buffer.speech_started"))["audio_start_ms"] > 3_600_000
        assert text_of(await talk.until("response.done")) == "Still here."
