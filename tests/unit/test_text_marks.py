"""Where texts are cut, what is marked in them, and what becomes of brackets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.engines import Part
from schemas.errors import InvalidParameter
from serve.tts.chunks import passages, pause_after
from serve.tts.text.marks import check_marks, parts_of
from serve.tts.text.sentences import FIRST_MAX_CHARS, MAX_CHARS


def cut(text: str) -> list[str]:
    ends = [passage.end for passage in passages(text)]
    return [text[a:b].strip() for a, b in itertools.pairwise([0, *ends])]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. J. R. R. Tolkien wrote it. I did not.", ["Mr. J. R. R. Tolkien wrote it.", "I did not."]),
        ("We met at 5 p.m. Then we left.", ["We met at 5 p.m.", "Then we left."]),
        ("It is 5 p.m. now.", ["It is 5 p.m. now."]),
        ("It cost 3.5 dollars. Yes.", ["It cost 3.5 dollars.", "Yes."]),
        ('"Really?" she said. "No."', ['"Really?"', "she said.", '"No."']),
        ("No. No. 5 is alive.", ["No.", "No. 5 is alive."]),
        ("Wait... what? Cats, e.g. Tom, sleep.", ["Wait...", "what?", "Cats, e.g. Tom, sleep."]),
        ("A title\n\nA text that\nis wrapped.", ["A title", "A text that\nis wrapped."]),
        ("Buy:\n- milk\n- eggs", ["Buy:", "- milk", "- eggs"]),
        ("See example.com. Then go.", ["See example.com.", "Then go."]),
    ],
)
def test_sentences_end_where_a_reader_stops(text: str, pieces: list[str]) -> None:
    assert cut(text) == pieces


def test_the_first_passage_is_short_so_that_it_is_heard_soon() -> None:
    text = "When the rain had stopped, the children ran out into the garden, where the grass was wet and the air was cold."
    first, *rest = cut(text)
    assert first == "When the rain had stopped,"
    assert " ".join([first, *rest]) == text
    assert len(first) <= FIRST_MAX_CHARS


def test_long_sentences_are_cut_at_clauses_and_words_only_if_they_must() -> None:
    clauses = "and the old man walked along the river to the mill, " * 20
    assert all(piece.endswith("mill,") for piece in cut(clauses)[1:-1])
    words = "again and " * 200
    assert all(piece.split()[0] in ("again", "and") for piece in cut(words))
    assert [len(piece) for piece in cut("x" * 500)] == [MAX_CHARS, MAX_CHARS, 500 - 2 * MAX_CHARS]


@settings(max_examples=200, deadline=None)
@given(st.text("ab .,!?\n\"'*-…3A", max_size=600), st.integers(0, 300))
def test_passages_move_on_and_stay_short(text: str, start: int) -> None:
    ends = [passage.end for passage in passages(text, start)]
    assert ends == sorted(set(ends))
    assert all(end <= len(text) for end in ends)
    assert all(b - a <= 2 * MAX_CHARS or not text[a:b].strip() for a, b in itertools.pairwise(ends))


def test_a_text_can_be_taken_up_where_it_was_left() -> None:
    text = "One thing. Another, which is *longer*. [sigh] And the last."
    whole = list(passages(text))
    for index, passage in enumerate(whole[:-1]):
        assert list(passages(text, passage.end)) == whole[index + 1 :]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("I *really* do.", [Part("I"), Part("really", emphasis=True), Part("do.")]),
        ("you did NOT go", [Part("you did"), Part("not", emphasis=True), Part("go")]),
        ("**Bold**, yes", [Part("Bold,", emphasis=True), Part("yes")]),
        ("sooo good", [Part("so", elongated=True), Part("good")]),
        ("cooool", [Part("cool", elongated=True)]),
        ("um... well", [Part("um...", elongated=True), Part("well")]),
        ("2 * 3 * 4", [Part("two three four")]),
        ("[sigh] fine", [Part(cue="sigh"), Part("fine")]),
        ("fine,[LAUGH]! ok", [Part("fine,"), Part(cue="laugh"), Part("ok")]),
        ("well[ cough ]then", [Part("well"), Part(cue="cough"), Part("then")]),
        ("[sniff][sniff]", [Part(cue="sniff"), Part(cue="sniff")]),
        ("III and WWW and AAA", [Part("I I I and W W W and A A A")]),
        ("[12] and [see below]", [Part("twelve and see below")]),
        ("!?...", []),
    ],
)
def test_marks_become_parts(text: str, parts: list[Part]) -> None:
    assert list(parts_of(text)) == parts


def test_an_unknown_cue_is_refused_by_name() -> None:
    with pytest.raises(InvalidParameter, match=r"\[scream\] is no cue.*\[sigh\].*\[hesitate\]") as refused:
        check_marks("[sigh] ok [scream]")
    assert (refused.value.status, refused.value.param, refused.value.code) == (422, "input", "unknown_cue")
    check_marks("[Sigh] [ GASP ] [12] [two words] [] array[0]")


def test_the_words_of_a_passage_are_what_is_heard() -> None:
    (passage,) = passages("[gasp] It's $5 — *not* ten-fifty!")
    assert passage.words == ("it's", "five", "dollars", "not", "ten", "fifty")


def test_pauses_follow_the_punctuation() -> None:
    assert pause_after("no end") < pause_after("clause, ") < pause_after('"Sentence." ') < pause_after("trailing...")
    assert pause_after("Sentence.\n\n") > pause_after("Sentence.")
    assert [p.pause_secs for p in passages("The end.  \n")] == [0.0]
