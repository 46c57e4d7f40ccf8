"""Conversations of the history: their titles, their dialogue, and how long each answer took."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.studio.chats import FULL_MILLIS, SAID, TITLE
from tests.studio.conftest import Visit
from tests.studio.test_talking import SHARE

pytestmark = pytest.mark.contract


def test_a_conversation_bears_the_users_first_words(visit: Visit, chat: str) -> None:
    page = visit.page("history?type=conversation")
    page.locator(f'.feed a[href="#/conversations/{chat}"]').click()
    expect(page.get_by_role("heading", level=1)).to_have_text(TITLE)
    assert page.title() == f"{TITLE} · Fluxions"
    page.go_back()
    entry = page.locator(f'.feed a[href="#/conversations/{chat}"]')
    expect(entry.locator("strong")).to_have_text(TITLE)
    expect(entry).to_contain_text("6\u00a0turns")


def test_each_answer_to_speech_has_its_latency(visit: Visit, chat: str) -> None:
    page = visit.page(f"conversations/{chat}")
    lines = page.get_by_role("list", name="Conversation").get_by_role("listitem")
    expect(lines).to_have_count(7)
    expect(lines.nth(0)).to_contain_text(SAID)
    expect(lines.nth(1)).to_contain_text("calendar")
    cut, ahead, written = (page.locator("li[data-role=assistant]").nth(nth) for nth in range(3))
    expect(cut).to_contain_text("Interrupted: 4 of 9 words were heard")
    expect(cut).to_contain_text(
        "Answered 910 ms after the end of speech: 500 ms to know that the turn was over, 120 ms to begin the answer, "
        "290 ms to begin the sound"
    )
    # The answer was begun before the turn was over.
    expect(ahead).to_contain_text(
        f"Answered {FULL_MILLIS:,} ms after the end of speech: 500 ms to know that the turn was over, "
        "0 ms to begin the answer, 4,500 ms to begin the sound"
    )
    expect(page.get_by_text("Interrupted")).to_have_count(1)
    expect(written).not_to_contain_text("Answered")
    shares = [answer.evaluate(SHARE) for answer in (cut, ahead)]
    assert 0.1 < shares[0] < 0.25
    assert 0.9 < shares[1] <= 1


def test_a_turn_that_was_found_is_brought_into_view(visit: Visit, chat: str) -> None:
    page = visit.page("history?q=%22nothing+at+all%22", phone=True)
    hit = page.locator(f'.feed a[href^="#/conversations/{chat}"]').first
    expect(hit.locator("strong")).to_have_text(TITLE)
    expect(hit).to_contain_text("The model")
    hit.click()
    expect(page.locator("li[data-role=assistant]").nth(1)).to_be_in_viewport(ratio=1)
    expect(page.locator("li[aria-current=true]")).to_have_text(re.compile("Nothing at all"))
    assert page.evaluate("scrollY") > 0
