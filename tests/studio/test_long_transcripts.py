"""A long transcript: only the visible words are elements, and every one of them can be reached."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from benchmarks.platform.studio_page import import_transcript
from tests.contract.gateway import OPERATOR_KEY
from tests.studio.conftest import Visit

pytestmark = pytest.mark.contract

WORDS = 12_000
MOST_ELEMENTS = 3_000


def test_it_opens_scrolls_and_is_searched_with_few_elements(visit: Visit) -> None:
    key = visit.studio.key("long-transcripts")
    with visit.studio.client(OPERATOR_KEY) as client:
        long = import_transcript(client, "long-transcripts", key, WORDS)
    page = visit.page(f"transcripts/{long.id}", key)
    expect(page.locator('[data-word="0:0"]')).to_be_in_viewport(ratio=1)
    assert page.locator(".words").evaluate("words => words.scrollTop") == 0
    expect(page.locator("[data-segment='0'] .sound")).to_have_text("[pause]")
    expect(page.locator('[data-word="0:0"]')).to_have_css("text-decoration-line", "underline")
    expect(page.locator('[data-word="0:5"]')).to_have_css("text-decoration-line", "none")
    assert page.locator("*").count() < MOST_ELEMENTS
    page.locator(".words").evaluate("element => element.scrollTo(0, element.scrollHeight)")
    expect(page.locator(f'[data-word="{long.segments - 1}:0"]')).to_be_visible()
    assert page.locator("*").count() < MOST_ELEMENTS
    page.get_by_role("searchbox", name="Search in this transcript").fill("w432x7")
    expect(page.locator('[data-word="432:7"]')).to_be_visible()
    expect(page.get_by_text("1 of 1")).to_be_visible()
