"""Where texts are cut, what is marked in them, and what becomes of brackets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.speech import Part
from serve.engines.tts.passages import passages, pause_after
from serve.engines.tts.text.markup import parts_of
from serve.engines.tts.text.sentences import FIRST, LATER

pytestmark = pytest.mark.unit


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


def test_the_first_passage_is_short_for_low_latency() -> None:
    text = "When the rain had stopped, the children ran out into the garden, where the grass was wet and the air was cold."
    first, *rest = cut(text)
    assert first == "When the rain had stopped,"
    assert " ".join([first, *rest]) == text
    assert len(first) <= FIRST.clause_chars


def test_long_sentences_are_cut_at_clauses_and_words_only_if_they_must() -> None:
    clauses = "and the old man walked along the river to the mill, " * 20
    assert all(piece.endswith("mill,") for piece in cut(clauses)[1:-1])
    words = "again and " * 200
    assert all(piece.split()[0] in ("again", "and") for piece in cut(words))
    assert [len(piece) for piece in cut("x" * 500)] == [LATER.chars, LATER.chars, 500 - 2 * LATER.chars]


@settings(max_examples=200, deadline=None)
@given(st.text("ab .,!?\n\"'*-…3A", max_size=600), st.integers(0, 300))
def test_passages_move_on_and_stay_short(text: str, start: int) -> None:
    ends = [passage.end for passage in passages(text, start)]
    assert ends == sorted(set(ends))
    assert all(end <= len(text) for end in ends)
    assert all(b - a <= 2 * LATER.chars or not text[a:b].strip() for a, b in itertools.pairwise(ends))


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
        ("2 * 3 * 4", [Part("two times three times four")]),
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


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "Well [hesitation] um [LAUGHTER] ok",
            [Part("Well"), Part(cue="hesitate"), Part("um"), Part(cue="laugh"), Part("ok")],
        ),
        ("done. [breath] Now", [Part("done."), Part(cue="breath"), Part("Now")]),
        ("He [REDACTED] it [sic] and a[i] [scream]", [Part("He redacted it"), Part("and a i scream")]),
        ("wait [pause] here", [Part("wait here")]),
        ("[music] [env]", []),
    ],
)
def test_tags_of_transcripts_are_spoken_and_unknown_words_in_brackets_refuse_nothing(text: str, parts: list[Part]) -> None:
    assert list(parts_of(text)) == parts


def test_a_pace_lasts_until_the_next_wherever_the_text_is_cut() -> None:
    text = "One. [pace:50%] Two, *three*. Four [pace:100%] , five. [pace:999%] Six."
    whole = list(passages(text))
    paces = [[(part.text, part.pace) for part in passage.parts] for passage in whole]
    assert paces == [
        [("One.", 1.0)],
        [("Two,", 0.5), ("three.", 0.5)],
        [("Four,", 0.5), ("five.", 1.0)],
        [("Six.", 2.0)],
    ]
    assert [list(passages(text, one.end)) for one in whole] == [whole[n + 1 :] for n in range(len(whole))]
    assert pause_after("a sentence. [pace:100%] ") == pause_after("a sentence. ")


def test_a_marked_pause_ends_its_passage_and_has_the_marked_length() -> None:
    found = list(passages("Let me see. [pause] Yes [pause 2.5s] and no [Pause 99s] or so."))
    assert [" ".join(passage.words) for passage in found] == ["let me see", "yes", "and no", "or so"]
    assert [passage.pause_secs for passage in found] == [0.8, 2.5, 10.0, 0.0]


def test_the_words_of_a_passage_are_those_to_be_spoken() -> None:
    (passage,) = passages("[gasp] It's $5 — *not* ten-fifty!")
    assert passage.words == ("it's", "five", "dollars", "not", "ten", "fifty")


def test_pauses_follow_the_punctuation() -> None:
    assert pause_after("no end") < pause_after("clause, ") < pause_after('"Sentence." ') < pause_after("trailing...")
    assert pause_after("Sentence.\n\n") > pause_after("Sentence.")
    assert [p.pause_secs for p in passages("The end.  \n")] == [0.0]
