"""A browser's MediaRecorder streams Opus in WebM to `/v1/listen`, by the code of docs/live.md."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, async_playwright

from schemas.domain import SAMPLE_RATE_HZ
from tests.clients.test_live import address, heard
from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.e2e import recordings
from tests.studio.conftest import CHROMIUM, FLAGS
from tests.support import speech
from tests.support.speech import SENTENCES

pytestmark = [
    pytest.mark.clients,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; .ci/run installs it"),
]

DOCUMENT = Path(__file__).parents[2] / "docs" / "live.md"
HEARD_SECS = 120
"""The microphone says its sentence again and again; a busy machine may lose parts of it."""


def documented(here: Platform) -> str:
    """The example of the document, for this server, as a function that ends the recording."""
    (code,) = re.findall(r"```js\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert "ws://127.0.0.1:8000" in code
    code = code.replace("ws://127.0.0.1:8000", address(here)).replace("JSON.parse(data)", "data")
    return f'async (token) => {{ {code}; window.leave = () => socket.send(\'{{"type": "close"}}\'); }}'


async def test_what_a_browser_records_is_transcribed_while_it_is_said(here: Platform, tmp_path: Path) -> None:
    sound, _ = speech.sequence([speech.say(SENTENCES[0]), speech.silence(2.5)])
    (microphone := tmp_path / "said.wav").write_bytes(recordings.wav(sound.repeat(3), 3 * SAMPLE_RATE_HZ))
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def said(message: ConsoleMessage) -> None:
        if message.type == "log":
            messages.put_nowait(json.loads(message.text))

    async with async_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            page = await (await browser.new_context(permissions=["microphone"])).new_page()
            page.on("console", said)
            await page.goto(f"{str(here.client.base_url).rstrip('/')}/health")
            await page.evaluate(documented(here), USER_KEY)
            got: list[dict[str, Any]] = []
            async with asyncio.timeout(HEARD_SECS):
                while not any(one["type"] == "final" and heard(one["text"], SENTENCES[0]) >= 6 for one in got):
                    got.append(await messages.get())
                await page.evaluate("leave()")
                while got[-1]["type"] != "closed":
                    got.append(await messages.get())
        finally:
            await browser.close()
    kinds = [one["type"] for one in got]
    assert kinds[0] == "started"
    assert "error" not in kinds
    stored = (await here.client.get(f"/transcriptions/{got[-1]['transcription_id']}")).json()
    assert stored["status"] == "completed"
    assert heard(stored["text"].partition(": ")[2], SENTENCES[0]) >= 6
