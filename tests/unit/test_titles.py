"""Titles of conversations: one short line of what was said, that controls nothing where it is shown."""

from __future__ import annotations

import datetime as dt

import pytest

from schemas.records import Conversation, ConversationTurn, EndedConversation
from schemas.titles import TITLE_CHARS, title_of

pytestmark = pytest.mark.unit

NOW = dt.datetime(2026, 6, 29, tzinfo=dt.UTC)


def test_a_short_text_is_its_own_title_on_one_line() -> None:
    assert title_of("  What is on\n my  calendar today? ") == "What is on my calendar today?"
    assert title_of("x" * TITLE_CHARS) == "x" * TITLE_CHARS
    assert title_of("") is title_of(" \n\u200d") is title_of("\x07") is None


def test_a_long_text_is_cut_at_a_blank() -> None:
    said = "Please tell me " + "about the weather in the city " * 9
    assert title_of(said) == "Please tell me about the weather in the city about the weather in the city…"
    assert title_of("a " + "x" * 200) == "a " + "x" * (TITLE_CHARS - 3) + "…"


def test_a_letter_is_not_cut_from_its_marks() -> None:
    title = title_of("e\u0301" * 100)
    assert title is not None
    assert title[-2:] == "\u0301…"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    title = title_of("x" * (TITLE_CHARS - 3) + family * 9)
    assert title == "x" * (TITLE_CHARS - 3) + "…"


def test_nothing_that_controls_a_terminal_or_the_direction_of_text_stays() -> None:
    assert title_of("\x1b[31mred\u202egnp.exe\u2066\ufeff\x00") == "[31mredgnp.exe"
    assert title_of("می\u200cخواهم") == "می\u200cخواهم"


def test_a_conversation_is_named_after_the_users_first_turn_with_words() -> None:
    said = [("assistant", "Good morning."), ("user", " "), ("user", "How are you?"), ("user", "And now?")]
    turns = [ConversationTurn(role, text, NOW) for role, text in said]
    assert EndedConversation(Conversation("ada", "sess_1", NOW), turns).title == "How are you?"
    assert EndedConversation(Conversation("ada", "sess_1", NOW), turns[:1]).title is None
