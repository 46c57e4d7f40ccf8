"""Matches of a search: all kinds in one order, more of them on demand, and the same place again on the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.contract.gateway import OPERATOR_KEY
from tests.studio.conftest import Visit
from tests.studio.server import Studio
from tests.studio.test_keyboard import signed_in

pytestmark = pytest.mark.contract

HITS = 120


def line(number: int) -> tuple[str, dict[str, Any]]:
    """What is imported as number so many by time, and where: every fourth is a transcript, the others are renders."""
    day = f"2026-06-{1 + number // 24:02}T{number % 24:02}:00:00Z"
    text = f"Heron number {number}."
    common = {"id": number, "created_at": day}
    if number % 4:
        render = {**common, "object": "tts", "voice": "nina", "chars": len(text), "audio_secs": 1.0, "text": text}
        return "tts", render
    segment = {"speaker": "0", "start": 3.0, "end": 4.0, "text": text, "words": []}
    transcript = {
        "filename": f"{number}.wav",
        "audio_duration_secs": 9.0,
        "text": text,
        "segments": [segment],
        "language": "en",
    }
    return "transcriptions", {**common, **transcript}


@pytest.fixture(scope="module")
def herons(platform: Studio) -> str:
    """The key of an account with so many herons, by turns in transcripts and in renders."""
    key = platform.key("herons")
    lines = [line(number) for number in range(HITS)]
    with platform.client(OPERATOR_KEY) as client:
        for kind in ("tts", "transcriptions"):
            content = "\n".join(json.dumps(one) for table, one in lines if table == kind)
            sent = client.post(f"/operator/import/{kind}", params={"account": "herons"}, content=content)
            assert sent.json()["imported"] == content.count("\n") + 1, sent.text
    return key


def expect_matches(page: Page, count: int) -> None:
    """Waits for the ``count`` newest herons, newest first."""
    matches = page.locator(".feed a")
    expect(matches).to_have_count(count)
    for nth, text in enumerate(matches.all_inner_texts()):
        assert f"Heron number {HITS - 1 - nth}." in text


def test_more_matches_are_shown_where_the_first_end(visit: Visit, herons: str) -> None:
    keys = signed_in(visit, "History", herons)
    page = keys.page
    keys.to("Search everything")
    keys.write("herons")
    keys.press("Enter")
    page.locator(".feed mark").first.wait_for()
    pages = ((50, "The first 50 matches", None), (100, "The first 100 matches", 50), (HITS, f"{HITS} matches", 100))
    for count, said, first in pages:
        expect_matches(page, count)
        expect(page.get_by_role("status").filter(has_text="matches")).to_have_text(said)
        if first is not None:
            expect(page.locator(".feed a").nth(first)).to_be_focused()
        if count < HITS:
            keys.to("Show more")
            keys.press("Enter")
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)


def test_the_way_back_from_a_match_ends_where_it_was_chosen(visit: Visit, herons: str) -> None:
    page = visit.page("history?q=herons", herons)
    expect_matches(page, 50)
    page.get_by_role("button", name="Show more").click()
    expect_matches(page, 100)
    chosen = page.locator(".feed a").nth(79)  # of a transcript
    chosen.scroll_into_view_if_needed()
    chosen.click()
    expect(page.get_by_role("heading", name="40.wav")).to_be_visible()
    expect(page.locator(".words")).to_contain_text("Heron number 40.")
    expect(page.locator("main")).to_be_focused()  # the transcript is complete
    page.go_back()
    expect_matches(page, 100)
    expect(chosen).to_be_focused()
    expect(chosen).to_be_in_viewport(ratio=1)
    page.locator(".feed a").nth(78).click()
    expect(page.get_by_text("Heron number 41.")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("radio", name="All")).to_be_checked()
    assert page.evaluate("scrollY") == 0
