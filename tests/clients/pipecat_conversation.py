"""The conversation of pipecat's client, a program of its own: pipecat's dependencies do not go together with ours.

`python pipecat_conversation.py URL KEY FOLDER` speaks the files `0.pcm` to `4.pcm` (s16le, 24 kHz, mono) of FOLDER and
prints what it received as JSON. `python pipecat_conversation.py --events` reads events, one on each line, and prints the
types that pipecat does not know; an event of another type that it refuses is an error.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMRunFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

RATE_HZ = 24_000
CHUNK = 2 * RATE_HZ // 10


class Loudspeaker(FrameProcessor):
    """The end of the pipeline: counts what would be heard."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__()
        self.found = found
        self.stops = asyncio.Semaphore(0)
        self.sounds = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.found["sound"] += len(frame.audio)
            self.sounds.set()
        elif isinstance(frame, TTSTextFrame):
            self.found["said"] += frame.text
        elif isinstance(frame, TTSStoppedFrame):
            self.stops.release()
        elif isinstance(frame, InterruptionFrame):
            self.found["interruptions"] += 1
        await self.push_frame(frame, direction)


class Upstream(FrameProcessor):
    """Before the service: sees errors and transcripts, which go upstream."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__()
        self.found = found

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self.found["errors"].append(frame.error)
        elif isinstance(frame, TranscriptionFrame):
            self.found["transcripts"].append(frame.text)
        await self.push_frame(frame, direction)


async def converse(url: str, key: str, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"sound": 0, "said": "", "interruptions": 0, "errors": [], "transcripts": [], "days": []}

    async def get_agenda(params: FunctionCallParams) -> None:
        found["days"].append(params.arguments["day"])
        await params.result_callback("money")

    tool = FunctionSchema("get_agenda", "What a committee talks about.", {"day": {"type": "string"}}, ["day"])
    turns = events.TurnDetection(type="server_vad", silence_duration_ms=500)
    heard = events.AudioInput(transcription=events.InputAudioTranscription(), turn_detection=turns)
    properties = events.SessionProperties(instructions="You know the agenda.", audio=events.AudioConfiguration(input=heard))
    settings = OpenAIRealtimeLLMService.Settings(model="gpt-realtime", session_properties=properties)
    llm = OpenAIRealtimeLLMService(api_key=key, base_url=url, settings=settings)
    llm.register_function("get_agenda", get_agenda)
    context = LLMContext([{"role": "user", "content": "Hello."}], ToolsSchema(standard_tools=[tool]))
    user, assistant = LLMContextAggregatorPair(context)
    loudspeaker = Loudspeaker(found)
    pipeline = Pipeline([user, Upstream(found), llm, loudspeaker, assistant])
    task = PipelineTask(pipeline)
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))

    async def say(number: int) -> None:
        sound = (folder / f"{number}.pcm").read_bytes()
        await task.queue_frames(
            [InputAudioRawFrame(sound[at : at + CHUNK], RATE_HZ, 1) for at in range(0, len(sound), CHUNK)]
        )

    async with asyncio.timeout(150):
        await task.queue_frame(LLMRunFrame())
        await loudspeaker.stops.acquire()
        for number in range(5):
            loudspeaker.sounds.clear()
            await say(number)
            if number == 2:
                await loudspeaker.sounds.wait()
            else:
                await loudspeaker.stops.acquire()
        await task.cancel()
        await running
    return found


def unknown(lines: list[str]) -> list[str]:
    """The types of events that pipecat skips. Raises for an event of a known type that it refuses."""
    return sorted({json.loads(line)["type"] for line in lines if events.parse_server_event(line) is None})


if __name__ == "__main__":
    if sys.argv[1] == "--events":
        result: Any = unknown([line for line in sys.stdin if line.strip()])
    else:
        result = asyncio.run(converse(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
    sys.stdout.write(json.dumps(result) + "\n")
