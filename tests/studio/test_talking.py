"""Conversations of the page: by microphone, by push-to-talk, in writing, with tools, and found in the history."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from schemas.language_model import ChatDelta, ChatRequest
from tests.studio.conftest import Visit
from tests.studio.sound import hear_sentence
from tests.support.realtime_kit import calling, written

pytestmark = pytest.mark.contract

HEARD_MILLIS = 120_000
"""Everything of a conversation runs in real time on this machine: microphone, engines and sound."""
SLOW_MODEL_SECS = 8.0
"""Longer than the scale of bars at first."""
SHARE = """answer => {
  const box = answer.querySelector(".latency").getBoundingClientRect();
  const ends = [...answer.querySelectorAll(".latency i")].map((bar) => bar.getBoundingClientRect().right);
  return (Math.max(...ends) - box.left) / box.width;
}"""
"""How much of its box an answer's bars take."""
LATENCY = re.compile(
    r"Answered (?P<all>[\d,]+)\sms after the end of speech: (?P<ended>[\d,]+)\sms to know that the turn was over, "
    r"[\d,]+\sms to begin the answer, [\d,]+\sms to begin the sound"
)
LEAST_SILENCE_MILLIS = 150
"""No turn is taken to be over before."""
EXCHANGES = 4
TITLE_LETTERS = 30
"""A title has at least so many letters of a long text."""
LOUD = "() => Number(document.querySelector('.orb').style.getPropertyValue('--level')) > 0.3"


def started(visit: Visit, *options: str, phone: bool = False) -> Page:
    page = visit.page("talk", phone=phone)
    page.set_default_timeout(HEARD_MILLIS)
    if options:
        page.get_by_text("Options").click()
        for option in options:
            page.get_by_label(option).check()
    page.get_by_role("button", name="Start talking").click()
    page.get_by_role("button", name="End", exact=True).wait_for()
    return page


def test_what_is_said_and_answered_is_captioned_timed_and_in_the_history(visit: Visit) -> None:
    page = started(visit)
    page.wait_for_function(LOUD)
    # On a loaded machine parts of a turn may be lost; the microphone says it again.
    user = page.locator("li[data-role=user]").filter(has_text="weather").first
    answer = page.locator("li[data-role=assistant]").first
    expect(user).to_be_visible(timeout=HEARD_MILLIS)
    expect(answer).to_contain_text("Well, yes.", timeout=HEARD_MILLIS)
    expect(answer).to_contain_text("Answered", timeout=HEARD_MILLIS)
    bars = answer.locator(".latency i")
    expect(bars).to_have_count(3)
    widths = bars.evaluate_all("all => all.map((bar) => bar.getBoundingClientRect().width)")
    assert min(widths) >= 1  # a quick answer's bars are short on a scale of seconds, and seen all the same
    timed = LATENCY.search(page.locator("li[data-role=assistant]", has_text="Answered").first.inner_text())
    assert timed, "a conversation says how long after the end of speech it answered"
    page.get_by_role("button", name="End", exact=True).click()
    page.get_by_role("link", name="Open it in the history").click()
    first = page.locator("li[data-role=user] p").first.inner_text()
    expect(page.get_by_role("heading", level=1)).to_contain_text(first[:TITLE_LETTERS])
    expect(user).to_be_visible()
    again = page.locator("li[data-role=assistant]", has_text="Answered").first
    expect(again.locator(".latency i")).to_have_count(3)
    # The history says it in the same words, and counts from the same moment, that before the silence.
    known = LATENCY.search(again.inner_text())
    assert known
    assert known["ended"] == timed["ended"]
    assert int(known["ended"].replace(",", "")) >= LEAST_SILENCE_MILLIS
    page.wait_for_function("() => document.querySelector('audio')?.duration > 1")
    page.get_by_role("link", name="History").click()
    expect(page.locator(".feed a").first).to_contain_text(first[:TITLE_LETTERS])


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_the_controls_of_a_long_conversation_stay_in_view(visit: Visit, phone: bool) -> None:
    visit.studio.model.answers += [written(*("It is a long story, and it goes on. " for _ in range(12)))] * EXCHANGES
    page = started(visit, "Push to talk", phone=phone)
    answers = page.locator("li[data-role=assistant]")
    controls = [
        page.get_by_role("button", name="End", exact=True),
        page.get_by_role("button", name="Hold to talk"),
        page.get_by_label("Or write something"),
        page.get_by_role("region", name="Talk").get_by_role("status"),
    ]
    for nth in range(EXCHANGES):
        page.get_by_label("Or write something").fill(f"And what happened in part {nth + 1}?")
        page.keyboard.press("Enter")
        expect(answers.nth(nth)).to_contain_text("goes on.", timeout=HEARD_MILLIS)
        expect(page.get_by_text(f"part {nth + 1}?")).to_be_visible()
    page.wait_for_function("() => document.documentElement.scrollHeight > 1.5 * innerHeight")
    for top in ("0", "document.documentElement.scrollHeight", "document.documentElement.scrollHeight / 2"):
        page.evaluate(f"scrollTo(0, {top})")
        for control in controls:
            expect(control).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.querySelector('.stage').offsetHeight < innerHeight / 3")
    controls[0].click()
    page.get_by_role("button", name="Start talking").wait_for()


def test_speech_interrupts_an_answer(visit: Visit) -> None:
    long = written(*("And then it went on and on. " for _ in range(60)))
    # An answer may be prepared before the turn has ended, and be discarded.
    visit.studio.model.answers += [long] * 12
    page = started(visit)
    answers = page.locator("li[data-role=assistant]")
    expect(answers.first).to_contain_text("on and on", timeout=HEARD_MILLIS)
    # The microphone says its sentence again some seconds later, while the answer is far from its end.
    expect(answers.nth(1)).to_contain_text("on and on", timeout=HEARD_MILLIS)
    assert answers.first.inner_text().count("on and on") < 60
    expect(answers.nth(1)).to_contain_text("Answered", timeout=HEARD_MILLIS)
    page.get_by_role("button", name="End", exact=True).click()


def test_push_to_talk_sends_what_is_said_while_it_is_held(visit: Visit) -> None:
    page = started(visit, "Push to talk")
    page.get_by_role("button", name="Hold to talk").focus()
    page.keyboard.down("Space")
    hear_sentence(page.locator(".orb"))
    page.keyboard.up("Space")
    expect(page.locator("li[data-role=user] p").first).not_to_be_empty(timeout=HEARD_MILLIS)
    expect(page.locator("li[data-role=assistant]").first).to_contain_text("Well, yes.", timeout=HEARD_MILLIS)


def test_bars_of_slow_answers_stay_in_their_box_and_share_a_scale(visit: Visit) -> None:
    async def slow(_: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        await asyncio.sleep(SLOW_MODEL_SECS)
        yield ChatDelta("That took long.")
        yield ChatDelta(finish="stop")

    page = started(visit, "Push to talk")
    answers = page.locator("li[data-role=assistant]")
    for nth, answer in enumerate((written("At once."), slow)):
        visit.studio.model.answers.append(answer)
        page.get_by_label("Or write something").fill("How long does it take?")
        page.keyboard.press("Enter")
        expect(answers.nth(nth)).to_contain_text("Answered", timeout=HEARD_MILLIS)
    quick, long = (answers.nth(nth).evaluate(SHARE) for nth in range(2))
    assert quick < long
    assert 0.9 < max(quick, long) <= 1


def test_a_written_turn_may_use_a_tool_of_the_page(visit: Visit) -> None:
    visit.studio.model.answers += [
        calling(("search_history", '{"query": "nothing like it"}')),
        written("Nothing was said."),
    ]
    page = started(visit, "Push to talk", "Let the model")
    page.get_by_label("Or write something").fill("What did I say about it?")
    page.keyboard.press("Enter")
    expect(page.locator("li[data-role=tool]")).to_contain_text("nothing was found", timeout=HEARD_MILLIS)
    answer = page.locator("li[data-role=assistant]").last
    expect(answer).to_contain_text("Nothing was said.", timeout=HEARD_MILLIS)
    expect(answer).to_contain_text("Answered", timeout=HEARD_MILLIS)


def test_a_lost_connection_is_said_and_another_conversation_can_begin(visit: Visit) -> None:
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    page = visit.page("talk")
    page.route_web_socket("**/v1/realtime*", pass_on)
    start = page.get_by_role("button", name="Start talking")
    start.click()
    page.get_by_role("button", name="End", exact=True).wait_for()
    sockets[0].close()
    expect(page.get_by_role("alert")).to_have_text("The connection was lost. Start again to go on talking.")
    start.click()
    page.get_by_role("button", name="End", exact=True).wait_for()
    expect(page.get_by_role("alert")).to_have_count(0)
