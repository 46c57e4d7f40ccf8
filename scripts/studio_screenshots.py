"""Takes screenshots of every view of the studio, light and dark, on a desktop and a phone, of a running instance.

    .venv/bin/python -m scripts.studio_screenshots http://127.0.0.1:8000 .fluxions/keys/operator FOLDER
    .venv/bin/python -m scripts.studio_screenshots http://127.0.0.1:8000 .fluxions/keys/operator docs --only \\
        studio-transcript-desktop-light studio-speak-desktop-dark studio-transcript-phone-dark

The second takes those of the documentation. Needs Debian's `chromium` and the extra `dev`. It transcribes a rendered
conversation, speaks a text and talks with the model first, in the history of the key's account.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from audio.raw_pcm import RawFormat, wav_header

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--deny-permission-prompts",
)
TALK = (
    ("maeve", "Good morning. Shall we go through the budget for next year?"),
    ("harry", "Yes, and I have news. The committee moved the meeting to Thursday."),
    ("maeve", "Thursday is fine. Then we have time to visit the new garden by the river."),
    ("harry", "The children will like that. I will bring the map."),
)
FILENAME = "planning.wav"
TEXT = "Good morning! I can read this aloud, in any of these voices. The garden by the river opens at ten."
QUESTION = "What should I bring to a picnic by a river?"
RATE_HZ = 24_000
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
WAIT_MILLIS = 120_000


@dataclass(frozen=True)
class View:
    """A picture: where it is, and what is done there before it is taken."""

    name: str
    fragment: str
    prepare: Callable[[Page], None]


def conversation(client: httpx.Client) -> int:
    """The id of a transcription of two voices in turn."""
    pcm = b""
    for voice, text in TALK:
        ask = {"voice": voice, "input": text, "response_format": "pcm"}
        pcm += client.post("vui/v1/tts", json=ask).raise_for_status().content + bytes(RATE_HZ)
    query = {"filename": FILENAME, "num_speakers": 2, "non_speech": True}
    sent = client.post("submit", content=wav_header(RawFormat("s16le", RATE_HZ), len(pcm)) + pcm, params=query)
    job_id = int(sent.raise_for_status().json()["id"])
    client.get(f"transcriptions/{job_id}/events").raise_for_status()  # ends when the job does
    return job_id


def views(job_id: int) -> list[View]:
    """Every view. The conversation comes after the talk that makes it."""
    return [
        View("transcribe", "transcribe", sent),
        View("transcript", f"transcripts/{job_id}?at=6", drawn),
        View("correcting", f"transcripts/{job_id}?at=6", correcting),
        View("speak", "speak", spoken),
        View("clone", "speak", cloning),
        View("talk", "talk", talked),
        View("conversation", "history?type=conversation", first_opened),
        View("render", "history?type=tts", first_opened),
        View("history", "history", listed),
        View("search", "history?q=garden+river", listed),
        View("usage", "usage", loaded),
        View("access", "access", loaded),
    ]


def loaded(page: Page) -> None:
    page.locator("main h1").wait_for()
    page.locator(".loading").first.wait_for(state="detached")


def sent(page: Page) -> None:
    loaded(page)
    page.get_by_text("Options").click()


def drawn(page: Page) -> None:
    page.locator(".waveform[data-drawn]").wait_for()
    page.locator(".word[data-lit]").wait_for()


def correcting(page: Page) -> None:
    drawn(page)
    page.get_by_role("button", name="Correct words").click()
    page.locator(".word[data-lit]").click()
    page.get_by_role("dialog").wait_for()


def spoken(page: Page) -> None:
    page.locator(".voice").first.wait_for()
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_role("button", name="Speak", exact=True).click()
    page.locator(".read-along .tag").nth(1).wait_for()
    page.locator(".read-along [data-lit]").wait_for()


def cloning(page: Page) -> None:
    page.locator(".voice").first.wait_for()
    page.get_by_role("button", name="Clone").click()
    page.get_by_role("dialog").wait_for()


def talked(page: Page) -> None:
    page.get_by_role("button", name="Start talking").click()
    page.get_by_role("button", name="End", exact=True).wait_for()
    page.get_by_label("Or write something").fill(QUESTION)
    page.keyboard.press("Enter")
    page.locator(".latency").wait_for()


def listed(page: Page) -> None:
    page.locator(".feed a").first.wait_for()


def first_opened(page: Page) -> None:
    listed(page)
    page.locator(".feed a").first.click()
    page.locator("audio, .dialogue").first.wait_for()
    loaded(page)


def signed_in(browser: Browser, url: str, key: str, *, phone: bool, dark: bool) -> Page:
    """A page after the sign-in, without a microphone."""
    scheme = "dark" if dark else "light"
    page = browser.new_page(
        viewport=PHONE if phone else DESKTOP, color_scheme=scheme, reduced_motion="reduce", has_touch=phone
    )
    page.set_default_timeout(WAIT_MILLIS)
    page.goto(f"{url}/studio/")
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    page.get_by_role("navigation", name="Views").wait_for()
    return page


def take(browser: Browser, url: str, key: str, job_id: int, folder: Path, only: set[str]) -> None:
    """All pictures, or those that are named in ``only``."""
    for phone, dark in product((False, True), repeat=2):
        kind = f"{'phone' if phone else 'desktop'}-{'dark' if dark else 'light'}"
        wanted = [view for view in views(job_id) if not only or f"studio-{view.name}-{kind}" in only]
        for view in wanted:
            page = signed_in(browser, url, key, phone=phone, dark=dark)
            page.evaluate("fragment => { location.hash = fragment; }", f"#/{view.fragment}")
            view.prepare(page)
            if not only:
                page.evaluate("scrollTo(0, 0)")  # or what stays on the screen covers the middle of the page
            page.screenshot(path=folder / f"studio-{view.name}-{kind}.png", full_page=not only)
            page.close()
        if not only:
            page = browser.new_page(viewport=PHONE if phone else DESKTOP, color_scheme="dark" if dark else "light")
            page.goto(f"{url}/studio/")
            page.get_by_label("API key").wait_for()
            page.screenshot(path=folder / f"studio-sign-in-{kind}.png")
            page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("key_file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[], help="names of pictures")
    asked = parser.parse_args()
    key, url = asked.key_file.read_text().strip(), asked.url.rstrip("/")
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    asked.folder.mkdir(parents=True, exist_ok=True)
    with httpx.Client(base_url=url, headers={"Authorization": key}, timeout=300) as client:
        job_id = conversation(client)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        take(browser, url, key, job_id, asked.folder, set(asked.only))
        browser.close()


if __name__ == "__main__":
    main()
