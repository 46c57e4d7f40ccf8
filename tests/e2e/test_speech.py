"""The contract's own lines for speech, on the whole stack: what they answer is listened to, and transcribed back."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
import time
import wave
from pathlib import Path

import av
import httpx
import jiwer
import numpy as np
import pytest
import websockets

from audio.pcm import to_float
from serve.engines.tts.espeak_voices import ESPEAK_VOICES
from tests.contract.speaking import assert_is_speech, pcm_of
from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.support import speech

pytestmark = pytest.mark.e2e

CURLS = (
    """curl "https://api.fluxions.ai/vui/voices\"""",
    """curl -X POST "https://api.fluxions.ai/vui/v1/tts" \\
-H "Content-Type: application/json" \\
-d '{"voice": "maeve.h736bab09a", "input": "[sigh] fine, I will say it one more time."}' \\
--output speech.wav""",
    """curl -X POST "https://api.fluxions.ai/vui/v1/tts?stream=1" \\
-H "Content-Type: application/json" \\
-d '{"voice": "maeve.h736bab09a", "input": "Streaming starts playing almost immediately."}' \\
--output speech.wav""",
    """curl -X POST "https://api.fluxions.ai/vui/v1/voices" \\
-H "Authorization: Bearer YOUR_TOKEN" \\
-F "audio=@reference.wav" \\
-F "text=This is exactly what the reference clip says." \\
-F "name=My Voice\"""",
    """curl "https://api.fluxions.ai/vui/v1/voices/mine" \\
-H "Authorization: Bearer YOUR_TOKEN\"""",
    """curl -X POST "https://api.fluxions.ai/vui/v1/voices/delete" \\
-H "Authorization: Bearer YOUR_TOKEN" \\
-H "Content-Type: application/json" \\
-d '{"voice_id": "u-...-ab12cd34"}'""",
)

PLAIN = f"{speech.SENTENCES[0]}. {speech.SENTENCES[3]}."


def _curl(stack: stacks.Stack, folder: Path, line: str) -> bytes:
    """Runs a line of the contract with another host and the key of this stack; gives what it printed."""
    line = line.replace("https://api.fluxions.ai", stack.url).replace("YOUR_TOKEN", stack.key())
    return subprocess.run(["bash", "-c", line.replace("curl ", "curl -sS --fail-with-body ", 1)], cwd=folder,
                          capture_output=True, check=True, timeout=300).stdout  # fmt: skip


def test_the_contracts_curl_lines_run(stack: stacks.Stack, tmp_path: Path) -> None:
    voices, complete, streamed, clone, mine, delete = CURLS
    assert len(json.loads(_curl(stack, tmp_path, voices))["voices"]) >= 3
    _curl(stack, tmp_path, complete)
    sound = (tmp_path / "speech.wav").read_bytes()
    assert_is_speech(pcm_of(sound), 2, 8)
    (tmp_path / "reference.wav").write_bytes(sound)
    _curl(stack, tmp_path, streamed)
    assert_is_speech(np.frombuffer((tmp_path / "speech.wav").read_bytes()[44:], "<i2"), 1.5, 6)
    made = json.loads(_curl(stack, tmp_path, clone))
    assert made["name"] == "My Voice"
    assert made["frames"] == pytest.approx(made["seconds"] * 12.5, abs=1)
    listed = json.loads(_curl(stack, tmp_path, mine))["voices"]
    assert {"voice_id": made["voice_id"], "name": "My Voice"} in listed
    _curl(stack, tmp_path, delete.replace("u-...-ab12cd34", made["voice_id"]))
    assert made["voice_id"] not in _curl(stack, tmp_path, mine).decode()


def test_the_contracts_websocket_snippet_runs(stack: stacks.Stack) -> None:
    url = stack.url.replace("http", "ws")

    async def render(text, voice="maeve.h736bab09a"):  # type: ignore[no-untyped-def]
        pcm = bytearray()
        async with websockets.connect(f"{url}/vui/v1/tts/ws") as ws:
            await ws.send(json.dumps({"type": "speak", "voice": voice, "input": text}))
            async for msg in ws:
                if isinstance(msg, bytes):
                    pcm += msg  # s16le PCM @ 24 kHz
                elif json.loads(msg)["type"] == "done":
                    break
        return bytes(pcm)

    audio = asyncio.run(render("[sigh] so you want to force me to say things."))
    assert_is_speech(np.frombuffer(audio, "<i2"), 2, 8)


def test_every_voice_is_understood_as_well_as_the_recogniser_can(client: httpx.Client) -> None:
    # 63 words a voice: renders of one text differ by milliseconds, and of twenty words the recogniser hears six more or
    # less wrong from render to render.
    texts = [f"{one}. {other}." for one, other in zip(speech.SENTENCES[:3], speech.SENTENCES[3:], strict=True)]

    def submitted(wav: bytes) -> int:
        return int(client.post("/submit", content=wav).raise_for_status().json()["id"])

    def spoken(voice_id: str, text: str) -> bytes:
        sound = client.post("/vui/v1/tts", json={"voice": voice_id, "input": text}).raise_for_status().content
        assert_is_speech(pcm_of(sound), 3, 12)
        return sound

    def error_rate(jobs: list[int]) -> float:
        heard = [re.sub(r"SPEAKER_\d+: ", "", str(stacks.wait_for(client, job)["text"])) for job in jobs]
        plain = [[re.sub(r"[^a-z' ]", "", text.lower()) or "nothing" for text in side] for side in (texts, heard)]
        return float(jiwer.wer(*plain))

    # Its own error on clean synthetic speech: the engine's plain voice at an easy pace, without any of our doing.
    control = [submitted(recordings.wav(speech.say(text))) for text in texts]
    jobs = {voice.voice_id: [submitted(spoken(voice.voice_id, text)) for text in texts] for voice in ESPEAK_VOICES}
    errors = {voice_id: error_rate(each) for voice_id, each in jobs.items()}
    assert max(errors.values()) < error_rate(control) + 0.2, errors


def test_a_render_is_soon_in_the_history_with_its_copy(client: httpx.Client) -> None:
    marker = f"Number {time.time_ns() % 1_000_000} is called."
    client.post("/vui/v1/tts", json={"voice": "harry", "input": marker}).raise_for_status()
    ended = time.monotonic()
    while True:
        newest = client.get("/history/tts", params={"limit": 1}).json()["data"]
        if newest and newest[0]["chars"] == len(marker):
            break
        assert time.monotonic() - ended < 10.0, "not in the history within ten seconds"
    assert newest[0]["voice"] == "harry.h736bab09a"
    assert newest[0]["cost_usd"] == pytest.approx(len(marker) * 1e-5)
    copy = client.get(newest[0]["download_url"]).content
    with av.open(io.BytesIO(copy)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(newest[0]["audio_secs"], abs=0.15)


def test_the_first_sound_of_a_stream_comes_long_before_its_end(client: httpx.Client) -> None:
    ask = {"voice": "maeve", "input": " ".join([PLAIN] * 20), "stream": True, "verify_chunks": False}
    client.post("/vui/v1/tts", json={**ask, "input": "Ready."})
    began = time.monotonic()
    with client.stream("POST", "/vui/v1/tts", json={**ask, "response_format": "pcm"}) as response:
        pieces = response.iter_bytes()
        first = next(pieces)
        first_secs = time.monotonic() - began
        rest = b"".join(pieces)
    whole_secs = time.monotonic() - began
    assert first_secs < whole_secs / 2
    assert np.abs(to_float(np.frombuffer(first[: len(first) // 2 * 2], "<i2"))).max() > 0.01
    assert len(first + rest) / 48_000 > 60


def test_a_text_is_rendered_into_a_file_from_the_command_line(stack: stacks.Stack, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "fluxions"
    command = [str(program), "say", "Good morning.", "--voice", "abraham", "-o", "hello.wav", "--home", str(stack.home)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    with wave.open(str(tmp_path / "hello.wav")) as file:
        assert 0.5 < file.getnframes() / file.getframerate() < 3
