"""OpenAI's Node client, unmodified but for address and key. Skipped where Node or its registry is not at hand."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.e2e import recordings
from tests.support.processes import started_async
from tests.support.speech import SENTENCES

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

PROGRAM = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the program, with its packages as the lock file has them."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed, so OpenAI's Node client is not tested")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(PROGRAM, folder, dirs_exist_ok=True)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry does not answer, so OpenAI's Node client is not tested")
    if done.returncode:
        pytest.skip(f"npm cannot install OpenAI's Node client: {done.stderr[-300:]}")
    return folder


async def test_openais_node_client_is_served(here: Platform, program: Path) -> None:
    recording = program / "talk.wav"
    recording.write_bytes(recordings.sentence(0))
    command = ["node", "openai_client.mjs", f"{str(here.client.base_url).rstrip('/')}/v1", USER_KEY, str(recording)]
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    async with started_async(*command, cwd=program, **pipes) as process:
        out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, err.decode()[-2000:]
    found: dict[str, Any] = json.loads(out)
    said = set(SENTENCES[0].split())
    plain = found["text"].lower().replace(".", "").replace(",", "")
    assert len(said & set(plain.split())) >= len(said) - 2
    assert [word["start"] for word in found["words"]] == sorted(word["start"] for word in found["words"])
    assert "-->" in found["subtitles"]
    assert found["events"][-1]["type"] == "transcript.text.done"
    assert "".join(event.get("delta", "") for event in found["events"]) == found["events"][-1]["text"]
    assert found["speech_bytes"] > 2000
    assert found["models"]
    assert found["refused"]["name"] == "BadRequestError"
    assert (found["refused"]["param"], found["refused"]["status"]) == ("temperature", 400)
    assert found["refused"]["id"]
    assert found["unknown"] == {"name": "AuthenticationError", "status": 401}
