"""With ``non_speech``, sounds and marks stand in the text and nowhere else; without it there is nothing of them."""

from __future__ import annotations

import time
import wave
from dataclasses import replace
from pathlib import Path

from audio.decode import Decoder
from audio.pcm import PcmFile
from audio.vad import VoiceActivity
from flows.client import ClaimedJob, OperatorClient
from flows.steps import Heard, Tools, compose, decode, listen
from schemas.domain import SAMPLE_RATE_HZ, Recognition, SpeakerHint, Turn
from schemas.settings import EngineSettings, JobSettings, LimitSettings
from tests.contract.gateway import OPERATOR_KEY
from tests.integration.test_long_files import instance
from tests.unit.test_marks import SENTENCES, STRESSED, VOICES, spoken

SAID = [*SENTENCES[:3], "um he put that letter! under my table"]
JOB = ClaimedJob(1, 1, "lease", 15.0, "said.wav", 1, "0" * 64, False, SpeakerHint(), "engines")


def as_wav(folder: Path, pcm: PcmFile) -> Path:
    path = folder / "said.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm.path.read_bytes())
    return path


async def test_marks_and_sounds_come_with_non_speech_only(tmp_path: Path) -> None:
    segments, pcm = spoken(tmp_path, SAID, VOICES[0], STRESSED)
    words = tuple(word for segment in segments for word in segment.words)
    found = Heard([Recognition(words, "en")], [Turn(0, 0.0, pcm.duration_secs)], ())
    limits, engines, jobs = LimitSettings(), EngineSettings(), JobSettings()
    async with instance(tmp_path) as here, Decoder(limits) as decoder:
        client = OperatorClient(f"http://127.0.0.1:{here.port}", OPERATOR_KEY)
        tools = Tools(client, decoder, VoiceActivity(), engines, 1, jobs, tmp_path)
        heard = await listen(tools, await decode(tools, as_wav(tmp_path, pcm), tmp_path))
        bare = await compose(tools, JOB, heard, found, time.monotonic())
        full = await compose(tools, replace(JOB, non_speech=True), heard, found, time.monotonic())
        await client.close()
    assert full.segments == bare.segments
    assert bare.events == ()
    assert not any(mark in bare.text for mark in ("*", "[", "..."))
    assert [event.tag for event in full.events] == ["hesitation"]
    assert "[hesitation] um he put that *letter* under my table" in full.text.lower()
    assert full.text.replace(" [hesitation]", "").replace("*", "") == bare.text
