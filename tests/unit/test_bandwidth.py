"""A telephone line is told from other recordings by what is missing above its band."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audio.pcm import PcmFile, to_int16
from audio.segmentation import speech_for_diarization
from audio.telephone_band import narrow_band
from audio.vad import FRAME_SECS
from tests.support.speech import SENTENCES, noise, say, silence
from tests.support.telephone import CODECS, over_the_line

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("codec", CODECS)
def test_speech_over_a_line_is_narrow_in_memory_and_on_disk(codec: str, tmp_path: Path) -> None:
    heard = over_the_line(say(SENTENCES[0]), codec, -25.0, np.random.default_rng(0))
    assert narrow_band(heard)
    (path := tmp_path / "a.s16").write_bytes(to_int16(heard).tobytes())
    assert narrow_band(PcmFile(path))
    # A far softer hiss than anybody hears, above the band, is a microphone that hears more than a line carries.
    assert not narrow_band(heard + noise(heard.size / 16_000, 0.001)[: heard.size])


@pytest.mark.parametrize("sound", [say(SENTENCES[0]), silence(2), silence(0), noise(2, 0.01), silence(0.01)])
def test_anything_else_is_not(sound: np.ndarray) -> None:
    assert not narrow_band(sound)


def test_a_softer_side_of_a_telephone_is_as_near_as_the_other() -> None:
    both = np.concatenate([np.full(85, 0.99), np.full(15, 0.7), np.full(20, 0.01), np.full(85, 0.99), np.full(15, 0.7)])
    probabilities = both.astype(np.float32)
    assert len(speech_for_diarization(probabilities, both.size * FRAME_SECS)) == 1
    assert len(speech_for_diarization(probabilities, both.size * FRAME_SECS, narrow=True)) == 2
