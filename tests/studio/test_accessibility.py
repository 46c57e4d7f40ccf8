"""Every view in both colour schemes and at both widths: axe-core finds nothing, nothing is wider than the screen, and the
keyboard reaches everything, in order and visibly."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.studio.chats import TITLE
from tests.studio.conftest import Visit

pytestmark = pytest.mark.contract

VIEWS = {
    "transcribe": ("Transcribe", ".drop"),
    "speak": ("Speak", ".voice"),
    "talk": ("Talk", ".stage"),
    "history": ("History", ".feed"),
    "usage": ("Usage", "canvas"),
    "access": ("Keys and webhooks", "table"),
}
"""Views by their place in the address: their heading, and what comes last in them."""
TRANSCRIPT = ("river talk.wav", ".waveform[data-drawn]")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
STOPS = """() => {
  const shown = document.activeElement;
  if (!shown || shown === document.body) return null;
  const follows = !window.last || Boolean(window.last.compareDocumentPosition(shown) & Node.DOCUMENT_POSITION_FOLLOWING);
  window.last = shown;
  const drawn = [shown, shown.nextElementSibling, shown.closest(".waveform")].filter(Boolean);
  const styles = drawn.map((one) => getComputedStyle(one));
  const { top, left, width, height } = shown.getBoundingClientRect();
  return {
    name: shown.outerHTML.slice(0, 120),
    visible: styles.some((one) => one.outlineStyle !== "none" && parseFloat(one.outlineWidth) >= 2),
    inside: width > 0 && height > 0 && top < innerHeight && top + height > 0 && left >= 0 && left < innerWidth,
    after: follows,
  };
}"""


def shown(visit: Visit, page: Page, place: str, heading: str, last: str) -> None:
    """Goes to a view, and waits until it is complete."""
    page.goto(f"{visit.studio.url}#/{place}")
    expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
    page.locator(last).first.wait_for()
    expect(page.locator(".loading")).to_have_count(0)


def wrong_in(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    wrong = [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        wrong.append("wider than the screen")
    return wrong


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for screenshots, which pytest keeps for some runs."""
    return tmp_path_factory.mktemp("pictures")


@pytest.mark.parametrize(("phone", "dark"), [(False, False), (True, True)], ids=["desktop light", "phone dark"])
def test_every_view_is_accessible_and_fits(
    visit: Visit, talk: int, chat: str, pictures: Path, phone: bool, dark: bool
) -> None:
    page = visit.blank(phone=phone, dark=dark)
    wrong = {"sign-in": wrong_in(page)}
    page.get_by_label("API key").fill(visit.operator_key)
    page.keyboard.press("Enter")
    page.get_by_role("navigation", name="Views").wait_for()
    others = {
        "history?q=committee": ("History", ".feed mark"),
        f"conversations/{chat}": (TITLE, ".latency"),
        f"transcripts/{talk}": TRANSCRIPT,
    }
    views = {**VIEWS, **others}
    for name, (heading, last) in views.items():
        shown(visit, page, name, heading, last)
        for closed in page.locator("main details").all():
            closed.evaluate("element => { element.open = true; }")
        wrong[name] = wrong_in(page)
        kind = f"{'phone' if phone else 'desktop'}-{'dark' if dark else 'light'}"
        page.screenshot(path=pictures / f"{name.replace('/', '-')}-{kind}.png", full_page=True)
    page.get_by_role("button", name="Rename").first.click()
    wrong["rename"] = wrong_in(page)
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    shown(visit, page, "speak", *VIEWS["speak"])
    page.get_by_role("button", name="Clone").click()
    wrong["clone"] = wrong_in(page)
    assert {name: faults for name, faults in wrong.items() if faults} == {}


def test_the_keyboard_reaches_everything_in_order_and_visibly(visit: Visit, talk: int) -> None:
    page = visit.page("transcribe", visit.operator_key)
    wrong: dict[str, list[str]] = {}
    for name, (heading, last) in {**VIEWS, f"transcripts/{talk}": TRANSCRIPT}.items():
        shown(visit, page, name, heading, last)
        page.evaluate("() => { window.last = null; document.querySelector('.skip').focus({ focusVisible: true }); }")
        stops = []
        for _ in range(60):
            stop = page.evaluate(STOPS)
            if stop is None or (stops and not stop["after"]):
                break
            stops.append(stop)
            page.keyboard.press("Tab")
        faults = [stop["name"] for stop in stops if not (stop["visible"] and stop["inside"])]
        assert len(stops) > 8, name
        wrong[name] = faults
    assert {name: faults for name, faults in wrong.items() if faults} == {}


def test_a_sentence_is_found_opened_and_heard_with_the_keyboard_alone(visit: Visit, talk: int) -> None:
    page = visit.page("transcribe")
    page.get_by_role("heading", name="Transcribe").wait_for()

    def to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"the keyboard does not reach {selector}")

    to("nav a[data-name=history]")
    page.keyboard.press("Enter")
    page.get_by_role("searchbox").wait_for()
    to("input[type=search]")
    page.keyboard.type("committee budget")
    page.keyboard.press("Enter")
    page.locator(".feed mark").first.wait_for()
    to(".feed a")
    page.keyboard.press("Enter")
    page.locator(".word[data-lit]").wait_for()
    to(".words")
    lit = page.locator(".word[data-lit]").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".word[data-lit]")).not_to_have_text(lit)
    page.keyboard.press("Space")
    page.wait_for_function("() => !document.querySelector('audio').paused")
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('audio').paused")


def test_nothing_moves_by_itself_where_less_motion_is_asked_for(visit: Visit, talk: int) -> None:
    for still in (True, False):
        page = visit.blank(still=still)
        page.evaluate("document.body.append(Object.assign(document.createElement('div'), { className: 'loading' }))")
        page.evaluate("document.querySelector('.loading').append(document.createElement('i'))")
        assert page.evaluate("document.getAnimations().length > 0") is not still
