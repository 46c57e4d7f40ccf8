"""Sounds without speech give no words, words keep their order, a cut or the edge of a block moved about loses and doubles
none, no false marks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from audio.joining import joined
from audio.pcm import PcmFile, to_int16
from audio.segment import utterances
from audio.vad import VoiceActivity
from flows.assemble import segments_of
from flows.block_words import BlockWords
from flows.blocks import blocks_of
from flows.marks import marked
from schemas.domain import SAMPLE_RATE_HZ, Span, Word
from schemas.engines import Samples
from schemas.settings import Settings
from serve.asr.pocketsphinx import PocketsphinxRecognizer
from serve.cli.quality.listening import decode_all
from tests.speech import SENTENCES, noise, say, sequence, silence

RECORDINGS = Path(os.environ.get("FLUXIONS_TEST_AUDIO", Path(__file__).parents[3] / "shared" / "audio")) / "speech"


@pytest.fixture(scope="module")
def recognizer() -> Iterator[PocketsphinxRecognizer]:
    engine = PocketsphinxRecognizer()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def voice_activity() -> VoiceActivity:
    return VoiceActivity()


def heard(voice_activity: VoiceActivity, engine: PocketsphinxRecognizer, samples: Samples, max_secs: float) -> list[Word]:
    """Words as a recording's are found; each lies inside its utterance and none starts before another ends."""
    spans = utterances(voice_activity.probabilities(samples), samples.size / SAMPLE_RATE_HZ, max_secs)
    pieces = [samples[round(s.start_secs * SAMPLE_RATE_HZ) : round(s.end_secs * SAMPLE_RATE_HZ)] for s in spans]
    found = joined(engine.recognize(pieces), spans)
    for recognition, span in zip(found, spans, strict=True):
        assert all(span.start_secs <= w.start_secs < w.end_secs <= span.end_secs for w in recognition.words)
    words = [word for recognition in found for word in recognition.words]
    assert all(before.end_secs <= after.start_secs for before, after in pairwise(words))
    return words


def heard_in_blocks(
    voice_activity: VoiceActivity, engine: PocketsphinxRecognizer, pcm: PcmFile, longest_secs: float, max_secs: float
) -> tuple[list[Word], int]:
    """Words of a recording as they are found where it is long, its blocks heard last to first; utterances over an edge."""
    found = voice_activity.probabilities(pcm)
    asked = utterances(found, pcm.duration_secs, max_secs)
    blocks = blocks_of(pcm, found, [], asked, longest_secs=longest_secs, engine_revision="e")
    words = BlockWords(blocks)
    for block in reversed(blocks):
        at = block.span.start_secs
        pieces = [pcm.read(Span(at + u.start_secs, at + u.end_secs)) for u in block.utterances]
        words.take(block.number, engine.recognize(pieces) if pieces else [])
    edges = [block.span.start_secs for block in blocks[1:]]
    over = sum(1 for u in asked if any(u.start_secs < edge < u.end_secs for edge in edges))
    return [word for recognition in words.whole() for word in recognition.words], over


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


def recording(name: str) -> Samples:
    path = RECORDINGS / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set FLUXIONS_TEST_AUDIO")
    (samples,) = decode_all(Settings(), [path])
    return samples


def brown(duration_secs: float) -> Samples:
    walk = np.cumsum(noise(duration_secs, 1.0))
    walk -= np.convolve(walk, np.ones(1601) / 1601, "same")
    return np.asarray(0.1 * walk / np.abs(walk).max(), np.float32)


def swelling(duration_secs: float) -> Samples:
    sound = noise(duration_secs, 0.1)
    return np.asarray(sound * (1.1 + np.sin(np.arange(sound.size) / 4000)), np.float32)


def hum(duration_secs: float) -> Samples:
    at = np.arange(round(duration_secs * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.asarray(0.1 * np.sin(2 * np.pi * 50 * at) + 0.05 * np.sin(2 * np.pi * 150 * at), np.float32)


@pytest.mark.parametrize(
    "sound", [silence(10), noise(10, 0.001), noise(10, 0.3), brown(10), swelling(10), hum(10)],
    ids=["silence", "hiss", "white", "brown", "swelling", "hum"],
)  # fmt: skip
def test_sounds_without_speech_hold_no_words(
    voice_activity: VoiceActivity, recognizer: PocketsphinxRecognizer, sound: Samples
) -> None:
    assert heard(voice_activity, recognizer, sound, 30.0) == []


@pytest.mark.parametrize("max_secs", [3.1, 3.4])
def test_a_cut_that_slides_over_running_speech_loses_and_doubles_no_word(
    voice_activity: VoiceActivity, recognizer: PocketsphinxRecognizer, max_secs: float
) -> None:
    samples, _ = sequence([say(s) for s in SENTENCES[:2]], gap_secs=0.25)
    assert len(utterances(voice_activity.probabilities(samples), samples.size / SAMPLE_RATE_HZ, max_secs)) == 4
    whole = heard(voice_activity, recognizer, samples, 30.0)
    assert texts(heard(voice_activity, recognizer, samples, max_secs)) == texts(whole)


def test_a_recorded_reader_is_heard_the_same_where_he_is_cut(
    voice_activity: VoiceActivity, recognizer: PocketsphinxRecognizer
) -> None:
    samples = recording("libri-2412-0000.flac")
    whole = heard(voice_activity, recognizer, samples, 30.0)
    assert len(whole) > 30
    assert texts(heard(voice_activity, recognizer, samples, 3.7)) == texts(whole)


@pytest.mark.parametrize("max_secs", [30.0, 3.1], ids=["whole", "cut"])
def test_the_edge_of_a_block_that_slides_over_running_speech_loses_and_doubles_no_word(
    voice_activity: VoiceActivity, recognizer: PocketsphinxRecognizer, tmp_path: Path, max_secs: float
) -> None:
    samples, _ = sequence([say(s) for s in SENTENCES[:2]], gap_secs=0.25)
    (path := tmp_path / "running.s16").write_bytes(to_int16(samples).tobytes())
    pcm = PcmFile(path)
    whole = heard(voice_activity, recognizer, pcm.read(Span(0.0, pcm.duration_secs)), 30.0)
    assert len(whole) > 15
    over = 0
    for longest_secs in (2.2, 3.0, 3.7, 5.1):
        words, reaching = heard_in_blocks(voice_activity, recognizer, pcm, longest_secs, max_secs)
        assert texts(words) == texts(whole), longest_secs
        over += reaching
    assert over >= 4


def test_a_recorded_reader_who_stresses_and_draws_out_nothing_gets_no_marks(
    voice_activity: VoiceActivity, recognizer: PocketsphinxRecognizer, tmp_path: Path
) -> None:
    samples = np.concatenate([recording(f"austen-{n}.wav") for n in ("0870", "0880", "0890")])
    words = heard(voice_activity, recognizer, samples, 20.0)
    assert len(words) > 30
    (path := tmp_path / "austen.s16").write_bytes(to_int16(samples).tobytes())
    segments = segments_of(words, [0] * len(words))
    assert marked(segments, PcmFile(path)) == segments
