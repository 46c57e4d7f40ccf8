"""livekit's STT and TTS for OpenAI, unmodified but for base URL and key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schemas.domain import SAMPLE_RATE_HZ
from tests.clients.test_live import heard, pcm
from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.support import speech
from tests.support.speech import SENTENCES

rtc = pytest.importorskip("livekit.rtc", reason="livekit-plugins-openai is not installed")
lk = pytest.importorskip("livekit.plugins.openai", reason="livekit-plugins-openai is not installed")

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]


def reach(here: Platform) -> dict[str, Any]:
    return {"base_url": f"{str(here.client.base_url).rstrip('/')}/v1", "api_key": USER_KEY}


async def test_livekits_stt_transcribes_a_frame(here: Platform) -> None:
    samples = speech.say(SENTENCES[0])
    frame = rtc.AudioFrame(pcm(samples), SAMPLE_RATE_HZ, 1, samples.size)
    stt = lk.STT(model="gpt-4o-mini-transcribe", language="en", **reach(here))
    try:
        event = await stt.recognize(frame)
    finally:
        await stt.aclose()
        await stt._client.close()  # livekit leaves it open
    assert heard(event.alternatives[0].text, SENTENCES[0]) >= 6


@pytest.mark.parametrize("model", ["tts-1", "gpt-4o-mini-tts"], ids=["bytes", "server-sent events"])
async def test_livekits_tts_speaks(here: Platform, model: str) -> None:
    tts = lk.TTS(model=model, voice="ash", response_format="mp3", **reach(here))
    try:
        async with tts.synthesize("Good morning, and welcome to the harbour.") as stream:
            frames = [chunk.frame async for chunk in stream]
    finally:
        await tts.aclose()
        await tts._client.close()
    sound = np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])
    assert sound.size / frames[0].sample_rate == pytest.approx(2.5, abs=1.2)
    assert int(np.abs(sound).max()) > 1000
