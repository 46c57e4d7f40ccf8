"""NeMo Sortformer from a .nemo file that is built, saved and loaded as real ones are: weights of chance, real shapes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engines.sortformer import build_sortformer
from schemas import wire
from schemas.domain import SAMPLE_RATE_HZ, Span, SpeakerHint, Turn
from schemas.engines import Samples, VoiceWindows
from schemas.errors import Unavailable
from schemas.settings import EngineSettings, ServerSettings, Settings
from serve.engines.diarization.sortformer import OFFLINE_SECS, SortformerDiarizer
from serve.engines.diarization.speaker_voiceprints import SpeakerPrints
from serve.engines.registry import build_diarizer, describe_slot
from tests.support.speech import HIGH_VOICE, LOW_VOICE, SENTENCES, say, silence
from tests.support.tiny_diarizers import save_titanet

# NeMo and what it brings: deprecations of their own making.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(nemo|lhotse|lightning|pydub|numba|torch|hydra).*"),
]

FRAME_SECS = 0.08


def settings(home: Path, model: Path) -> Settings:
    chosen = EngineSettings(diarizer_engine="sortformer", diarizer_model=str(model), device="cpu")
    return Settings(server=ServerSettings(home=home), engines=chosen)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sortformer")


@pytest.fixture(scope="module")
def diarizer(home: Path) -> SortformerDiarizer:
    found = build_diarizer(settings(home, build_sortformer(home / "offline.nemo", "tiny")))
    assert isinstance(found, SortformerDiarizer)
    return found


@pytest.fixture(scope="module")
def talk() -> Samples:
    return np.concatenate([say(text, *(LOW_VOICE, HIGH_VOICE)[i % 2]) for i, text in enumerate(SENTENCES)])


def test_it_is_described_without_loading(home: Path, diarizer: SortformerDiarizer) -> None:
    described = describe_slot(settings(home, home / "offline.nemo"), "diarizer")
    assert described == diarizer.info
    assert described.capabilities == {"max_speakers": 4, "overlap": True}


def test_every_whole_frame_has_four_probabilities(diarizer: SortformerDiarizer, talk: Samples) -> None:
    found = diarizer.probabilities(talk)
    assert found.shape == (int(talk.size / SAMPLE_RATE_HZ / FRAME_SECS), 4)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert np.array_equal(found, diarizer.probabilities(talk))


def test_a_long_block_is_streamed_to_the_same_shape(diarizer: SortformerDiarizer, talk: Samples) -> None:
    long = np.tile(talk, int(OFFLINE_SECS * SAMPLE_RATE_HZ / talk.size) + 1)
    started = time.perf_counter()
    found = diarizer.probabilities(long)
    assert found.shape == (int(long.size / SAMPLE_RATE_HZ / FRAME_SECS), 4)
    twice = time.perf_counter()
    assert len(diarizer.probabilities(np.tile(long, 2))) == pytest.approx(2 * len(found), abs=1)
    assert time.perf_counter() - twice < 5 * (twice - started) + 1


def test_a_streaming_checkpoint_streams_and_gives_short_audio_the_offline_result(
    home: Path, diarizer: SortformerDiarizer, talk: Samples
) -> None:
    streaming = build_diarizer(settings(home, build_sortformer(home / "streaming.nemo", "tiny", streaming=True)))
    assert isinstance(streaming, SortformerDiarizer)
    assert streaming.info.revision != diarizer.info.revision
    # One chunk holds all of it: what differs is that only the offline model's input is brought to full scale.
    assert np.abs(streaming.probabilities(talk) - diarizer.probabilities(talk)).max() < 0.05


def test_a_block_comes_with_a_voiceprint_of_each_of_its_speakers(diarizer: SortformerDiarizer, talk: Samples) -> None:
    windows = diarizer.observe(talk, [Span(0.0, 3.0)], 100.0)
    count = len(windows.centers_secs)
    assert 1 <= count <= 4
    assert windows.embeddings.shape == (count, 256)
    assert np.allclose(np.linalg.norm(windows.embeddings, axis=1), 1, atol=1e-5)
    assert windows.activity.shape == (int(talk.size / SAMPLE_RATE_HZ / FRAME_SECS), count)
    assert windows.start_secs == 100.0
    assert ((windows.centers_secs > 100) & (windows.centers_secs < 100 + talk.size / SAMPLE_RATE_HZ)).all()
    (back,) = wire.windows_from_bytes(wire.windows_to_bytes([windows]))
    assert diarizer.resolve([back], []) == diarizer.resolve([windows], [])
    turns = diarizer.resolve([windows], [])
    assert turns
    assert len({t.speaker for t in turns}) <= 4
    assert all(100 <= t.start_secs < t.end_secs <= 100 + talk.size / SAMPLE_RATE_HZ for t in turns)


@pytest.mark.parametrize("samples", [silence(0), silence(0.05), silence(0.1), silence(1.0)])
def test_next_to_no_sound_is_no_trouble(diarizer: SortformerDiarizer, samples: Samples) -> None:
    turns = diarizer.resolve([diarizer.observe(samples, [])], [])
    assert all(t.end_secs <= samples.size / SAMPLE_RATE_HZ for t in turns)


def heard(start_secs: float, *speakers: tuple[Samples, int, int]) -> VoiceWindows:
    """A block of 12 s as the network would hear it: each speaker's sound, and the frames in which they talk."""
    frames = np.zeros((150, len(speakers)), np.bool_)
    sound = np.zeros(150 * 1280, np.float32)
    for number, (said, first, last) in enumerate(speakers):
        frames[first:last, number] = True
        sound[first * 1280 : last * 1280] += np.resize(said, (last - first) * 1280)
    prints = SpeakerPrints().of(sound, frames, FRAME_SECS)
    centers = np.array([start_secs + (first + last) / 2 * FRAME_SECS for _, first, last in speakers])
    return VoiceWindows(centers, prints, (frames * 230).astype(np.uint8), start_secs)


def test_two_blocks_are_linked_by_voice_whatever_each_calls_its_speakers(diarizer: SortformerDiarizer) -> None:
    low, other_low = say(SENTENCES[0], *LOW_VOICE), say(SENTENCES[1], *LOW_VOICE)
    high, other_high = say(SENTENCES[2], *HIGH_VOICE), say(SENTENCES[3], *HIGH_VOICE)
    first = heard(0.0, (low, 0, 50), (high, 60, 150))
    second = heard(12.0, (other_high, 0, 70), (other_low, 80, 140))
    turns = diarizer.resolve([second, first], [])
    assert [(t.speaker, round(t.start_secs, 2), round(t.end_secs, 2)) for t in turns] == [
        (0, 0.0, 4.0),
        (1, 4.8, 17.6),
        (0, 18.4, 23.2),
    ]
    assert {t.speaker for t in diarizer.resolve([first, second], [], SpeakerHint(1, 1))} == {0}


def test_overlap_is_kept_and_its_exclusive_view_has_the_more_probable_speaker(diarizer: SortformerDiarizer) -> None:
    low, high = say(SENTENCES[0], *LOW_VOICE), say(SENTENCES[2], *HIGH_VOICE)
    block = heard(0.0, (low, 0, 100), (high, 80, 150))
    block.activity[80:100, 1] = 180
    turns = diarizer.resolve([block], [])
    # Two frames before one ends the other, who goes on, is the more probable one around.
    assert [t for t in turns if not t.overlap] == [
        Turn(0, 0.0, pytest.approx(7.84)),
        Turn(1, pytest.approx(7.84), pytest.approx(12.0)),
    ]
    assert [t for t in turns if t.overlap] == [
        Turn(1, pytest.approx(6.4), pytest.approx(7.84), overlap=True),
        Turn(0, pytest.approx(7.84), pytest.approx(8.0), overlap=True),
    ]


def test_another_kind_of_model_is_refused_before_it_is_loaded(home: Path) -> None:
    model = save_titanet(home / "titanet.nemo")
    with pytest.raises(Unavailable, match=r"EncDecSpeakerLabelModel.*SortformerEncLabelModel") as refused:
        describe_slot(settings(home, model), "diarizer")
    assert refused.value.param == "FLUXIONS_DIARIZER_MODEL"
