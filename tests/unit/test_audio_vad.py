"""Voice activity against the program its weights are shipped with."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from audio.pcm import PcmFile, to_float
from audio.vad import FRAME_SAMPLES, VoiceActivity, regions

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def vad() -> VoiceActivity:
    return VoiceActivity()


@pytest.fixture(scope="module")
def sound() -> NDArray[np.int16]:
    """Eleven seconds of voiced bursts (a gliding 120 Hz pulse train through three formants) between stretches of noise."""
    rng = np.random.default_rng(3)
    time = np.arange(180_001) / 16_000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * time)) / 16_000
    voice = sum(np.sin(k * pitch) * np.exp(-(((k * 120 - f) / 200) ** 2)) for k in range(1, 30) for f in (600, 1200, 2500))
    gate = (np.sin(2 * np.pi * 0.4 * time) > 0) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    mixed = 0.1 * voice * gate + 0.002 * rng.standard_normal(len(time))
    return np.rint(np.clip(mixed, -1, 1) * 32767).astype("<i2")


def shipped(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities by the TorchScript program, frame after frame."""
    package = find_spec("silero_vad")
    assert package is not None
    assert package.submodule_search_locations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = torch.jit.load(str(Path(package.submodule_search_locations[0]) / "data" / "silero_vad.jit"))
    padded = np.zeros(-(-len(samples) // FRAME_SAMPLES) * FRAME_SAMPLES, np.float32)
    padded[: len(samples)] = samples
    model.reset_states()
    with torch.inference_mode():
        found = [model(torch.from_numpy(frame)[None], 16_000).item() for frame in padded.reshape(-1, FRAME_SAMPLES)]
    return np.array(found, np.float32)


def test_probabilities_equal_the_shipped_program(vad: VoiceActivity, sound: NDArray[np.int16]) -> None:
    ours, theirs = vad.probabilities(to_float(sound)), shipped(to_float(sound))
    # A signal that leaves the model cold would prove nothing.
    assert theirs.max() - theirs.min() > 0.2
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_mapped_file_and_an_array_give_the_same(vad: VoiceActivity, sound: NDArray[np.int16], tmp_path: Path) -> None:
    path = tmp_path / "sound.pcm"
    path.write_bytes(sound.tobytes())
    pcm = PcmFile(path)
    assert pcm.num_samples == len(sound)
    np.testing.assert_array_equal(vad.probabilities(pcm), vad.probabilities(to_float(sound)))


def test_digital_silence_holds_no_speech(vad: VoiceActivity) -> None:
    found = vad.probabilities(np.zeros(80_000, np.float32))
    assert regions(found, duration_secs=5.0, threshold=0.3) == []
    assert len(vad.probabilities(np.zeros(0, np.float32))) == 0
