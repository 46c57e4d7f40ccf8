"""The acoustic event detector: labels by text, sounds where they were planted, none told twice, and clear refusals."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from schemas.domain import SAMPLE_RATE_HZ, SoundEvent, Span, Word
from schemas.engines import EventDetector, Samples
from schemas.errors import Unavailable
from schemas.settings import EngineSettings, ServerSettings, Settings
from serve.engines.events.classifier import AcousticEventDetector
from serve.engines.events.event_merging import merged, together
from serve.engines.events.labels import tag_of, tags_of
from serve.engines.registry import build_event_detector, describe_slot
from tests.support.scenes import Planted, Scene, scene
from tests.support.speech import HIGH_VOICE, LOW_VOICE, SENTENCES, say, silence

pytestmark = pytest.mark.unit

TINY_AST = Path(__file__).resolve().parents[1] / "data" / "models" / "tiny-ast"
HELD_OUT_SEEDS = (10_000, 10_001, 10_002, 10_003)
"""Training scenes have seeds below 1,000, other takes of the cues, other voices and sentences."""


def settings(home: Path, model: Path, **engines: object) -> Settings:
    chosen = EngineSettings(events_engine="transformers", events_model=str(model), **engines)  # type: ignore[arg-type]
    return Settings(server=ServerSettings(home=home), engines=chosen)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def detector(home: Path) -> EventDetector:
    return build_event_detector(settings(home, TINY_AST))


@cache
def speech() -> tuple[Samples, ...]:
    return tuple(say(text, *voice) for text in SENTENCES[:2] for voice in (LOW_VOICE, HIGH_VOICE))


def random_ast(folder: Path, labels: tuple[str, ...], rate_hz: int = SAMPLE_RATE_HZ) -> Path:
    """A checkpoint with weights of chance, saved as real ones are."""
    ASTForAudioClassification(
        ASTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            num_mel_bins=32,
            max_length=64,
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
        )
    ).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=32, max_length=64, sampling_rate=rate_hz).save_pretrained(folder)
    return folder


def overlaps(event: SoundEvent, span: Span) -> bool:
    return event.start_secs < span.end_secs and span.start_secs < event.end_secs


def planted_events(made: Scene) -> list[tuple[str, Planted]]:
    return [(tag, planted) for planted in made.planted if (tag := tag_of(planted.label))]


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("Laughter", "laugh"),
        ("Belly laugh", "laugh"),
        ("Chuckle, chortle", "laugh"),
        ("Throat clearing", "cough"),
        ("Sigh", "sigh"),
        ("Sniff", "sniff"),
        ("Gasp", "breath"),
        ("Breathing", "breath"),
        ("lip_smack", "tut"),
        ("Telephone bell ringing", "env"),
        ("Traffic noise, roadway noise", "env"),
        ("Speech", None),
        ("Bellow", None),
        ("Singing", None),
        ("Inside, small room", None),
        ("Silence", None),
        ("Stomach rumble", None),
    ],
)
def test_labels_stand_for_tags_by_their_text(label: str, tag: str | None) -> None:
    assert tag_of(label) == tag


def test_a_tag_has_all_outputs_that_stand_for_it_whatever_their_order() -> None:
    assert tags_of({3: "Gasp", 0: "Speech", 2: "Sigh", 1: "Breathing"}) == {"sigh": (2,), "breath": (1, 3)}


def test_planted_sounds_are_found_where_they_are_and_nothing_else(detector: AcousticEventDetector) -> None:
    planted, found, right = Counter[str](), Counter[str](), Counter[str]()
    for seed in HELD_OUT_SEEDS:
        made = scene(speech(), seed, takes_from=1_000_000 + 100 * seed)
        events, there = detector.observe(made.samples), planted_events(made)
        found.update(event.tag for event in events)
        right.update(e.tag for e in events if any(e.tag == tag and overlaps(e, p.span) for tag, p in there))
        for tag, sound in there:
            planted[tag] += 1
            heard = [e for e in events if e.tag == tag and overlaps(e, sound.span)]
            assert heard, f"{tag} at {sound.span} of scene {seed} is not heard"
            assert heard[0].start_secs <= sound.span.start_secs + detector.window_secs
            assert heard[-1].end_secs >= sound.span.end_secs - detector.window_secs
        assert all(0 <= e.start_secs < e.end_secs <= made.samples.size / SAMPLE_RATE_HZ for e in events)
        assert all(0.5 <= e.confidence <= 1 for e in events)
    assert set(planted) == {"laugh", "cough", "sigh", "sniff", "breath", "env"}
    assert right == found


def test_an_event_is_within_a_window_of_an_isolated_sound(detector: AcousticEventDetector) -> None:
    for seed in HELD_OUT_SEEDS:
        made = scene(speech(), seed, takes_from=1_000_000 + 100 * seed, count=1)
        for tag, sound in planted_events(made):
            (event,) = (e for e in detector.observe(made.samples) if e.tag == tag)
            assert abs(event.start_secs - sound.span.start_secs) < detector.window_secs
            assert abs(event.end_secs - sound.span.end_secs) < detector.window_secs


def test_speech_silence_and_a_single_sample_hold_no_event(detector: EventDetector) -> None:
    for samples in (np.concatenate(speech()), silence(20), silence(0), np.ones(1, np.float32)):
        assert detector.observe(samples) == []


def test_a_recording_cut_into_blocks_has_the_same_events(detector: AcousticEventDetector) -> None:
    made = scene(speech(), HELD_OUT_SEEDS[0], takes_from=7_000_000)
    cell = round(detector.window_secs / 2 * SAMPLE_RATE_HZ)
    cut = made.samples.size // 2 // cell * cell
    offset = cut / SAMPLE_RATE_HZ
    blocks = [*detector.observe(made.samples[cut:], offset), *detector.observe(made.samples[:cut])]
    whole = detector.detect([], [], 60.0, detector.observe(made.samples))
    parts = detector.detect([], [], 60.0, blocks)
    assert [e.tag for e in parts] == [e.tag for e in whole]
    assert all(abs(a.start_secs - b.start_secs) <= detector.window_secs for a, b in zip(parts, whole, strict=True))


def test_a_random_checkpoint_of_any_labels_runs_through_the_same_code(tmp_path: Path) -> None:
    folder = random_ast(tmp_path / "ast", ("Sigh", "Speech", "Music"))
    found = build_event_detector(settings(tmp_path, folder, events_threshold=0.01))
    assert found.info.capabilities == {"tags": ("pause", "hesitation", "sigh", "env"), "acoustic": True}
    events = found.observe(np.concatenate(speech()), 100.0)
    assert {e.tag for e in events} == {"sigh", "env"}
    assert min(e.start_secs for e in events) >= 100.0
    assert events == found.observe(np.concatenate(speech()), 100.0)


def test_the_revision_names_model_and_threshold(tmp_path: Path) -> None:
    folder = random_ast(tmp_path / "ast", ("Sigh",))
    revisions = [
        describe_slot(settings(tmp_path, folder, events_threshold=t), "event_detector").revision for t in (0.4, 0.5)
    ]
    revisions.append(describe_slot(settings(tmp_path, TINY_AST), "event_detector").revision)
    assert len(set(revisions)) == 3


def test_a_model_without_any_sound_of_the_api_is_refused(tmp_path: Path) -> None:
    folder = random_ast(tmp_path / "ast", ("Speech", "happy", "sad"))
    with pytest.raises(Unavailable, match="none of its labels") as refused:
        build_event_detector(settings(tmp_path, folder))
    assert refused.value.param == "FLUXIONS_EVENTS_MODEL"


def test_a_model_of_another_rate_or_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="8000 Hz"):
        build_event_detector(settings(tmp_path, random_ast(tmp_path / "slow", ("Sigh",), rate_hz=8000)))
    other = random_ast(tmp_path / "other", ("Sigh",))
    config = json.loads((other / "config.json").read_text()) | {"model_type": "bert", "architectures": ["BertModel"]}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(Unavailable, match="event_detector: the engine transformers cannot load"):
        build_event_detector(settings(tmp_path, other))


def test_neighbouring_events_of_one_tag_are_one() -> None:
    events = [SoundEvent("laugh", 2.0, 3.0, 0.7), SoundEvent("env", 0.0, 1.0, 0.6), SoundEvent("laugh", 0.0, 1.5, 0.9)]
    assert merged(events, 0.5) == [SoundEvent("env", 0.0, 1.0, 0.6), SoundEvent("laugh", 0.0, 3.0, 0.9)]
    assert merged(events, 0.4) == [events[1], events[2], events[0]]


def test_an_event_is_moved_between_the_words_around_it() -> None:
    words = [Word("so", 1.0, 1.4), Word("I", 2.2, 2.3), Word("went", 2.35, 2.8)]
    assert together([], [SoundEvent("cough", 1.2, 2.5, 0.8)], words) == [SoundEvent("cough", 1.4, 2.2, 0.8)]
    assert together([], [SoundEvent("laugh", 2.25, 2.75, 0.8)], words) == [SoundEvent("laugh", 2.25, 2.75, 0.8)]
    assert together([], [SoundEvent("env", 0.0, 5.0, 0.8)], words) == [SoundEvent("env", 0.0, 5.0, 0.8)]


def test_no_place_has_one_tag_twice(detector: EventDetector) -> None:
    speech_spans, words = [Span(0, 2), Span(4, 6)], [Word("um", 0.5, 0.9, 0.6), Word("yes", 5, 5.5)]
    heard = [SoundEvent("hesitation", 0.4, 1.0, 0.9), SoundEvent("sigh", 2.5, 3.5, 0.9)]
    assert detector.detect(speech_spans, words, 6.0, heard) == [
        SoundEvent("hesitation", 0.5, 0.9, 0.6),
        SoundEvent("pause", 2, 4),
        SoundEvent("sigh", 2.5, 3.5, 0.9),
    ]
