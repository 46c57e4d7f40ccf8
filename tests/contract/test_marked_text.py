"""With ``non_speech``, sounds and marks stand in the text and nowhere else; without it there is nothing of them."""

from __future__ import annotations

import time
import wave
from dataclasses import replace
from pathlib import Path

import pytest

from audio.decoding.decoder import Decoder
from audio.pcm import PcmFile
from audio.vad import VoiceActivity
from clients.operator import ClaimedJob, OperatorClient
from flows.transcription import stages
from flows.transcription.context import EngineOutputs, ListeningContext, PipelineContext
from flows.transcription.engine_time import EngineTime
from flows.transcription.pipeline import compose
from flows.transcription.track_choice import decode
from schemas.domain import SAMPLE_RATE_HZ, JobOptions, Recognition, Turn
from schemas.settings import JobSettings, LimitSettings
from tests.contract.gateway import OPERATOR_KEY
from tests.integration.test_long_files import instance
from tests.unit.test_marks import SENTENCES, STRESSED, VOICES, spoken

pytestmark = pytest.mark.contract

SAID = [*SENTENCES[:3], "um he put that letter! under my table"]
JOB = ClaimedJob(1, 1, "lease", 15.0, "said.wav", 1, "0" * 64, JobOptions(), "engines")


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
    found = EngineOutputs([Recognition(words, "en")], [Turn(0, 0.0, pcm.duration_secs)], (), "en", EngineTime())
    limits, jobs = LimitSettings(), JobSettings()
    async with instance(tmp_path) as here, Decoder(limits) as decoder:
        client = OperatorClient(f"http://127.0.0.1:{here.port}", OPERATOR_KEY)
        context = PipelineContext(ListeningContext(client, VoiceActivity(), 13.0, 1), client, decoder, jobs, tmp_path)
        decoded = await decode(decoder, context.listening.voice_activity, as_wav(tmp_path, pcm), tmp_path, strict=True)
        heard = await stages.analyze_speech(context.listening, decoded.pcm, tmp_path)
        bare = await compose(context, JOB, heard, found, decoded, time.monotonic())
        with_sounds = replace(JOB, options=JobOptions(non_speech=True))
        full = await compose(context, with_sounds, heard, found, decoded, time.monotonic())
        await client.close()
    assert full.segments == bare.segments
    assert bare.events == ()
    assert bare.turns == (Turn(0, 0.0, pcm.duration_secs),)
    assert not any(mark in bare.text for mark in ("*", "[", "..."))
    assert [event.tag for event in full.events] == ["hesitation"]
    assert "[hesitation] um he put that *letter* under my table" in full.text.lower()
    assert full.text.replace(" [hesitation]", "").replace("*", "") == bare.text
