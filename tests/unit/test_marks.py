"""Words that were rendered stressed or drawn out carry a mark, plain ones do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soxr

from audio.pcm import PcmFile, to_int16
from flows.transcription.assembly import segments_of, text_of
from flows.transcription.prosody_marks import marked
from flows.transcription.punctuation import readable
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Segment, Word
from schemas.engines import Samples
from serve.engines.tts.espeak import ESPEAK_RATE_HZ
from tests.support.processes import python
from tests.support.speech import noise

pytestmark = pytest.mark.unit

# Rate, height and loudness that espeak-ng is told in the text itself, as the synthesiser of the platform tells it.
_RENDER = """
import json, sys
from serve.engines.tts.espeak import Espeak, Prosody
texts, voice, prosody = json.load(sys.stdin)
engine = Espeak()
for text in texts:
    pcm, words = engine.synthesize(text, voice, Prosody(**prosody))
    print(json.dumps([[w.start_secs for w in words], pcm.tolist()]))
"""
RATE_WPM, PITCH = 160, 50
STRESSED = "\x01124S\x0172P\x01150A"
DRAWN_OUT = "\x0180S"
PLAIN = f"\x01{RATE_WPM}S\x01{PITCH}P\x01100A"
# espeak-ng tells the place of every word of these; of others it says some two words as one.
SENTENCES = (
    "the old man walked slowly along a quiet river this morning",
    "she opened her window and looked across his garden",
    "people came from every part of town to hear him",
    "some children played near our garden until evening came",
    "he put that letter under my table and left",
    "every train from here leaves at seven each morning",
)
VOICES = ("en-us+f2", "en-us+m8", "en-us+Gene")
"""A woman's, a man's, and one that had no part in choosing the rules. docs/quality.md says how often marks are found."""


def say(texts: Sequence[str], voice: str) -> tuple[Samples, list[tuple[Seconds, Seconds]]]:
    """One after the other: ``(num_samples,) float32`` at 16 kHz over faint noise, and where each word lies."""
    asked = json.dumps([texts, voice, {"rate_wpm": RATE_WPM, "pitch": PITCH}])
    done = python(_RENDER, input=asked.encode())
    parts: list[Samples] = []
    spans: list[tuple[Seconds, Seconds]] = []
    at = 0.0
    for line in done.stdout.splitlines():
        starts, pcm = json.loads(line)
        part = soxr.resample(np.array(pcm, np.float32) / 32768, ESPEAK_RATE_HZ, SAMPLE_RATE_HZ)
        # The library lets 0.3 s of silence follow.
        ends = [*starts[1:], part.size / SAMPLE_RATE_HZ - 0.28]
        spans += [(at + start, at + end) for start, end in zip(starts, ends, strict=True)]
        parts.append(part)
        at += part.size / SAMPLE_RATE_HZ
    sound = np.concatenate(parts)
    return np.asarray(0.5 * sound + noise(sound.size / SAMPLE_RATE_HZ, 5e-4), np.float32), spans


def spoken(folder: Path, sentences: Sequence[str], voice: str, mark: str = "") -> tuple[tuple[Segment, ...], PcmFile]:
    """Segments of one speaker; words that end in ``!`` are said as ``mark`` tells espeak-ng."""
    said = [" ".join(f"{mark}{w[:-1]}{PLAIN}" if w.endswith("!") else w for w in s.split()) for s in sentences]
    sound, spans = say(said, voice)
    path = folder / "said.s16"
    path.write_bytes(to_int16(sound).tobytes())
    texts = " ".join(sentences).replace("!", "").split()
    words = [Word(text, start, end, 0.9) for text, (start, end) in zip(texts, spans, strict=True)]
    return segments_of(words, [0] * len(words)), PcmFile(path)


def words_of(segments: Sequence[Segment]) -> list[str]:
    return [word.text for segment in segments for word in segment.words]


@pytest.mark.parametrize("voice", VOICES)
def test_plain_speech_has_no_marks(tmp_path: Path, voice: str) -> None:
    segments, pcm = spoken(tmp_path, SENTENCES, voice)
    assert marked(segments, pcm) == segments


@pytest.mark.parametrize("voice", VOICES)
def test_stressed_words_stand_between_asterisks_and_only_they(tmp_path: Path, voice: str) -> None:
    sentences = [
        *SENTENCES[:3],
        "some children played near our garden! until evening came",
        "he put that letter! under my table",
    ]
    segments, pcm = spoken(tmp_path, sentences, voice, STRESSED)
    found = [word for word in words_of(marked(segments, pcm)) if "*" in word or "..." in word]
    assert found
    assert set(found) <= {"*garden*", "*letter*"}


@pytest.mark.parametrize("voice", VOICES)
def test_words_drawn_out_trail_off_and_only_they(tmp_path: Path, voice: str) -> None:
    sentences = [*SENTENCES[:3], "he said he would never go there so!", "and many children played well!"]
    segments, pcm = spoken(tmp_path, sentences, voice, DRAWN_OUT)
    found = [word for word in words_of(marked(segments, pcm)) if "*" in word or "..." in word]
    assert found
    assert set(found) <= {"so...", "well..."}


def test_marks_stand_in_the_text_and_segments_stay_bare(tmp_path: Path) -> None:
    sentences = [*SENTENCES[:3], "he put that letter! under my table"]
    segments, pcm = spoken(tmp_path, sentences, VOICES[0], STRESSED)
    written = readable(segments)
    found = marked(written, pcm)
    assert "*letter*" in text_of(found)
    assert [s.text for s in found] == [s.text for s in written]
    assert "*" not in "".join(s.text for s in found)
    times = [[(w.start_secs, w.end_secs, w.confidence) for w in s.words] for s in found]
    assert times == [[(w.start_secs, w.end_secs, w.confidence) for w in s.words] for s in written]


def test_a_mark_precedes_the_punctuation_of_the_sentence(tmp_path: Path) -> None:
    segments, pcm = spoken(tmp_path, [*SENTENCES[:3], "he said he would never go there so!"], VOICES[0], DRAWN_OUT)
    for end, written in ((".", "so..."), ("?", "so...?"), (",", "so...")):
        last = segments[-1]
        words = (*last.words[:-1], replace(last.words[-1], text=f"so{end}"))
        assert words_of(marked([*segments[:-1], replace(last, words=words)], pcm))[-1] == written


def test_speakers_with_few_words_and_words_of_low_confidence_get_no_marks(tmp_path: Path) -> None:
    segments, pcm = spoken(tmp_path, [*SENTENCES[:3], "he said he would never go there so!"], VOICES[0], DRAWN_OUT)
    assert words_of(marked(segments, pcm))[-1] == "so..."
    few = segments_of(segments[-1].words[-8:], [0] * 8)
    assert marked(few, pcm) == few
    faint = [replace(s, words=tuple(replace(w, confidence=0.1) for w in s.words)) for s in segments]
    assert list(marked(faint, pcm)) == faint


def test_an_empty_transcript_has_no_marks(tmp_path: Path) -> None:
    path = tmp_path / "empty.s16"
    path.write_bytes(b"")
    assert marked((), PcmFile(path)) == ()
