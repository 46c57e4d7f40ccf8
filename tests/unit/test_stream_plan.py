"""The plan of a stream in virtual time: the listener never waits for a passage while the model keeps the pace stated."""

from __future__ import annotations

import pytest

from serve.engines.tts.passages import passages
from serve.engines.tts.stream_plan import (
    FIRST_PHRASE_CHARS,
    LONGEST_CHARS,
    PASSAGE_SECS,
    SECS_PER_SEC,
    StreamPlan,
)
from serve.engines.tts.text.sentences import spoken_chars

pytestmark = pytest.mark.unit

PLAIN = (
    "The old man walked slowly along the river in the morning. She opened the window and looked out over the garden. "
    "The committee will discuss the budget next week, and the children will play in the garden until the evening. "
)
TEXTS = {
    "plain": PLAIN * 3,
    "short clause first": "Well, the sky is blue because the air scatters the blue light of the sun more than the red. "
    * 4,
    "short sentences": "Yes. Of course. I can do that for you! When shall I come? Tomorrow, at noon? Very well. " * 4,
    "one long sentence": "it goes on and on and never comes to an end as far as anybody can see or hear in the dark " * 8,
    "numbers": "It cost $4,500.75 in 1984 and 1,234,567 of them were sold by 12/31/1999 at 15:30 in 42 towns. " * 3,
    "a tiny first sentence": "Hi! How are you today, and what would you like me to read to you while the rain goes on? "
    * 3,
}


def cut(text: str, speed: float = 1.0, language: str = "en-us") -> list[tuple[str, float]]:
    """Passages as they are written, with the pause after each."""
    found, at = [], 0
    for passage in passages(text, 0, language, plan=StreamPlan(speed)):
        found.append((text[at : passage.end], passage.pause_secs / speed))
        at = passage.end
    return found


def longest_wait(pieces: list[tuple[str, float]], pace: float, per_char: float, clause_secs: float, speed: float) -> float:
    """Seconds a listener who starts with the first passage waits at most for a later one. Time is counted, not spent.

    ``pace``: how many times the plan's cost a passage takes. ``per_char`` and ``clause_secs``: length of a passage's sound.
    """
    now = waited = heard_until = 0.0
    for index, (source, pause_secs) in enumerate(pieces):
        secs = (clause_secs + per_char * spoken_chars(source.strip())) / speed
        now += pace * (PASSAGE_SECS + SECS_PER_SEC * secs)
        if index:
            waited = max(waited, now - heard_until)
        heard_until = max(heard_until, now) + secs + pause_secs
    return waited


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("per_char", "clause_secs"), [(0.0476, 0.3), (0.055, 0.35), (0.075, 0.5)])
def test_the_listener_never_waits_at_the_planned_cost(name: str, speed: float, per_char: float, clause_secs: float) -> None:
    pieces = cut(TEXTS[name], speed)
    # .24 s a passage and .45 s for each second of it: a tenth is kept for what the estimate of a length is off.
    assert longest_wait(pieces, 0.9, per_char, clause_secs, speed) == 0.0
    assert longest_wait(pieces, 1.0, per_char, clause_secs, speed) <= 0.12
    assert longest_wait(pieces, 2.0, per_char, clause_secs, speed) > 0.0, "so the simulation can tell"


def test_the_plan_is_the_texts_alone_and_loses_nothing() -> None:
    for text in TEXTS.values():
        pieces = cut(text)
        assert pieces == cut(text)
        assert "".join(source for source, _ in pieces).strip() == text.strip()
        assert max(spoken_chars(source) for source, _ in pieces) <= LONGEST_CHARS + 12
        assert all(len(source.strip()) >= 2 for source, _ in pieces)


def test_passages_grow_until_they_are_whole_sentences() -> None:
    sizes = [len(source) for source, _ in cut(TEXTS["one long sentence"])]
    assert sizes[0] <= FIRST_PHRASE_CHARS + 1
    assert max(sizes) > 100
    assert sizes.index(max(sizes)) <= 5
    later = [source.strip() for source, _ in cut(PLAIN * 3)][4:]
    assert "She opened the window and looked out over the garden." in later


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Of course, I can help you with that.", "Of course,"),
        ("The sky is blue, and the sea is too.", "The sky is blue,"),
        ("Well, the committee will discuss the budget next week.", "Well, the committee"),
        ("Hi! How are you?", "Hi! How are you?"),
        ("Yes.", "Yes."),
        ("The old man walked slowly along the river in the morning.", "The old man walked slowly"),
        ("The committee will discuss the budget next week.", "The committee will discuss the budget"),
        ("[sigh] fine, I will say it one more time.", "[sigh] fine,"),
    ],
)
def test_a_stream_begins_with_a_short_clause_or_phrase(text: str, first: str) -> None:
    assert cut(text)[0][0].strip() == first


@pytest.mark.parametrize(
    ("language", "text", "first"),
    [
        ("es", "El comité discutirá el presupuesto de la semana que viene.", "El comité discutirá el presupuesto"),
        ("fr", "Bonjour ! Le comité discutera du budget de la semaine.", "Bonjour !"),
        ("it", "Il comitato discuterà il bilancio della prossima settimana.", "Il comitato discuterà il bilancio"),
        ("pt-br", "O comitê vai discutir o orçamento na próxima semana.", "O comitê vai discutir o orçamento"),
        ("hi", "यह किताब बहुत अच्छी है और मुझे इसे पढ़ना पसंद है।", "यह किताब बहुत अच्छी है"),
    ],
)
def test_phrases_end_where_they_do_in_each_language(language: str, text: str, first: str) -> None:
    assert cut(text, language=language)[0][0].strip() == first
