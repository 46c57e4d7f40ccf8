"""What is said in the spoken conversations of all Realtime clients, and what the language model answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import numpy as np
import soxr

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.language_model import ChatDelta, ChatRequest, ToolCallFragment
from tests.support.speech import SENTENCES, say, silence

TURNS = (SENTENCES[0], SENTENCES[2], SENTENCES[1], SENTENCES[3], SENTENCES[4])
"""The response to the second is a call; the long one to the third is interrupted by the fourth."""
STORY = "The old man walked slowly along the river. He came to a garden. The children played there until the evening. "
DEADLINE_SECS = 90.0


async def answer(request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
    """A language model with scripted responses for this conversation."""
    last = request.messages[-1]
    said = last.content.lower()
    if last.role == "tool":
        yield ChatDelta(f"They will talk about {last.content}. ")
    elif "committee" in said and request.tools:
        yield ChatDelta(call=ToolCallFragment(0, "call_1", "get_agenda"))
        yield ChatDelta(call=ToolCallFragment(0, arguments='{"day": "Monday"}'))
        yield ChatDelta(finish="tool_calls")
        return
    elif "window" in said:
        for _ in range(6):
            yield ChatDelta(STORY)
    else:
        yield ChatDelta("I see what you mean. ")
    yield ChatDelta(finish="stop")


def pcm(text: str) -> bytes:
    """Speech and a second of silence, s16le at 24 kHz mono."""
    samples = np.concatenate((say(text), silence(1.2)))
    resampled = soxr.resample(samples, SAMPLE_RATE_HZ, SPEECH_RATE_HZ)
    return (np.clip(resampled, -1, 1) * 32767).astype("<i2").tobytes()
