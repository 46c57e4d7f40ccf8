"""The live streams of one gateway replica.

Their number is bounded, and they share the detectors of speech and turn ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

from audio.decoding.container_stream import ContainerStream
from audio.decoding.decoder import Decoder
from audio.vad import VoiceActivity
from lakehouse.ledger.interface import JobLedger
from lakehouse.storage.objects import Objects
from schemas.domain import Seconds
from schemas.errors import RateLimited, Unavailable
from schemas.settings import Settings
from schemas.speech_engines import Engines
from schemas.turn_taking import EndOfTurnDetector
from serve.account_slots import SESSION_SHARE, AccountSlots
from serve.engines.end_of_turn.smart_turn import build as build_end_of_turn
from serve.live.listener import Listener
from serve.live.live_protocol import LiveProtocol, LiveRequest
from serve.live.live_stream import LiveStream, Receive, Send, StreamLimits
from serve.live.recorder import LiveRecorder
from serve.live.stream_decoder import DetectingDecoder, PcmDecoder, StreamDecoder
from serve.services.recognize_options import check_supported

_LAST_RECORDS_SECS: Final[Seconds] = 5.0


class LiveStreams:
    """The service behind `/v1/listen` and `/v3/ws`."""

    def __init__(
        self, settings: Settings, engines: Engines, jobs: JobLedger, objects: Objects, engine_revision: str
    ) -> None:
        self._engines = engines
        self._jobs = jobs
        self._objects = objects
        self._engine_revision = engine_revision
        self.limits = StreamLimits(
            settings.live.live_idle_secs, settings.limits.max_audio_secs, settings.speech.tts_socket_message_bytes
        )
        self._decoder = Decoder(settings.limits)
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._places = AccountSlots(settings.live.live_streams, "live streams", SESSION_SHARE)
        self._activity: VoiceActivity | None = None
        self._build_end_of_turn = partial(build_end_of_turn, settings)
        self._end_of_turn: EndOfTurnDetector | None = None
        self._loading = asyncio.Lock()

    @contextmanager
    def place(self, account: str) -> Iterator[None]:
        """Reserve a place for one stream of an account. Raises RateLimited if all are taken, or it has its share."""
        with ExitStack() as held:
            try:
                held.enter_context(self._places.slot(account))
            except Unavailable as error:
                raise RateLimited("as many live streams are open as this server takes; try again later") from error
            yield

    async def run(self, account: str, request: LiveRequest, protocol: LiveProtocol, send: Send, receive: Receive) -> None:
        """Transcribe one stream until the client ends it.

        Raises InvalidParameter for options that the recogniser or the decoder does not support, Unavailable if there is no
        end-of-turn detector and the options need one, and as `LiveStream.run`.
        """
        await check_supported(self._engines, request.options.recognize)
        decoder = self._decoder_of(request)
        recorder = LiveRecorder(self._jobs, self._objects, account, self._engine_revision, store=request.store)
        end_of_turn = await self._end_of_turn_detector() if request.options.unfinished_secs is not None else None
        listener = Listener(self._engines, await self._voice_activity(), request.options, end_of_turn)
        stream = LiveStream(protocol, request, decoder, listener, recorder, self.limits, self._unfinished)
        await stream.run(send, receive)

    def _decoder_of(self, request: LiveRequest) -> StreamDecoder:
        container = ContainerStream(self._decoder, self.limits.idle_secs)
        if request.encoding == "opus":
            return container
        if request.encoding == "detect":
            return DetectingDecoder(container, PcmDecoder("linear16", request.rate_hz))
        return PcmDecoder(request.encoding, request.rate_hz)

    async def close(self) -> None:
        """Record streams that were just cut off, and end the processes that decode streams."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=_LAST_RECORDS_SECS)
        await self._decoder.__aexit__(None, None, None)

    async def _voice_activity(self) -> VoiceActivity:
        """The voice activity detector. The first stream loads it, in about 60 ms."""
        async with self._loading:
            if self._activity is None:
                self._activity = await asyncio.to_thread(VoiceActivity)
            return self._activity

    async def _end_of_turn_detector(self) -> EndOfTurnDetector:
        """The end-of-turn detector.

        The first stream that uses it loads it. Raises Unavailable if its weights are not installed.
        """
        async with self._loading:
            if self._end_of_turn is None:
                self._end_of_turn = await asyncio.to_thread(self._build_end_of_turn)
            return self._end_of_turn
