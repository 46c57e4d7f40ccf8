"""pipecat's speech services for OpenAI's API: transcription by request and by socket, and speech."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.domain import SPEECH_RATE_HZ
from tests.clients import pipecat_environment
from tests.clients.test_live import heard, pcm
from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.support import speech
from tests.support.speech import SENTENCES

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session"), pipecat_environment.needed]


async def test_pipecat_transcribes_and_speaks(here: Platform, tmp_path: Path) -> None:
    said = tmp_path / "said.pcm"
    said.write_bytes(pcm(speech.say(SENTENCES[0])))
    address = f"{str(here.client.base_url).rstrip('/')}/v1"
    found = await pipecat_environment.run("pipecat_speech.py", address, USER_KEY, str(said))
    assert heard(found["transcript"], SENTENCES[0]) >= 6
    assert heard(found["live_transcript"], SENTENCES[0]) >= 6
    assert found["sound_secs"] == pytest.approx(2.5, abs=1.2)
    assert found["rates_hz"] == [SPEECH_RATE_HZ]
