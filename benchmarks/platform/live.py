"""Live transcription on a running server, measured at the client: latency of results, and stable words that changed.

Speech is sent in real time. Times count from when the sample of a beginning or an end of speech was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from benchmarks.fixtures import Pcm, speech
from benchmarks.measure import Measure, percentile
from clients.public import Target
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.errors import FluxionsError, ServerUnreachable

_CHUNK_SECS: Final[Seconds] = 0.04
_CHUNK_SAMPLES: Final = round(_CHUNK_SECS * SAMPLE_RATE_HZ)
_UTTERANCE_SECS: Final[Seconds] = 4.0
_PAUSE_SECS: Final[Seconds] = 2.5
_BEGIN_SECS: Final[Seconds] = 0.7
"""Time between the beginnings of two streams."""
_LOUD: Final = 0.02 * 32_768
_ANSWER_SECS: Final[Seconds] = 60.0


@dataclass(frozen=True, slots=True)
class Script:
    """Speech of one client: ``pcm``, and the beginnings and ends of speech in it, s."""

    pcm: Pcm
    speech: tuple[tuple[Seconds, Seconds], ...]


@dataclass(slots=True)
class LiveTimes:
    """The times of all utterances of all streams."""

    first_partial: list[Seconds] = field(default_factory=list)
    final: list[Seconds] = field(default_factory=list)
    closed: list[Seconds] = field(default_factory=list)
    """From the last sample to the end of the stream."""
    missed: int = 0
    """Utterances without a final result."""
    stable_words: int = 0
    changed_words: int = 0
    """Stable words that the final result changed."""

    def measures(self) -> list[Measure]:
        """Medians and high percentiles."""
        found = [Measure("utterances without a final result", self.missed, "")]
        for name, values in (
            ("begin of speech to first partial", self.first_partial),
            ("end of speech to final", self.final),
            ("last sample to end of stream", self.closed),
        ):
            if values:
                found += [Measure(f"{name}, p{share:.0f}", percentile(values, share / 100), "s") for share in (50, 95)]
        share = self.changed_words / self.stable_words if self.stable_words else 0.0
        return [*found, Measure("stable words", self.stable_words, ""), Measure("of them changed by the final", share, "")]


def measure(target: Target, *, streams: int, utterances: int, smart_turn: bool = False) -> list[Measure]:
    """Raises FluxionsError if the server refuses a stream or ends it early, ServerUnreachable if none answers."""
    scripts = [script(utterances, seed) for seed in range(streams)]
    warm_up = script(1, streams)
    times = LiveTimes()

    async def run() -> None:
        await _stream(target, warm_up, LiveTimes(), smart_turn=smart_turn)
        # Begun one after the other, so that utterances do not end together. Not a TaskGroup, whose errors come in groups.
        await asyncio.gather(
            *(
                _stream(target, one, times, smart_turn=smart_turn, delay_secs=number * _BEGIN_SECS)
                for number, one in enumerate(scripts)
            )
        )

    asyncio.run(run())
    return times.measures()


def script(utterances: int, seed: int) -> Script:
    """Rendered sentences of ``_UTTERANCE_SECS`` at most, with pauses between them."""
    parts: list[Pcm] = []
    spoken: list[tuple[Seconds, Seconds]] = []
    at = 0
    for number in range(utterances):
        whole = speech(_UTTERANCE_SECS, seed * 1000 + number)
        loud = np.flatnonzero(np.abs(whole.astype(np.int32)) > _LOUD)
        quiet = np.flatnonzero(np.diff(loud) > 0.4 * SAMPLE_RATE_HZ)
        last = int(loud[quiet[0]] if quiet.size else loud[-1])  # one sentence, up to its first pause
        said = whole[int(loud[0]) : last + 1]
        pause = np.random.default_rng(seed + number).normal(0, 8, round(_PAUSE_SECS * SAMPLE_RATE_HZ)).astype(np.int16)
        parts += [pause, said]
        at += pause.size
        spoken.append((at / SAMPLE_RATE_HZ, (at + said.size) / SAMPLE_RATE_HZ))
        at += said.size
    parts.append(np.zeros(round(_PAUSE_SECS * SAMPLE_RATE_HZ), np.int16))
    return Script(np.concatenate(parts), tuple(spoken))


async def _stream(target: Target, said: Script, times: LiveTimes, *, smart_turn: bool, delay_secs: Seconds = 0.0) -> None:
    await asyncio.sleep(delay_secs)
    address = target.url.replace("http", "ws", 1) + "/v1/listen"
    start = {"type": "start", "token": target.key, "language": "en", "smart_turn": smart_turn, "filename": "bench"}
    began = ended = 0.0
    try:
        async with connect(address, max_size=None) as socket:
            await socket.send(orjson.dumps(start).decode())
            receiving = asyncio.create_task(_received(socket))
            with suppress(ConnectionClosed):  # the last event then says why
                began = await _send_in_real_time(socket, said.pcm)
                ended = asyncio.get_running_loop().time()
                await socket.send('{"type": "close"}')
            async with asyncio.timeout(_ANSWER_SECS):
                events = await receiving
    except (OSError, WebSocketException) as error:
        raise ServerUnreachable(f"{target.url} does not answer or broke off: {error}") from error
    if not events or events[-1][1]["type"] != "closed":
        raise FluxionsError(f"the stream ended early: {events[-1][1] if events else 'nothing came'}", code="stream_failed")
    times.closed.append(events[-1][0] - ended)
    _judge(events, said, began, times)


async def _send_in_real_time(socket: ClientConnection, pcm: Pcm) -> Seconds:
    """When the first sample was sent, in the clock of the event loop."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, at in enumerate(range(0, pcm.size, _CHUNK_SAMPLES)):
        # A microphone sends a piece when it is complete.
        await asyncio.sleep(max(0.0, began + (number + 1) * _CHUNK_SECS - loop.time()))
        await socket.send(pcm[at : at + _CHUNK_SAMPLES].astype("<i2").tobytes())
    return began


async def _received(socket: ClientConnection) -> list[tuple[Seconds, dict[str, Any]]]:
    loop = asyncio.get_running_loop()
    return [(loop.time(), orjson.loads(message)) async for message in socket]


def _judge(events: Sequence[tuple[Seconds, dict[str, Any]]], said: Script, began: Seconds, times: LiveTimes) -> None:
    """Add the times of one stream's utterances to ``times``. Results belong to the utterance in whose time they begin."""
    for first, last in said.speech:
        own = [
            (at - began, event)
            for at, event in events
            if event["type"] in ("partial", "final") and event["words"] and first - 0.5 <= event["start"] <= last
        ]
        partials = [(at, event) for at, event in own if event["type"] == "partial"]
        finals = [(at, event) for at, event in own if event["type"] == "final" and event["ended"]]
        if partials:
            times.first_partial.append(partials[0][0] - first)
        if not finals:
            times.missed += 1
            continue
        times.final.append(finals[-1][0] - last)
        if partials:
            shown = partials[-1][1]
            stable = [_plain(word["word"]) for word in shown["words"][: shown["stable_words"]]]
            settled = [_plain(word["word"]) for word in finals[-1][1]["words"]]
            times.stable_words += len(stable)
            times.changed_words += sum(1 for n, word in enumerate(stable) if n >= len(settled) or settled[n] != word)


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())
