"""Uses pipecat's services for OpenAI's API, in a program of its own: pipecat's dependencies do not go together with ours.

`python pipecat_speech.py URL KEY FILE` sends the speech of FILE (s16le, 16 kHz, mono) to `OpenAISTTService` and to
`OpenAIRealtimeSTTService` at URL (`http://host/v1`), has `OpenAITTSService` speak, and prints what came back as JSON.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSTextFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService

HEARD_RATE_HZ = 16_000
SPOKEN_RATE_HZ = 24_000
CHUNK = 2 * HEARD_RATE_HZ // 10
DEADLINE_SECS = 60
TEXT = "Good morning, and welcome to the harbour."


class Collector(FrameProcessor):
    """The end of a pipeline: collects the frames that a service sends; ``complete`` is set by one of type ``last``."""

    def __init__(self, last: type[Frame]) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.complete = asyncio.Event()
        self._last = last

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        if isinstance(frame, self._last):
            self.complete.set()
        await self.push_frame(frame, direction)


async def collected(service: FrameProcessor, frames: Sequence[Frame], last: type[Frame]) -> list[Frame]:
    """The frames that ``service`` sends for ``frames``, up to one of type ``last``.

    Raises TimeoutError after `DEADLINE_SECS`, and RuntimeError for an error that the service reports.
    """
    errors: list[str] = []
    collector = Collector(last)
    rates = PipelineParams(audio_in_sample_rate=HEARD_RATE_HZ, audio_out_sample_rate=SPOKEN_RATE_HZ)
    task = PipelineTask(Pipeline([service, collector]), params=rates)

    @task.event_handler("on_pipeline_error")
    async def on_error(_: PipelineTask, frame: ErrorFrame) -> None:
        errors.append(frame.error)
        collector.complete.set()

    async with asyncio.timeout(DEADLINE_SECS):
        running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
        await task.queue_frames(frames)
        await collector.complete.wait()
        await task.cancel()
        await running
    if errors:
        raise RuntimeError("; ".join(errors))
    return collector.frames


async def use_services(url: str, key: str, sound: bytes) -> dict[str, Any]:
    spoken: list[Frame] = [
        VADUserStartedSpeakingFrame(),
        *(InputAudioRawFrame(sound[at : at + CHUNK], HEARD_RATE_HZ, 1) for at in range(0, len(sound), CHUNK)),
        VADUserStoppedSpeakingFrame(),
    ]
    found: dict[str, Any] = {}
    for name, stt in (
        ("transcript", OpenAISTTService(api_key=key, base_url=url)),
        ("live_transcript", OpenAIRealtimeSTTService(api_key=key, base_url=url.replace("http", "ws", 1) + "/realtime")),
    ):
        heard = await collected(stt, spoken, TranscriptionFrame)
        found[name] = " ".join(frame.text for frame in heard if isinstance(frame, TranscriptionFrame))
    voice = OpenAITTSService.Settings(voice="nova")
    # Its patience for the first sound is three seconds, which a machine with other things to do may need.
    tts = OpenAITTSService(api_key=key, base_url=url, settings=voice, stop_frame_timeout_s=DEADLINE_SECS)
    audio = [f for f in await collected(tts, [TTSSpeakFrame(TEXT)], TTSTextFrame) if isinstance(f, TTSAudioRawFrame)]
    found["sound_secs"] = sum(len(frame.audio) for frame in audio) / 2 / SPOKEN_RATE_HZ
    found["rates_hz"] = sorted({frame.sample_rate for frame in audio})
    return found


if __name__ == "__main__":
    result = asyncio.run(use_services(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes()))
    sys.stdout.write(json.dumps(result) + "\n")
