"""The studio's frame: sign-in, policy, history, and a proxy's path."""

from __future__ import annotations

import datetime as dt
import re
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from studio.assets import read_assets
from tests.studio.conftest import Visit, sign_in
from tests.studio.server import PREFIX, Studio
from tests.support import speech

pytestmark = pytest.mark.contract

LITERAL = re.compile(r'"([^"\n]*)"|`([^`]*)`')
ENGLISH = re.compile(r"^[A-Z][a-z]+ [a-z]+|\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b(?!-)")
"""Two words of which the first is capitalised, or any three: names of classes and of events are shorter."""


def english(script: str) -> list[str]:
    """The literals of a script that are text for people, without what is inserted into them."""
    code = re.sub(r"^\s*(?://|/?\*).*$|// .*$", "", script, flags=re.MULTILINE)
    literals = (re.sub(r"\$\{.*?\}", "", quoted or template) for quoted, template in LITERAL.findall(code))
    return [one for one in literals if ENGLISH.search(one)]


def test_the_page_is_reached_by_a_relative_address_and_has_a_strict_policy(platform: Studio) -> None:
    with httpx.Client(base_url=f"http://{platform.address}") as client:
        assert client.get("/studio").headers["location"] == "studio/"
        page = client.get("/studio/")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        again = client.get("/studio/", headers={"If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get("/studio/js/absent.js").status_code == 404


def test_all_english_stands_in_one_file_and_no_file_names_another_origin() -> None:
    scripts = {path: asset.content.decode() for path, asset in read_assets().items() if path.endswith(".js")}
    assert [path for path, text in scripts.items() if english(text)] == ["js/strings.js"]
    foreign = re.compile(rb"https?://(?!www\.w3\.org/2000/svg)\w")
    assert [path for path, asset in read_assets().items() if foreign.search(asset.content)] == []


def test_lengths_of_time_have_one_way_of_writing(visit: Visit) -> None:
    page = visit.blank()
    written = page.evaluate("""async () => {
      const { duration, millis } = await import(new URL("js/core/format.js", document.baseURI));
      return [...[0, 4.25, 17.4, 59.7, 77, 600, 3599.8, 12300, 4000000].map(duration), ...[0, 910.4, 1617.6].map(millis)];
    }""")
    assert written[:9] == [
        "0 s", "4.3 s", "17 s", "1 min", "1 min 17 s", "10 min", "1 h", "3 h 25 min", "1,111 h 7 min",
    ]  # fmt: skip
    assert written[9:] == ["0\u00a0ms", "910\u00a0ms", "1,618\u00a0ms"]


def test_a_wrong_key_is_refused_in_the_apis_words_and_a_right_one_signs_in(visit: Visit) -> None:
    page = visit.blank()
    page.get_by_label("API key").fill("fx_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown")
    visit.forgive("401")
    sign_in(page, visit.key)
    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
    assert "fx" not in stored
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_focused()


def test_history_lists_what_was_done_and_search_opens_at_the_second(visit: Visit, talk: int) -> None:
    page = visit.page("history?type=transcription")
    expect(page.get_by_role("link", name="river talk.wav")).to_be_visible()
    page.get_by_role("radio", name="Conversations").check()
    expect(page.get_by_role("link", name="river talk.wav")).to_have_count(0)
    page.get_by_role("searchbox").fill("budget")
    page.keyboard.press("Enter")
    # What is searched is what the filters choose, and they are changed beside the matches.
    expect(page.get_by_text("Nothing was found")).to_be_visible()
    expect(page.get_by_role("radio", name="Conversations")).to_be_checked()
    page.get_by_role("radio", name="Transcripts").check()
    expect(page.get_by_role("searchbox")).to_have_value("budget")
    hit = page.get_by_role("link", name="river talk.wav")
    expect(hit.locator("mark").first).to_have_text("budget")
    hit.click()
    with visit.studio.client(visit.key) as client:
        body = client.get(f"/transcriptions/{talk}", params={"word_level_timestamps": True}).json()
    said = next(word for one in body["segments"] for word in one["words"] if "budget" in word["word"])
    seconds = "at => Math.abs(document.querySelector('audio')?.currentTime - at) < 0.01"
    page.wait_for_function(seconds, arg=said["start"])
    expect(page.locator(".word[data-lit]")).to_have_text("budget")


def test_views_are_loaded_while_the_key_is_typed(visit: Visit) -> None:
    page = visit.blank()
    scripts = (
        "() => performance.getEntriesByType('resource').filter((one) => one.name.endsWith('.js')).map((one) => one.name)"
    )
    wanted = {path for path in read_assets() if path.startswith("js/") and not path.endswith("_worklet.js")}
    page.wait_for_function(f"count => new Set(({scripts})()).size >= count", arg=len(wanted))
    assert {url.partition("/studio/")[2] for url in page.evaluate(scripts)} == wanted


def test_history_is_filtered_by_date(visit: Visit, talk: int) -> None:
    page = visit.page("history?type=transcription")
    entry = page.get_by_role("link", name="river talk.wav")
    expect(entry).to_be_visible()
    # A day around today, wherever the browser's midnight is.
    today = dt.datetime.now(dt.UTC).date()
    page.get_by_label("To", exact=True).fill(str(today - dt.timedelta(2)))
    expect(page.get_by_text("Nothing here")).to_be_visible()
    page.get_by_label("To", exact=True).fill(str(today + dt.timedelta(2)))
    expect(entry).to_be_visible()
    page.get_by_label("From", exact=True).fill(str(today - dt.timedelta(2)))
    page.wait_for_url(re.compile("since="))
    expect(entry).to_be_visible()


def test_a_tenant_sees_nothing_of_another(visit: Visit, talk: int) -> None:
    page = visit.page("history", visit.studio.key("stranger"))
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    page.goto(f"{visit.studio.url}#/transcripts/{talk}")
    expect(page.get_by_role("alert")).to_be_visible()
    assert speech.SENTENCES[2].split()[1] not in page.content()
    visit.forgive("404")


def test_everything_works_below_a_path_of_a_proxy(visit: Visit, talk: int) -> None:
    page = visit.blank(f"http://{visit.studio.address}{PREFIX}/studio")
    sign_in(page, visit.key)
    page.get_by_role("link", name="History").click()
    page.get_by_role("radio", name="Transcripts").check()
    page.get_by_role("link", name="river talk.wav").first.click()
    page.locator(".word").first.wait_for()
    page.wait_for_function("() => document.querySelector('audio')?.duration > 10")
    page.get_by_role("link", name="Speak").click()
    page.get_by_label("Text", exact=True).fill("Below a path.")
    page.get_by_role("button", name="Speak", exact=True).click()
    expect(page.get_by_text("First sound after")).to_be_visible()
    paths = [urlsplit(url).path for url in visit.asked]
    assert len(paths) > 40
    assert [path for path in paths if not path.startswith(PREFIX)] == []
