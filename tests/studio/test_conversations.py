"""Conversations of the history: their titles, their dialogue, and how long each answer took."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.studio.chats import FULL_MILLIS, HEARD_TURNS, SAID, TITLE, add_heard
from tests.studio.conftest import Visit
from tests.studio.server import Studio
from tests.studio.test_talking import SHARE

pytestmark = pytest.mark.contract


NOW = "document.querySelector('audio').currentTime"


@pytest.fixture(scope="module")
def heard(platform: Studio) -> tuple[str, str]:
    """The key of an account, and the id of its conversation with sound."""
    return platform.key("hearers"), add_heard(platform, "hearers")


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


def test_the_turn_that_plays_is_lit_and_a_turn_plays_when_it_is_chosen(visit: Visit, heard: tuple[str, str]) -> None:
    key, session = heard
    page = visit.page(f"conversations/{session}", key)
    lines = page.get_by_role("list", name="Conversation").get_by_role("listitem")
    expect(lines).to_have_count(len(HEARD_TURNS))
    lit = page.locator("li[data-lit]")
    expect(lit).to_have_count(0)
    for number, (_, text, start, end) in list(enumerate(HEARD_TURNS))[::-1]:
        line = lines.nth(number)
        expect(line.get_by_role("button")).to_have_text(f"0:{int(start):02}")
        if number % 2:
            line.get_by_text(text).click()
        else:
            line.get_by_role("button").press("Enter")
        page.wait_for_function(f"() => !document.querySelector('audio').paused && {NOW} >= {start}")
        page.wait_for_function(f"() => {NOW} < {end}")
        expect(lit).to_have_count(1)
        expect(line).to_have_attribute("data-lit", "")
    # Between turns nobody speaks.
    page.evaluate(f"document.querySelector('audio').pause(), {NOW} = {HEARD_TURNS[0][3] + 1}")
    expect(lit).to_have_count(0)
    page.evaluate(f"{NOW} = {HEARD_TURNS[1][2] + 1}")
    expect(lit).to_have_text(re.compile(HEARD_TURNS[1][1]))


def test_a_search_opens_a_conversation_where_it_was_said(visit: Visit, heard: tuple[str, str]) -> None:
    key, session = heard
    page = visit.page("history?q=umbrella", key)
    hits = page.locator(f'.feed a[href^="#/conversations/{session}"]')
    expect(hits).to_have_count(2)
    expect(hits.first.locator("strong")).to_have_text(HEARD_TURNS[0][1])
    expect(hits.first).to_contain_text("You at 0:13")
    hits.first.click()
    expect(page.locator("li[aria-current=true]")).to_have_text(re.compile("I will fetch"))
    page.wait_for_function(f"() => Math.abs({NOW} - 13) < 0.05")
    expect(page.locator("audio")).to_be_in_viewport(ratio=1)


def test_a_conversation_is_saved_and_deleted(visit: Visit, platform: Studio) -> None:
    key = platform.key("leavers")
    session = add_heard(platform, "leavers")
    page = visit.page(f"conversations/{session}", key)
    page.get_by_role("button", name="Download").click()
    beginnings = {"Sound": (b"OggS", ".opus"), "Text": (b"0:02 You: Where", ".txt"), "JSON": (b"{", ".json")}
    for label, (beginning, suffix) in beginnings.items():
        with page.expect_download() as download:
            page.get_by_role("button", name=label, exact=True).click()
        assert download.value.suggested_filename.endswith(suffix)
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(beginning), label
        assert label == "Sound" or b"umbrella" in content
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/#/history")
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    with platform.client(key) as client:
        assert client.get(f"/history/conversations/{session}").status_code == 404
