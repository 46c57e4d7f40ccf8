"""Voice conversations with a running server, measured at the client: latency of responses and interruptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import soxr

from benchmarks.fixtures import speech
from benchmarks.measure import Measure, percentile
from benchmarks.platform.realtime_events import gap_secs, num_stale, sounds_of
from clients.conversation import LiveConversation, conversation
from clients.public import Client, Target
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Seconds
from schemas.errors import FluxionsError, ServerUnreachable

_CHUNK_SECS: Final[Seconds] = 0.02
_CHUNK_BYTES: Final = 2 * round(_CHUNK_SECS * SPEECH_RATE_HZ)
_TURN_SECS: Final[Seconds] = 2.5
_ANSWER_SECS: Final[Seconds] = 30.0
_INTERRUPT_SECS: Final[Seconds] = 0.5
"""From the first audio of a response to the speech that interrupts it, at the least."""
_STAGGER_SECS: Final[Seconds] = 6.0
"""Sessions begin evenly over this time, so that their turns do not end together."""
_RECORDED_SECS: Final[Seconds] = 10.0
INSTRUCTIONS: Final = "Answer in one short sentence."
STAGES: Final = {
    "end_of_turn_secs": "end of turn found",
    "first_token_secs": "first token",
    "first_sound_secs": "first sound made",
    "first_sent_secs": "first sound sent",
}
"""Fields of `schemas.api.turn_measures.TurnMeasures`, in order of time."""


@dataclass(slots=True)
class ConversationTimes:
    """The times of all turns of one or several conversations, s."""

    speech_to_sound: list[Seconds] = field(default_factory=list)
    """From the last sample of speech sent to the first audio of the response."""
    turn_to_sound: list[Seconds] = field(default_factory=list)
    """From the server's event of the end of the turn to the first audio of the response."""
    interruption: list[Seconds] = field(default_factory=list)
    """From sending the first sample of an interrupting turn to the last audio event of the response; 0 if none followed."""
    gaps: list[Seconds] = field(default_factory=list)
    """Silence within each response, where its audio came later than it would have been played."""
    stages: dict[str, list[Seconds]] = field(default_factory=lambda: {name: [] for name in STAGES})
    """From the end of speech, by the server's clock, without interrupted responses."""
    stale: int = 0
    """Audio events of a response after its end."""
    unanswered: int = 0

    def measures(self) -> list[Measure]:
        """Medians and high percentiles."""
        found = [
            Measure("turns without an answer", self.unanswered, ""),
            Measure("stale events with sound", self.stale, ""),
        ]
        for name, values in (
            ("end of speech to first sound", self.speech_to_sound),
            ("end of turn to first sound", self.turn_to_sound),
            ("interruption to last sound", self.interruption),
            ("silence within an answer", self.gaps),
            *((f"end of speech to {STAGES[name]}", values) for name, values in self.stages.items()),
        ):
            if values:
                found += [Measure(f"{name}, p{share:.0f}", percentile(values, share / 100), "s") for share in (50, 95)]
        return found


class _Events:
    """The received events of one session, with their times."""

    def __init__(self, session: LiveConversation) -> None:
        self._session = session
        self.seen: list[tuple[Seconds, dict[str, Any]]] = []
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        """Returns when the session ends. Raises FluxionsError for an error that the server reports."""
        loop = asyncio.get_running_loop()
        async for event in self._session.events():
            if event["type"] == "error":
                raise FluxionsError(event["error"]["message"])
            self.seen.append((loop.time(), event))
            self._changed.set()

    async def wait(self, kind: str, since: int) -> tuple[Seconds, dict[str, Any]] | None:
        """The first event of that kind from place ``since`` on; None after `_ANSWER_SECS`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_SECS):
                while True:
                    for at, event in self.seen[since:]:
                        if event["type"] == kind:
                            return at, event
                    self._changed.clear()
                    await self._changed.wait()
        return None


def turn(seed: int) -> bytes:
    """Speech, s16le at 24 kHz mono, without silence at its beginning and end."""
    samples = speech(_TURN_SECS, seed).astype(np.float64) / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    cut = samples[loud[0] : loud[-1] + 1]
    return np.asarray(soxr.resample(cut, SAMPLE_RATE_HZ, SPEECH_RATE_HZ) * 32767, "<i2").tobytes()


async def _paced(session: LiveConversation, sounds: AsyncIterator[bytes]) -> None:
    """Send audio in real time."""
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    async for chunk in sounds:
        await session.speak(chunk)
        sent += 1
        await asyncio.sleep(max(0.0, began + sent * _CHUNK_SECS - loop.time()))


class _Microphone:
    """An endless stream of queued speech, and of silence otherwise."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._is_said = asyncio.Event()
        self.began: Seconds = 0.0
        """When the first sample of the latest turn was sent."""
        self._begins = False

    async def sounds(self) -> AsyncIterator[bytes]:
        while True:
            chunk = bytes(self._waiting[:_CHUNK_BYTES])
            del self._waiting[: len(chunk)]
            if not self._waiting:
                self._is_said.set()
            if self._begins:
                self._begins, self.began = False, asyncio.get_running_loop().time()
            yield chunk + bytes(_CHUNK_BYTES - len(chunk))

    async def say(self, pcm: bytes) -> Seconds:
        """Returns when the last of it was sent, and the time of that."""
        self._is_said.clear()
        self._begins = True
        self._waiting += pcm
        await self._is_said.wait()
        return asyncio.get_running_loop().time()


async def converse(
    target: Target,
    times: ConversationTimes,
    turns: int,
    seed: int,
    *,
    interrupt: bool,
    detection: dict[str, Any] | None = None,
    eager: bool | None = None,
) -> str:
    """One conversation; every second answer is interrupted if ``interrupt``. Adds to ``times``; returns the session's id.

    ``detection`` is the session's ``turn_detection``, ``eager`` that of `clients.conversation.conversation`. Raises
    ServerUnreachable if the session ends early.
    """
    async with conversation(target, eager=eager) as session:
        audio = {"audio": {"input": {"turn_detection": detection}}} if detection else {}
        await session.send("session.update", session={"type": "realtime", "instructions": INSTRUCTIONS, **audio})
        events, microphone = _Events(session), _Microphone()

        async def talk() -> None:
            for number in range(turns):
                await _one_turn(events, microphone, times, turn(seed + number), interrupt and number % 2 == 1)

        await _first_to_end(talk(), events.follow(), _paced(session, microphone.sounds()))
        times.stale += num_stale(events.seen)
        return str(events.seen[0][1]["session"]["id"])


async def _first_to_end(talk: Coroutine[Any, Any, None], *working: Coroutine[Any, Any, None]) -> None:
    """Run ``talk`` beside ``working``, which only end if the session does. Raises what they raise, or ServerUnreachable."""
    tasks = [asyncio.create_task(one) for one in (talk, *working)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if tasks[0] not in done:
            raise ServerUnreachable("the server ended the session before the conversation was over")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one_turn(
    events: _Events, microphone: _Microphone, times: ConversationTimes, pcm: bytes, interrupted: bool
) -> None:
    since = len(events.seen)
    said_at = await microphone.say(pcm)
    sound = await events.wait("response.output_audio.delta", since)
    if sound is None:
        times.unanswered += 1
        return
    stopped = [at for at, event in events.seen[since:] if event["type"] == "input_audio_buffer.speech_stopped"]
    times.speech_to_sound.append(sound[0] - said_at)
    times.turn_to_sound += [sound[0] - stopped[-1]] if stopped else []
    response_id = sound[1]["response_id"]
    if interrupted:
        # Interruptions differ in where between two audio events they begin.
        await asyncio.sleep(_INTERRUPT_SECS + 0.037 * (len(times.interruption) % 10))
        since = len(events.seen)
        await microphone.say(pcm)
        if await events.wait("input_audio_buffer.speech_started", since) is not None:
            times.interruption.append(
                max([0.0, *(at - microphone.began for at in sounds_of(events.seen[since:], response_id))])
            )
        since = len(events.seen)
    await events.wait("response.done", since)
    if not interrupted:
        times.gaps.append(gap_secs(events.seen, response_id))
    # The next turn must not be an interruption.
    await asyncio.sleep(0.5)


def _record_stages(target: Target, session_id: str, turns: int, times: ConversationTimes) -> None:
    """Add the stages that the history has of the session's answers. Raises FluxionsError."""
    with Client(target) as client:
        path, found = f"/history/conversations/{session_id}", []
        for _ in range(round(_RECORDED_SECS)):
            found = client.get(path, include_measures="true").get("turns", [])
            if sum(one["role"] == "assistant" for one in found) >= turns:
                break
            client.wait(1.0)
    for one in found:
        measures = one["measures"]
        if one["role"] == "assistant" and not measures["interrupted"]:
            for name, values in times.stages.items():
                values += [measures[name]] if measures[name] is not None else []


def measure(
    target: Target,
    *,
    sessions: int,
    turns: int,
    recorded: bool = True,
    detection: dict[str, Any] | None = None,
    eager: bool | None = None,
) -> Sequence[Measure]:
    """``sessions`` conversations at once, each of ``turns`` turns. ``recorded``: the server keeps a history, in which the
    stages of each answer are. ``detection`` and ``eager``: see `converse`. Raises FluxionsError."""
    times = ConversationTimes()

    async def one(number: int) -> str:
        await asyncio.sleep(_STAGGER_SECS * number / sessions)
        return await converse(target, times, turns, 1000 * number, interrupt=True, detection=detection, eager=eager)

    async def all_of_them() -> Sequence[str]:
        # Not a TaskGroup, whose errors come in groups.
        return await asyncio.gather(*(one(number) for number in range(sessions)))

    for session_id in asyncio.run(all_of_them()):
        if recorded:
            _record_stages(target, session_id, turns, times)
    return times.measures()
