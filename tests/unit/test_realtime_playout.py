"""How the audio of a response is sent: as it is played, held while somebody may speak, and resumed; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from serve.realtime import responding
from serve.realtime.onset import Onset
from serve.realtime.playout import MOST_WAITING_SECS, Playout
from tests.support.realtime_kit import Clock, ScriptedEngines, Talk, written
from tests.unit.test_realtime_audio_in import TURN, spoken

pytestmark = pytest.mark.unit

LONG = "The sky is blue. It was grey in the morning. Now the sun is out and all is well."
DELTA = "response.output_audio.delta"


class _Sent:
    """A playout whose sleep advances its clock; records when audio was sent."""

    def __init__(self, lead_secs: float) -> None:
        self.clock = Clock()
        self.times: list[float] = []
        self.sounds = asyncio.Event()
        self.sounds.set()
        self.on_sleep: Callable[[], None] = lambda: None
        self.playout = Playout(
            clock=self.clock, lead_secs=lead_secs, sounds=self.sounds, room=self._room, sleep=self._sleep
        )

    async def _room(self) -> None:
        return None

    async def _sleep(self, secs: float) -> None:
        self.clock.now += secs
        self.on_sleep()
        await asyncio.sleep(0)

    def add(self, pieces: int) -> None:
        for _ in range(pieces):
            self.playout.add(lambda: self.times.append(round(self.clock.now - 100, 3)), 0.1)


async def test_audio_is_sent_as_it_is_played() -> None:
    sent = _Sent(0.2)
    sent.add(6)
    sent.playout.finish()
    await sent.playout.run()
    assert sent.times == [0.0, 0.0, 0.0, 0.1, 0.2, 0.3]
    assert sent.playout.remaining_secs == pytest.approx(0.3)
    assert sent.playout.played_secs == pytest.approx(0.3)


async def test_paused_audio_is_not_counted_as_played_and_goes_on_later() -> None:
    sent = _Sent(0.2)
    sent.on_sleep = sent.sounds.clear
    sent.add(6)
    sent.playout.finish()
    running = asyncio.create_task(sent.playout.run())
    await asyncio.sleep(0.01)
    assert sent.times == [0.0, 0.0, 0.0]
    sent.clock.now = 105.0
    assert sent.playout.played_secs == pytest.approx(0.3)
    sent.on_sleep = lambda: None
    sent.sounds.set()
    await running
    assert sent.times[3:] == [5.0, 5.0, 5.0]


async def test_a_response_that_calls_a_function_does_not_wait_for_its_playback() -> None:
    sent = _Sent(0.2)
    sent.playout.hurry()
    sent.add(6)
    sent.playout.finish()
    await sent.playout.run()
    assert sent.times == [0.0] * 6


async def test_synthesis_waits_for_a_playback_that_is_far_behind() -> None:
    sent = _Sent(0.2)
    sent.add(int(MOST_WAITING_SECS * 10) + 1)
    waiting = asyncio.create_task(sent.playout.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    running = asyncio.create_task(sent.playout.run())
    await asyncio.wait_for(waiting, 60)
    running.cancel()


def _frame(level: float) -> np.ndarray:
    return np.full(512, level * 32768, np.int16)


def test_an_onset_is_found_in_its_frame_and_a_lasting_noise_is_none() -> None:
    onset = Onset()
    assert not any(onset.feed(_frame(0.003), 0.01) for _ in range(60))
    assert onset.feed(_frame(0.05), 0.1)
    found = [onset.feed(_frame(0.05), 0.1) for _ in range(300)]
    assert found[:5] == [True] * 5
    assert not any(found[5:]), "a noise holds responses up"


def test_sound_that_comes_and_goes_holds_responses_half_of_the_time_at_most() -> None:
    onset = Onset()
    found = [onset.feed(_frame(0.2), 0.4) for _ in range(600)]
    assert sum(found) <= 300


async def _speaking(talk: Talk, engines: ScriptedEngines) -> int:
    """A response has begun and fills what may be sent ahead; returns the number of audio events."""
    await talk.say("How is the weather?")
    await talk.send("response.create")
    await talk.until(DELTA, count=3)
    return len(talk.of(DELTA))


async def test_the_first_frame_of_speech_holds_audio_and_silence_after_it_resumes() -> None:
    engines = ScriptedEngines([written(LONG)])
    async with Talk(engines, realtime_interrupt_secs=0.5, realtime_lead_secs=0.2) as talk:
        sent = await _speaking(talk, engines)
        speech = spoken(TURN, 0.0, 0.0)
        first = int(np.flatnonzero(np.abs(speech) > 0.02)[0])
        await talk.hear(np.zeros(SPEECH_RATE_HZ // 2, np.float32))
        await talk.hear(speech[first : first + 2 * 512 * SPEECH_RATE_HZ // SAMPLE_RATE_HZ], 0.02)
        # All of it would be due now.
        talk.clock.now += 10
        await asyncio.sleep(0.3)
        assert len(talk.of(DELTA)) == sent
        await talk.hear(np.zeros(SPEECH_RATE_HZ, np.float32))
        await talk.until(DELTA)
        assert talk.of("input_audio_buffer.speech_started", "response.done") == []


async def test_a_client_that_mutes_itself_while_it_speaks_hears_the_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responding, "PAUSE_SECS", 0.2)
    engines = ScriptedEngines([written(LONG)])
    async with Talk(engines, realtime_interrupt_secs=5.0) as talk:
        await talk.say("How is the weather?")
        engines.speech_gate.clear()
        await talk.send("response.create")
        await talk.until(DELTA)
        await talk.hear(spoken(TURN, 0.3, 0.0)[:SPEECH_RATE_HZ])
        engines.speech_gate.set()
        done = await talk.until("response.done")
        assert done["response"]["status"] == "completed"


async def test_no_audio_follows_an_interruption() -> None:
    engines = ScriptedEngines([written(LONG), written("Yes?")])
    async with Talk(engines, realtime_interrupt_secs=0.5, realtime_lead_secs=0.2) as talk:
        sent = await _speaking(talk, engines)
        await talk.hear(spoken(TURN, 0.5, 0.0), 0.02)
        done = await talk.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert len(talk.of(DELTA)) == sent
        assert engines.rendered, "it was synthesised"
