"""NeMo speaker embeddings from a .nemo file built, saved and loaded as real ones are, in the embedded clustering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.engines.sortformer import build_sortformer
from schemas.domain import SAMPLE_RATE_HZ, Span, SpeakerHint
from schemas.engines import Samples, VoiceWindows
from schemas.errors import Unavailable
from schemas.settings import EngineSettings, ServerSettings, Settings
from serve.engines.diarization.nemo_embeddings import COSINE_SCALE, NemoEmbeddingDiarizer
from serve.engines.registry import build_diarizer, describe_slot
from tests.support.speech import HIGH_VOICE, LOW_VOICE, SENTENCES, say, sequence, silence
from tests.support.tiny_diarizers import save_titanet

# NeMo and what it brings: deprecations of their own making.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(nemo|lhotse|lightning|pydub|numba|torch|hydra).*"),
]


def settings(home: Path, model: Path) -> Settings:
    chosen = EngineSettings(diarizer_engine="nemo-embeddings", diarizer_model=str(model), device="cpu")
    return Settings(server=ServerSettings(home=home), engines=chosen)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("titanet")


@pytest.fixture(scope="module")
def diarizer(home: Path) -> NemoEmbeddingDiarizer:
    found = build_diarizer(settings(home, save_titanet(home / "titanet.nemo")))
    assert isinstance(found, NemoEmbeddingDiarizer)
    return found


@pytest.fixture(scope="module")
def talk() -> tuple[Samples, list[Span]]:
    return sequence([say(text, *(LOW_VOICE, HIGH_VOICE)[i % 2]) for i, text in enumerate(SENTENCES)])


def test_it_is_described_without_loading(home: Path, diarizer: NemoEmbeddingDiarizer) -> None:
    described = describe_slot(settings(home, home / "titanet.nemo"), "diarizer")
    assert described == diarizer.info
    assert described.capabilities["max_speakers"] > 4


def test_windows_are_unit_vectors_in_time_on_the_embedded_scale(
    diarizer: NemoEmbeddingDiarizer, talk: tuple[Samples, list[Span]]
) -> None:
    samples, spans = talk
    windows = diarizer.observe(samples, spans, 100.0)
    assert windows.embeddings.shape == (len(windows.centers_secs), 25)
    assert np.allclose(np.linalg.norm(windows.embeddings, axis=1), 1, atol=1e-5)
    assert np.allclose(windows.embeddings[:, -1], np.sqrt(1 - COSINE_SCALE))
    assert (np.diff(windows.centers_secs) > 0).all()
    assert windows.centers_secs[0] > 100
    assert windows.centers_secs[-1] < 100 + samples.size / SAMPLE_RATE_HZ
    assert len(windows.centers_secs) == pytest.approx(sum(s.duration_secs for s in spans) / 0.2, abs=len(spans))


def test_turns_are_inside_the_speech_and_cover_it(
    diarizer: NemoEmbeddingDiarizer, talk: tuple[Samples, list[Span]]
) -> None:
    samples, spans = talk
    turns = diarizer.resolve([diarizer.observe(samples, spans)], spans)
    assert turns[0].start_secs == spans[0].start_secs
    assert max(t.end_secs for t in turns) == spans[-1].end_secs
    assert all(any(t.start_secs < s.end_secs and s.start_secs < t.end_secs for t in turns) for s in spans)
    assert {t.speaker for t in diarizer.resolve([diarizer.observe(samples, spans)], spans, SpeakerHint(1, 1))} == {0}


def test_blocks_observed_apart_hold_what_the_whole_does(
    diarizer: NemoEmbeddingDiarizer, talk: tuple[Samples, list[Span]]
) -> None:
    samples, spans = talk
    cut = round((spans[2].end_secs + 0.3) * SAMPLE_RATE_HZ)
    offset = cut / SAMPLE_RATE_HZ
    later = [Span(s.start_secs - offset, s.end_secs - offset) for s in spans[3:]]
    parts = [diarizer.observe(samples[:cut], spans[:3]), diarizer.observe(samples[cut:], later, offset)]
    whole = diarizer.observe(samples, spans)
    assert np.allclose(np.concatenate([p.centers_secs for p in parts]), whole.centers_secs)
    alike = np.sum(np.concatenate([p.embeddings for p in parts]) * whole.embeddings, axis=1)
    assert alike.min() > 0.999


def test_more_than_four_speakers_are_separated(diarizer: NemoEmbeddingDiarizer) -> None:
    """What a trained model gives: people at right angles, windows of one person near each other."""
    chance = np.random.default_rng(0)
    who = np.repeat(np.arange(6), 25)
    unit = np.eye(24)[who] + 0.12 * chance.standard_normal((150, 24))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scaled = np.hstack([np.sqrt(COSINE_SCALE) * unit, np.full((150, 1), np.sqrt(1 - COSINE_SCALE))])
    windows = VoiceWindows(0.1 + 0.2 * np.arange(150), scaled.astype(np.float32))
    turns = diarizer.resolve([windows], [Span(0.0, 30.0)])
    assert [t.speaker for t in turns if not t.overlap and t.end_secs - t.start_secs > 1] == [0, 1, 2, 3, 4, 5]


def test_short_and_absent_speech(diarizer: NemoEmbeddingDiarizer) -> None:
    assert diarizer.observe(silence(1), []).embeddings.shape == (0, 25)
    assert len(diarizer.observe(silence(1), [Span(2.0, 3.0)]).centers_secs) == 0
    assert len(diarizer.observe(say("yes"), [Span(0.1, 0.2)]).centers_secs) == 1
    assert len(diarizer.observe(silence(0.1), [Span(0.0, 0.1)]).centers_secs) == 1
    assert diarizer.resolve([], [Span(0, 1)]) == []


def test_another_kind_of_model_is_refused_before_it_is_loaded(home: Path) -> None:
    model = build_sortformer(home / "sortformer.nemo", "tiny")
    with pytest.raises(Unavailable, match=r"SortformerEncLabelModel.*EncDecSpeakerLabelModel"):
        describe_slot(settings(home, model), "diarizer")
    broken = home / "broken.nemo"
    broken.write_bytes(b"no archive")
    with pytest.raises(Unavailable, match="no tar archive"):
        describe_slot(settings(home, broken), "diarizer")
