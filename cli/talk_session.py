"""Audio input and output of `fluxions talk`: speech is sent in real time, responses are played or written."""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
import threading
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from clients.conversation import LiveConversation, conversation
from clients.public import Target
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.errors import FluxionsError
from schemas.settings import LimitSettings

_CHUNK_SECS: Final[Seconds] = 0.1
_CHUNK_BYTES: Final = 2 * round(_CHUNK_SECS * SPEECH_RATE_HZ)
_QUIET_SECS: Final[Seconds] = 2.5
"""A conversation from a file ends after this time without events, counted from its last audio."""
_LONGEST_WAIT_SECS: Final[Seconds] = 60.0


def settings_of(instructions: str | None, voice: str | None) -> dict[str, Any]:
    """The session's settings: transcripts of both sides, and the user's choices."""
    audio: dict[str, Any] = {"input": {"transcription": {}}}
    if voice is not None:
        audio["output"] = {"voice": voice}
    chosen = {} if instructions is None else {"instructions": instructions}
    return {"type": "realtime", "audio": audio, **chosen}


class Captions:
    """Prints transcripts of both sides as they arrive."""

    def __init__(self) -> None:
        self._is_open = False

    def heard(self, text: str) -> None:
        """Print the transcript of a user turn."""
        self._end()
        print(f"you: {text}", flush=True)

    def answers(self, text: str) -> None:
        """Print a part of a response's transcript."""
        if not self._is_open:
            sys.stdout.write("model: ")
        self._is_open = True
        sys.stdout.write(text)
        sys.stdout.flush()

    def answered(self) -> None:
        """End the line of a response."""
        self._end()

    def _end(self) -> None:
        if self._is_open:
            print(flush=True)
        self._is_open = False


class Player(Protocol):
    """Plays responses."""

    def play(self, item_id: str, pcm: bytes) -> None:
        """Play a part of a response, s16le at 24 kHz mono."""
        ...

    def stop(self) -> tuple[str, int] | None:
        """Stop at once; returns the response that was playing and its played duration, ms."""
        ...


class PlayedAnswers:
    """A queue of responses that a sample clock plays; used from two threads."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._items: list[tuple[str, int]] = []
        """Queued and playing responses, and their bytes so far."""
        self._played = 0
        """Played bytes of the first of them."""
        self._lock = threading.Lock()

    def play(self, item_id: str, pcm: bytes) -> None:
        """See `Player.play`."""
        with self._lock:
            self._waiting += pcm
            if self._items and self._items[-1][0] == item_id:
                self._items[-1] = item_id, self._items[-1][1] + len(pcm)
            else:
                self._items.append((item_id, len(pcm)))

    def take(self, num_bytes: int) -> bytes:
        """The next audio to play; silence if there is none."""
        with self._lock:
            taken = bytes(self._waiting[:num_bytes])
            del self._waiting[: len(taken)]
            self._played += len(taken)
            while self._items and self._played >= self._items[0][1] and (len(self._items) > 1 or not self._waiting):
                self._played -= self._items.pop(0)[1]
            self._played = self._played if self._items else 0
        return taken + bytes(num_bytes - len(taken))

    @property
    def is_playing(self) -> bool:
        """Whether there is audio left to play."""
        return bool(self._waiting)

    def stop(self) -> tuple[str, int] | None:
        """See `Player.stop`."""
        with self._lock:
            heard = (self._items[0][0], round(self._played * 1000 / (2 * SPEECH_RATE_HZ))) if self._items else None
            self._waiting.clear()
            self._items.clear()
            self._played = 0
        return heard


class Follower:
    """Handles a session's events: transcripts, audio, interruptions."""

    def __init__(self, session: LiveConversation, player: Player, captions: Captions) -> None:
        self._session = session
        self._player = player
        self._captions = captions
        self.pending = 0
        """Number of turns and responses in progress."""
        self.changed_at = asyncio.get_running_loop().time()

    async def follow(self) -> None:
        """Handle events until the session ends. Raises FluxionsError for errors of the server."""
        async for event in self._session.events():
            self.changed_at = asyncio.get_running_loop().time()
            await self._take(event)

    async def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "input_audio_buffer.speech_started":
                self.pending += 1
                if heard := self._player.stop():
                    cut = {"item_id": heard[0], "content_index": 0, "audio_end_ms": heard[1]}
                    await self._session.send("conversation.item.truncate", **cut)
            case "input_audio_buffer.speech_stopped" | "response.done":
                self.pending -= 1
                self._captions.answered()
            case "response.created":
                self.pending += 1
            case "conversation.item.input_audio_transcription.completed":
                self._captions.heard(event["transcript"])
            case "response.output_audio_transcript.delta":
                self._captions.answers(event["delta"])
            case "response.output_audio.delta":
                self._player.play(event["item_id"], base64.b64decode(event["delta"]))
            case "error":
                error = event["error"]
                raise FluxionsError(error["message"], code=error["code"], param=error["param"])


async def talk_from_file(
    server: Target,
    model: str,
    settings: dict[str, Any],
    source: Path,
    target: Path,
    limits: LimitSettings,
    captions: Captions,
) -> None:
    """Send the speech in ``source``, and write both sides to ``target``. Raises InvalidAudio, FluxionsError."""
    said = await _decoded(source, limits)
    answers, left, right = PlayedAnswers(), bytearray(), bytearray()
    async with conversation(server, model) as session:
        await session.send("session.update", session=settings)
        follower = Follower(session, answers, captions)
        following = asyncio.create_task(follower.follow())
        try:
            async for chunk in _as_time_passes(said, follower, answers):
                if following.done():
                    break
                await session.speak(chunk)
                left += chunk
                right += answers.take(len(chunk))
        finally:
            following.cancel()
            results = await asyncio.gather(following, return_exceptions=True)
        if isinstance(results[0], FluxionsError):
            raise results[0]
    _write(target, left, right)


async def _as_time_passes(said: bytes, follower: Follower, answers: PlayedAnswers) -> AsyncIterator[bytes]:
    """Chunks of ``said`` in real time, then silence until the conversation has ended."""
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    over_at: Seconds | None = None
    while True:
        chunk = said[sent : sent + _CHUNK_BYTES]
        if not chunk:
            over_at = over_at or loop.time()
            quiet = loop.time() - max(over_at, follower.changed_at) > _QUIET_SECS
            waited = loop.time() - over_at > _LONGEST_WAIT_SECS and not answers.is_playing
            if waited or (quiet and follower.pending <= 0 and not answers.is_playing):
                return
        yield chunk + bytes(_CHUNK_BYTES - len(chunk))
        sent += _CHUNK_BYTES
        await asyncio.sleep(max(0.0, began + sent / _CHUNK_BYTES * _CHUNK_SECS - loop.time()))


async def _decoded(source: Path, limits: LimitSettings) -> bytes:
    from audio.decoding.decoder import Decoder

    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "said"
        async with Decoder(limits) as decoder:
            await decoder.decode(source, raw, SPEECH_RATE_HZ)
        return await asyncio.to_thread(raw.read_bytes)


def _write(target: Path, left: bytearray, right: bytearray) -> None:
    sides = np.stack([np.frombuffer(side, "<i2") for side in (left, right)], axis=1)
    with wave.open(str(target), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SPEECH_RATE_HZ)
        file.writeframes(sides.tobytes())


async def talk_with_microphone(server: Target, model: str, settings: dict[str, Any], captions: Captions) -> None:
    """Talk until Ctrl-C. Raises FluxionsError without microphone, loudspeaker or `sounddevice`."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise FluxionsError(
            "talking needs a microphone and PortAudio: pip install 'fluxions[talk]', or use --input and --output",
            code="no_microphone",
        ) from error
    loop, answers = asyncio.get_running_loop(), PlayedAnswers()
    said: asyncio.Queue[bytes] = asyncio.Queue()

    def exchange(heard: Any, spoken: Any, frames: int, *_: Any) -> None:
        loop.call_soon_threadsafe(said.put_nowait, bytes(heard))
        spoken[:] = answers.take(2 * frames)

    options = {"samplerate": SPEECH_RATE_HZ, "channels": 1, "dtype": "int16", "blocksize": _CHUNK_BYTES // 4}
    try:
        stream = sounddevice.RawStream(callback=exchange, **options)
    except sounddevice.PortAudioError as error:
        raise FluxionsError(f"no microphone or loudspeaker could be opened: {error}", code="no_microphone") from error
    async with conversation(server, model) as session:
        await session.send("session.update", session=settings)
        following = asyncio.create_task(Follower(session, answers, captions).follow())
        try:
            with stream:
                while not following.done():
                    await session.speak(await said.get())
            await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
