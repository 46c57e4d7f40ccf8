"""Scores of what engines hear are what jiwer, pyannote.metrics and meeteval say, and references are found as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.corpus import Reference, Spoken, read_corpus
from benchmarks.quality.events import EventCounts, hesitation_counts, pause_counts
from benchmarks.quality.local_pipeline import LocalResult, with_noise
from benchmarks.quality.report import Report
from benchmarks.quality.run import scored
from benchmarks.quality.scores import cp_word_errors, normalized, speaker_errors, word_errors, words_right
from schemas.domain import SoundEvent, Turn, Word
from schemas.errors import InvalidRequest

pytestmark = pytest.mark.unit

TALK = (Spoken("ann", 0.0, 4.0, "good morning sir"), Spoken("bob", 4.0, 8.0, "good evening"))


def heard(*texts: str) -> tuple[Word, ...]:
    return tuple(Word(text, i, i + 0.5, 0.5) for i, text in enumerate(texts))


def test_references_are_found_in_every_form(tmp_path: Path) -> None:
    for name in ("read", "listed", "met", "told", "alone"):
        (tmp_path / f"{name}.wav").touch()
    (tmp_path / "read.txt").write_text("one\n two\n")
    (tmp_path / "many.txt").write_text("listed\tthree four\nabsent\tfive\n")
    (tmp_path / "all.rttm").write_text("SPEAKER met 1 1.5 2.0 <NA> <NA> ann <NA> <NA>\n")
    (tmp_path / "all.stm").write_text("told 1 bob 0.0 1.0 <o,f0,male> well then\n;; comment\n")
    found = {r.name: r for r in read_corpus(tmp_path)}
    assert set(found) == {"read", "listed", "met", "told"}
    assert (found["read"].words, found["listed"].words) == ("one two", "three four")
    assert found["met"].turns == (Spoken("ann", 1.5, 3.5),)
    assert found["told"].turns == (Spoken("bob", 0.0, 1.0, "well then"),)
    assert found["told"].words == "well then"
    assert (found["told"].has_speaker_words, found["met"].has_speaker_words) == (True, False)


@pytest.mark.parametrize(("name", "text"), [("a.rttm", "SPEAKER a 1 x 2\n"), ("a.stm", "a 1 bob\n")])
def test_a_broken_reference_is_refused_with_its_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidRequest, match="line 1"):
        read_corpus(tmp_path)


def test_a_folder_without_references_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no recording with a reference"):
        read_corpus(tmp_path)


def test_words_are_compared_without_marks_and_case() -> None:
    assert normalized("Mr. O’Neill, well-known!") == "mister o'neill well known"
    assert normalized("On the 3rd, 12 of 1,250.") == normalized("on the third twelve of one thousand two hundred and fifty")
    assert normalized("2.5, 2.5th, B12") == "two point five two point five th b12"
    errors = word_errors("mister smith went home today", "Mr Smith want home.")
    assert (errors.wrong, errors.reference, errors.rate) == (2, 5, 0.4)
    assert word_errors("", "noise").wrong == 1
    assert words_right("he went home", heard("He", "want", "home", "now")) == [True, False, True, False]
    assert words_right("he", ()) == []


def test_speakers_are_scored_with_and_without_a_collar() -> None:
    turns = [Turn(0, 0.0, 4.5), Turn(1, 4.5, 9.0)]
    strict, lenient = (speaker_errors(TALK, turns, 10.0, collar) for collar in (0.0, 0.5))
    assert (strict.missed, strict.false_alarm, strict.confused, strict.total) == pytest.approx((0, 1.0, 0.5, 8.0))
    assert strict.rate == pytest.approx(1.5 / 8)
    assert (lenient.confused, lenient.false_alarm) == pytest.approx((0, 0.5))


def test_words_of_swapped_speakers_cost_nothing_and_of_mixed_ones_do() -> None:
    words = heard("good", "morning", "sir", "good", "evening")
    assert cp_word_errors(TALK, words, [1, 1, 1, 0, 0]).rate == 0
    assert cp_word_errors(TALK, words, [0, 0, 1, 1, 1]).wrong == 2
    with pytest.raises(InvalidRequest, match="words of every turn"):
        cp_word_errors([Spoken("ann", 0, 1)], words, [0] * 5)


def test_pauses_count_once_and_where_they_are() -> None:
    turns = [Spoken("ann", 0.0, 2.0), Spoken("bob", 1.0, 3.0), Spoken("ann", 4.5, 6.0), Spoken("ann", 6.5, 7.0)]
    right = pause_counts(turns, [SoundEvent("pause", 3.1, 4.4)], 10.0)
    assert (right, right.precision, right.recall) == (EventCounts(1, 1, 1), 1.0, 1.0)
    twice = [SoundEvent("pause", 3.0, 4.0), SoundEvent("pause", 3.5, 4.5)]
    assert pause_counts(turns, twice, 10.0) == EventCounts(1, 2, 1)
    elsewhere = pause_counts(turns, [SoundEvent("pause", 4.0, 6.0)], 10.0)
    assert (elsewhere, elsewhere.recall) == (EventCounts(0, 1, 1), 0.0)
    assert pause_counts(turns[:2], [], 10.0).precision is None


def test_one_filler_for_another_is_a_hesitation_and_any_other_word_is_not() -> None:
    assert hesitation_counts("so um I went uh home", heard("So", "uh,", "I", "went", "the", "home")) == EventCounts(1, 1, 2)
    assert hesitation_counts("I went home", heard("I", "um", "went", "home")) == EventCounts(0, 1, 0)
    assert hesitation_counts("I um went", ()) == EventCounts(0, 0, 1)


def test_noise_has_the_requested_level() -> None:
    tone = np.sin(np.arange(160_000, dtype=np.float32) / 10)
    noise = with_noise(tone, 20.0) - tone
    assert 10 * np.log10(np.mean(tone**2) / np.mean(noise**2)) == pytest.approx(20, abs=0.1)


def test_the_report_names_numbers_and_draws_its_pictures(tmp_path: Path) -> None:
    words = heard("good", "morning", "sir", "could", "evening")
    reference = Reference(Path("talk.wav"), "good morning sir good evening", TALK)
    turns = (Turn(0, 0.0, 4.0), Turn(1, 4.0, 8.0))
    recording = scored(
        reference,
        np.zeros(160_000, np.float32),
        LocalResult(words, turns, (0, 0, 0, 1, 1), (SoundEvent("pause", 1.0, 3.0),)),
    )
    report = Report("engine-1", (recording,), ("other",), {"clean": 0.2, "10 dB": 0.5})
    assert report.word_error_rate == pytest.approx(0.2)
    assert report.cp_word_error_rate == pytest.approx(0.2)
    assert (report.diarization_error_rate, report.counted_right) == (0.0, 1.0)
    # Five words of half a second in eight of speech, one of them the wrong speaker's.
    assert report.diarization_error_rate_segments == pytest.approx((5.5 + 0.5) / 8)
    assert report.calibration_error is not None
    report.write(tmp_path / "found.md")
    text = (tmp_path / "found.md").read_text()
    assert "| word error rate | 0.200 |" in text
    assert "| [pause] precision, of 1 found | 0.000 |" in text
    assert "| diarization error rate of the transcript's segments, collar 0 | 0.750 |" in text
    assert "[pause] recall" not in text
    assert "Left out by the caller: other." in text
    for name in ("timeline", "reliability", "noise"):
        assert f"(found-{name}.png)" in text
        assert (tmp_path / f"found-{name}.png").read_bytes().startswith(b"\x89PNG")
