"""Personal data in transcribed words is found, whether digits are written or spoken, and replaced; what is none stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.pcm import PcmFile
from flows.transcription import pii_presidio
from flows.transcription.pii_rules import luhn
from flows.transcription.redaction import muted, redacted, redacted_spans
from flows.transcription.spoken_digits import digit_runs
from schemas.domain import SAMPLE_RATE_HZ, Segment, Span, Transcript, Word
from schemas.redaction import PII_KINDS, PiiKind

pytestmark = pytest.mark.unit


def words(text: str) -> list[Word]:
    return [Word(word, float(n), n + 0.5) for n, word in enumerate(text.split())]


def hide(text: str, speakers: list[int] | None = None) -> str:
    said = words(text)
    return " ".join(word.text for word in redacted(said, speakers or [0] * len(said), PII_KINDS)[0])


@pytest.mark.parametrize(
    ("said", "hidden"),
    [
        ("Call me at 415-555-0132.", "Call me at [PHONE]."),
        ("My number is five five five oh one three two, thanks.", "My number is [PHONE], thanks."),
        ("It is plus 44 20 7946 0958 in London.", "It is plus [PHONE] in London."),
        ("Ring double seven three nine four two one six please.", "Ring [PHONE] please."),
        ("The card is 4111 1111 1111 1111, thank you.", "The card is [CARD], thank you."),
        ("four one one one " * 1 + "one one one one one one one one one one one one", "[CARD]"),
        ("Write to ann.lee@example.com today.", "Write to [EMAIL] today."),
        ("Write to j dot smith at example dot com today.", "Write to [EMAIL] today."),
        ("It is sam at gmail.com.", "It is [EMAIL]."),
        ("My social security number is 078-05-1120.", "My social security number is [SSN]."),
        ("The IBAN is DE89 3704 0044 0532 0130 00.", "The IBAN is [IBAN]."),
        ("The server is 10.0.0.12 now.", "The server is [IP] now."),
        ("See www.example.com for it.", "See [URL] for it."),
        ("I was born on the third of May 1984.", "I was born on the [BIRTH_DATE]."),
        ("Date of birth: 12/04/1990.", "Date of birth: [BIRTH_DATE]."),
        ("My name is Ada Lovelace.", "My name is [NAME]."),
        ("Please ask Dr. Miller about it.", "Please ask Dr. [NAME] about it."),
        ("My pin is four three two one.", "My pin is [NUMBER]."),
        ("Account 99 81 77 2 please.", "Account [NUMBER] please."),
    ],
)
def test_personal_data_is_replaced_by_its_kind(said: str, hidden: str) -> None:
    assert hide(said) == hidden


@pytest.mark.parametrize("kind", PII_KINDS)
def test_words_found_under_two_kinds_get_the_more_specific_one(kind: PiiKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Presidio is not installed here; it finds the phone number in these words."""
    monkeypatch.setattr(pii_presidio, "is_installed", lambda: True)
    monkeypatch.setattr(pii_presidio, "find", lambda texts: [(5, 5, "phone"), (5, 5, kind)])
    hidden = {"number": "SSN", "name": "SSN", "phone": "SSN", "birth_date": "SSN"}.get(kind, kind.upper())
    assert hide("My social security number is 078-05-1120.") == f"My social security number is [{hidden}]."


@pytest.mark.parametrize(
    "said",
    [
        "We sold 12,500 cars in 2024.",
        "It costs 250 dollars, or $1,200 for two.",
        "Twenty five people came at three.",
        "In 1984 we met at the river.",
        "One of the two is mine, one two.",
        "Version 3.11 came out at 10.30.",
        "She looked at example number seven.",
        "He is thirty two years old.",
        "The first of May was a holiday.",
    ],
)
def test_numbers_that_are_nobodys_stay(said: str) -> None:
    assert hide(said) == said


def test_only_wanted_kinds_are_hidden() -> None:
    said = words("I am at ann@example.com or 415-555-0132")
    found = redacted(said, [0] * len(said), ("email",))[0]
    assert [word.text for word in found][-3:] == ["[EMAIL]", "or", "415-555-0132"]


def test_a_placeholder_has_the_time_of_what_it_hides_and_marks_stay() -> None:
    found, speakers = redacted(words("call 415 555 0132, now"), [1] * 5, PII_KINDS)
    assert [(word.text, word.start_secs, word.end_secs) for word in found] == [
        ("call", 0.0, 0.5),
        ("[PHONE],", 1.0, 3.5),
        ("now", 4.0, 4.5),
    ]
    assert speakers == [1, 1, 1]


def test_a_number_that_somebody_interrupts_is_hidden_all_the_same() -> None:
    text = "my number is 415 yes 555 0132"
    assert hide(text, [0, 0, 0, 0, 1, 0, 0]) == "my number is [PHONE] yes [PHONE]"
    # A word that got the wrong speaker does not split a number.
    assert "555" not in hide("my number is 415 555 0132", [0, 0, 0, 0, 1, 0])


@given(
    st.lists(
        st.sampled_from(["one", "5", "oh", "dot", "at", "call", "415-555-0132", "twenty", "double", "a@b.co"]), max_size=12
    )
)
def test_redaction_keeps_order_times_and_everything_else(texts: list[str]) -> None:
    said = words(" ".join(texts))
    found, speakers = redacted(said, [0] * len(said), PII_KINDS)
    assert len(found) == len(speakers)
    starts = [word.start_secs for word in found]
    assert starts == sorted(starts)
    left = [word for word in found if not word.text.startswith("[")]
    assert all(word in said for word in left)
    if said:
        assert found[-1].end_secs == said[-1].end_secs


@given(st.text("0123456789", min_size=12, max_size=18))
def test_a_wrong_digit_breaks_the_check_digit(digits: str) -> None:
    valid = [digits + str(check) for check in range(10) if luhn(digits + str(check))]
    assert len(valid) == 1


def test_digits_are_read_as_they_are_spoken() -> None:
    (run,) = digit_runs(["double", "oh", "seven", "twenty", "three", "nine", "eleven"])
    assert run.digits == "00723911"


def test_sound_is_silent_where_words_are_hidden(tmp_path: Path) -> None:
    source = tmp_path / "a.s16"
    source.write_bytes(np.full(5 * SAMPLE_RATE_HZ, 1000, "<i2").tobytes())
    hidden = (Word("call", 0.5, 0.9), Word("[PHONE].", 1.0, 2.0))
    transcript = Transcript(
        text="", segments=(Segment(0, 0, "", 0.5, 2.0, hidden),), events=(), language="en", num_speakers=1, num_chunks=1,
        audio_duration_secs=5.0, processing_secs=1.0, engine_revision="e",
    )  # fmt: skip
    spans = redacted_spans(transcript)
    assert spans == [Span(0.85, 2.15)]
    copy = PcmFile(muted(PcmFile(source), spans, tmp_path / "b.s16")).as_int16()
    assert copy.size == 5 * SAMPLE_RATE_HZ
    silent = np.flatnonzero(copy == 0) / SAMPLE_RATE_HZ
    assert (silent[0], silent[-1]) == pytest.approx((0.85, 2.15), abs=0.001)
    assert int(PcmFile(source).as_int16().min()) == 1000
