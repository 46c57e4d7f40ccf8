"""Levels and channels as recorders get them wrong, swept through decoder, level, speech and recogniser: the words stay."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from audio.decoding.decoder import Decoder
from audio.level import leveled
from audio.pcm import PcmFile, to_float, to_int16
from audio.raw_pcm import RawFormat, wav_header
from audio.speech_windows import speech_windows
from audio.vad import VoiceActivity
from schemas.domain import SAMPLE_RATE_HZ, RecognizeOptions
from schemas.engines import Samples
from schemas.settings import LimitSettings
from scripts.media_cases import WORDS, speech
from tests.support.recognizers import whisper

pytestmark = pytest.mark.integration


def stereo(left: Samples, right: Samples) -> Samples:
    return np.stack([left, right], axis=1)


def cases() -> dict[str, Samples]:
    """``(num_samples,)`` or ``(num_samples, 2)`` float32 by name."""
    voice = speech()
    mean = np.sqrt(np.mean(voice**2))
    quiet = {f"mean of {dbfs} dBFS": voice * np.float32(10 ** (dbfs / 20) / mean) for dbfs in (-45, -57, -65)}
    offset = {f"offset of {share}": np.clip(voice + np.float32(share), -1, 1) for share in (-0.3, 0.1, 0.3)}
    clipped = {f"clipped by {db} dB": np.clip(voice * np.float32(10 ** (db / 20)), -1, 1) for db in (6, 20)}
    channels = {f"right times {gain}": stereo(voice, voice * np.float32(gain)) for gain in (-1.0, -0.7, 0.0)}
    return quiet | offset | clipped | channels


async def test_the_words_stay_whatever_the_level_offset_clipping_or_sign(tmp_path: Path) -> None:
    windows: list[Samples] = []
    counts: dict[str, int] = {}
    voice_activity = VoiceActivity()
    async with Decoder(LimitSettings()) as decoder:
        for name, samples in cases().items():
            header = wav_header(RawFormat("s16le", SAMPLE_RATE_HZ, samples.ndim))
            (source := tmp_path / "sent").write_bytes(header + to_int16(samples.reshape(-1)).tobytes())
            await decoder.decode(source, tmp_path / "decoded.s16")
            pcm = leveled(PcmFile(tmp_path / "decoded.s16"), tmp_path / "leveled.s16")
            found = speech_windows(voice_activity.probabilities(pcm), pcm.duration_secs, 13.0)
            windows += [to_float(np.frombuffer(window.read(pcm), "<i2")) for window in found]
            counts[name] = len(found)
    heard = iter(whisper().recognize(windows, RecognizeOptions("en")))
    wrong = {}
    for name, count in counts.items():
        said = " ".join(word.text for _ in range(count) for word in next(heard).words).lower()
        if re.sub(r"[^a-z ]", "", said).split() != ["good", *WORDS[:-1], "for", "your", WORDS[-1]]:
            wrong[name] = said
    assert wrong == {}
