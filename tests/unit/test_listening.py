"""Sounds without speech give no words, words keep their order, a cut or the edge of a block moved about loses and doubles
none, no false marks."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soxr

from audio.level import leveled
from audio.pcm import PcmFile, to_float, to_int16
from audio.speech_windows import Window, speech_windows
from audio.vad import VoiceActivity
from benchmarks.quality.local_pipeline import decode_all
from flows.transcription.assembly import segments_of
from flows.transcription.block_transcript import BlockTranscript
from flows.transcription.blocks import blocks_of
from flows.transcription.overlap_merge import merge_overlaps
from flows.transcription.prosody_marks import marked
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Recognition, RecognizeOptions, Word
from schemas.engines import Recognizer, Samples
from schemas.settings import Settings
from tests.support import kokoro
from tests.support.noises import KINDS, noise_of
from tests.support.recognizers import whisper
from tests.support.speech import SENTENCES, noise, say, sequence, silence

pytestmark = pytest.mark.unit

RECORDINGS = Path(os.environ.get("FLUXIONS_TEST_AUDIO", Path(__file__).parents[3] / "shared" / "audio")) / "speech"
ENGLISH = RecognizeOptions("en")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return whisper()


@pytest.fixture(scope="module")
def voice_activity() -> VoiceActivity:
    return VoiceActivity()


def pcm_of(folder: Path, samples: Samples) -> PcmFile:
    (path := folder / f"{abs(hash(samples.tobytes()))}.s16").write_bytes(to_int16(samples).tobytes())
    return PcmFile(path)


def recognized(engine: Recognizer, pcm: PcmFile, windows: list[Window], offset_secs: float = 0.0) -> list[Recognition]:
    sounds = [to_float(np.frombuffer(window.read(pcm, offset_secs), "<i2")) for window in windows]
    found = engine.recognize(sounds, ENGLISH) if sounds else []
    return [window.restore_silences(recognition) for window, recognition in zip(windows, found, strict=True)]


def heard(voice_activity: VoiceActivity, engine: Recognizer, pcm: PcmFile, max_secs: float) -> list[Word]:
    """Words as a recording's are found; each lies inside its window and none starts before another ends."""
    windows = speech_windows(voice_activity.probabilities(pcm), pcm.duration_secs, max_secs)
    found = merge_overlaps(recognized(engine, pcm, windows), [window.span for window in windows])
    for recognition, window in zip(found, windows, strict=True):
        for word in recognition.words:
            assert window.span.start_secs <= word.start_secs <= word.end_secs <= window.span.end_secs
    words = [word for recognition in found for word in recognition.words]
    assert all(before.end_secs <= after.start_secs for before, after in pairwise(words))
    return words


def heard_in_blocks(
    voice_activity: VoiceActivity, engine: Recognizer, pcm: PcmFile, longest_secs: float, max_secs: float
) -> tuple[list[Word], int]:
    """Words of a recording as they are found where it is long, its blocks heard last to first; windows over an edge."""
    found = voice_activity.probabilities(pcm)
    asked = speech_windows(found, pcm.duration_secs, max_secs)
    blocks = blocks_of(pcm, found, [], asked, longest_secs=longest_secs, options=ENGLISH, engine_revision="e", account="a")
    words = BlockTranscript(blocks)
    for block in reversed(blocks):
        words.add(block.number, recognized(engine, pcm, list(block.windows), block.span.start_secs))
    edges = [block.span.start_secs for block in blocks[1:]]
    over = sum(1 for w in asked if any(w.span.start_secs < edge < w.span.end_secs for edge in edges))
    return [word for recognition in words.whole() for word in recognition.words], over


def texts(words: list[Word]) -> list[str]:
    """Bare words: capitals and marks depend on what a recogniser hears before and after."""
    return re.findall(r"[\w']+", " ".join(word.text for word in words).lower().replace("7", "seven"))


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
    at = np.arange(round(duration_secs * 16_000)) / 16_000
    return np.asarray(0.1 * np.sin(2 * np.pi * 50 * at) + 0.05 * np.sin(2 * np.pi * 150 * at), np.float32)


@pytest.mark.parametrize(
    "sound", [silence(10), noise(10, 0.001), noise(10, 0.3), brown(10), swelling(10), hum(10)],
    ids=["silence", "hiss", "white", "brown", "swelling", "hum"],
)  # fmt: skip
def test_sounds_without_speech_hold_no_words(
    voice_activity: VoiceActivity, recognizer: Recognizer, sound: Samples, tmp_path: Path
) -> None:
    assert heard(voice_activity, recognizer, pcm_of(tmp_path, sound), 13.0) == []


@pytest.mark.parametrize("level", [0.1, 0.002], ids=["loud", "faint"])
@pytest.mark.parametrize("kind", KINDS)
def test_noise_music_breath_and_hum_hold_no_words_however_faint(
    voice_activity: VoiceActivity, recognizer: Recognizer, kind: str, level: float, tmp_path: Path
) -> None:
    """A faint recording is made louder, whatever it is of."""
    pcm = leveled(pcm_of(tmp_path, noise_of(kind, 12.0, level, seed=5)), tmp_path / "leveled.s16")
    assert heard(voice_activity, recognizer, pcm, 13.0) == []


@pytest.mark.parametrize("kind", ["pink noise", "120 Hz hum"])
def test_faint_speech_in_noise_is_detected(
    voice_activity: VoiceActivity, recognizer: Recognizer, kind: str, tmp_path: Path
) -> None:
    """Talk at -54 dBFS, 15 dB above its background."""
    samples, _ = sequence([say(sentence) for sentence in SENTENCES[:3]], gap_secs=0.6)
    samples *= np.float32(0.002 / np.sqrt(np.mean(np.square(samples))))
    samples += noise_of(kind, samples.size / 16_000, 0.002 * 10 ** (-15 / 20), seed=2)[: samples.size]
    pcm = leveled(pcm_of(tmp_path, samples), tmp_path / "leveled.s16")
    found = texts(heard(voice_activity, recognizer, pcm, 13.0))
    expected = [re.sub(r"[^\w' ]", "", sentence.lower()) for sentence in SENTENCES[:3]]
    assert jiwer.wer(" ".join(expected), " ".join(found)) <= 0.12


@pytest.fixture(scope="module")
def running_speech() -> Samples:
    """Sentences of a natural voice without a pause between them. A formant synthesiser's words are heard otherwise with
    every cut, whatever becomes of the cut."""
    spoken = []
    for sentence in SENTENCES:
        sound = np.asarray(soxr.resample(kokoro.say(sentence), SPEECH_RATE_HZ, SAMPLE_RATE_HZ), np.float32)
        loud = np.flatnonzero(np.abs(sound) > 0.01)
        spoken.append(sound[loud[0] : loud[-1]])
    samples = np.concatenate(spoken)
    return samples + noise(samples.size / 16_000, 5e-4)[: samples.size]


def assert_none_lost_or_doubled(found: list[str], whole: list[str]) -> None:
    """The same words, but for one in twenty that may be heard otherwise, or as two, where less is heard around it."""
    aligned = jiwer.process_words(" ".join(whole), " ".join(found))
    assert aligned.deletions == 0, jiwer.visualize_alignment(aligned)
    assert aligned.substitutions + aligned.insertions <= 0.05 * len(whole), jiwer.visualize_alignment(aligned)
    assert [a for a, b in pairwise(found) if a == b] == [a for a, b in pairwise(whole) if a == b]


@pytest.mark.parametrize("max_secs", [5.3, 5.8, 6.3, 7.1, 7.7])
def test_a_cut_that_slides_over_running_speech_loses_and_doubles_no_word(
    voice_activity: VoiceActivity, recognizer: Recognizer, running_speech: Samples, max_secs: float, tmp_path: Path
) -> None:
    pcm = pcm_of(tmp_path, running_speech)
    windows = speech_windows(voice_activity.probabilities(pcm), pcm.duration_secs, max_secs)
    assert sum(a.span.end_secs > b.span.start_secs for a, b in pairwise(windows)) >= 2
    whole = texts(heard(voice_activity, recognizer, pcm, 28.0))
    assert jiwer.wer(" ".join(SENTENCES), " ".join(whole)) < 0.05
    assert_none_lost_or_doubled(texts(heard(voice_activity, recognizer, pcm, max_secs)), whole)


def test_a_recorded_reader_has_the_same_words_where_speech_is_cut(
    voice_activity: VoiceActivity, recognizer: Recognizer, tmp_path: Path
) -> None:
    pcm = pcm_of(tmp_path, recording("libri-2412-0000.flac"))
    whole = texts(heard(voice_activity, recognizer, pcm, 28.0))
    assert len(whole) > 30
    assert_none_lost_or_doubled(texts(heard(voice_activity, recognizer, pcm, 8.0)), whole)


def test_the_edge_of_a_block_that_slides_over_running_speech_changes_nothing(
    voice_activity: VoiceActivity, recognizer: Recognizer, running_speech: Samples, tmp_path: Path
) -> None:
    pcm = pcm_of(tmp_path, running_speech)
    whole = heard(voice_activity, recognizer, pcm, 8.0)
    over = 0
    for longest_secs in (5.1, 7.0, 9.7, 12.1):
        words, reaching = heard_in_blocks(voice_activity, recognizer, pcm, longest_secs, 8.0)
        assert [word.text for word in words] == [word.text for word in whole], longest_secs
        over += reaching
    assert over >= 4


def test_a_recorded_reader_who_stresses_and_draws_out_nothing_gets_no_marks(
    voice_activity: VoiceActivity, recognizer: Recognizer, tmp_path: Path
) -> None:
    samples = np.concatenate([recording(f"austen-{n}.wav") for n in ("0870", "0880", "0890")])
    pcm = pcm_of(tmp_path, samples)
    words = heard(voice_activity, recognizer, pcm, 13.0)
    assert len(words) > 30
    segments = segments_of(words, [0] * len(words))
    assert marked(segments, pcm) == segments


def test_faint_speech_between_loud_speech_is_recognised(
    voice_activity: VoiceActivity, recognizer: Recognizer, tmp_path: Path
) -> None:
    """Someone across the room, 24 dB below who sits at the microphone."""
    faint = np.float32(10 ** (-24 / 20)) * say(SENTENCES[1])
    samples, spans = sequence([say(SENTENCES[0]), faint, say(SENTENCES[2])], gap_secs=1.0)
    samples = samples + noise(samples.size / 16_000, 3e-4)[: samples.size]
    words = heard(voice_activity, recognizer, pcm_of(tmp_path, samples), 13.0)
    said = [w for w in words if spans[1].start_secs <= (w.start_secs + w.end_secs) / 2 <= spans[1].end_secs]
    expected = texts([Word(SENTENCES[1], 0.0, 1.0)])
    assert len(set(texts(said)) & set(expected)) >= 0.8 * len(set(expected))
    # Nothing is said in the pauses.
    assert all(any(s.start_secs - 0.4 <= w.start_secs and w.end_secs <= s.end_secs + 0.4 for s in spans) for w in words)
