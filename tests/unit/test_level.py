"""Quiet recordings are brought up to where speech is found; others, and silence, stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audio.level import MAX_GAIN_DB, PEAK, TARGET_DBFS, gain_of, leveled
from audio.pcm import PcmFile, to_int16
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from tests.support.speech import SENTENCES, noise, say, sequence, silence

pytestmark = pytest.mark.unit


def gain(samples: Samples) -> float:
    return gain_of(iter([to_int16(samples).astype(np.float32)]))


def pcm_of(folder: Path, samples: Samples) -> PcmFile:
    (path := folder / "a.s16").write_bytes(to_int16(samples).tobytes())
    return PcmFile(path)


def speech(mean_dbfs: float) -> Samples:
    samples, _ = sequence([say(text) for text in SENTENCES[:2]])
    return np.asarray(samples * 10 ** (mean_dbfs / 20) / np.sqrt(np.mean(samples**2)), np.float32)


def loud_dbfs(samples: Samples) -> float:
    frames = samples[: samples.size // 512 * 512].reshape(-1, 512)
    return float(10 * np.log10(np.percentile(np.mean(frames**2, axis=1), 95)))


@pytest.mark.parametrize("mean_dbfs", [-58.0, -62.0])
def test_quiet_speech_is_brought_to_an_ordinary_level(tmp_path: Path, mean_dbfs: float) -> None:
    pcm = pcm_of(tmp_path, speech(mean_dbfs))
    louder = leveled(pcm, tmp_path / "b.s16")
    assert louder.num_samples == pcm.num_samples
    assert loud_dbfs(louder.as_int16() / 32_768) == pytest.approx(TARGET_DBFS, abs=1.5)
    assert np.abs(louder.as_int16()).max() <= PEAK * 32_768 + 1


def test_speech_of_an_ordinary_level_is_the_same_file(tmp_path: Path) -> None:
    pcm = pcm_of(tmp_path, speech(-30.0))
    assert leveled(pcm, tmp_path / "b.s16") is pcm
    assert not (tmp_path / "b.s16").exists()


@pytest.mark.parametrize("offset", [0.1, -0.3, "drifting"])
def test_an_offset_is_removed_and_nothing_else(tmp_path: Path, offset: float | str) -> None:
    said = speech(-25.0)
    added = np.linspace(0, 0.3, said.size) if offset == "drifting" else np.full(said.size, offset)
    found = leveled(pcm_of(tmp_path, np.asarray(said + added, np.float32)), tmp_path / "b.s16").as_int16() / 32_768
    assert abs(found.mean()) < 0.001
    assert np.corrcoef(found, said)[0, 1] > 0.98
    assert np.std(found) == pytest.approx(np.std(said), rel=0.1)


@pytest.mark.parametrize("samples", [silence(0.0), silence(3.0)], ids=["nothing", "silence"])
def test_silence_stays_silence(tmp_path: Path, samples: Samples) -> None:
    assert gain(samples) == 1.0


def test_a_click_bounds_no_gain_and_the_rounding_of_samples_does(tmp_path: Path) -> None:
    quiet = noise(10.0, 0.001)
    clicked = quiet.copy()
    clicked[SAMPLE_RATE_HZ] = 0.5
    assert gain(clicked) == pytest.approx(gain(quiet), rel=0.05)
    assert np.abs(leveled(pcm_of(tmp_path, clicked), tmp_path / "b.s16").as_int16().astype(int)).max() <= 32_768
    faintest = gain(noise(5.0, 5e-5))
    assert faintest == pytest.approx(10 ** (MAX_GAIN_DB / 20))
