"""Measures the studio in Chromium: the delay until a very long transcript is shown, and how evenly it scrolls."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.measure import Measure, percentile
from clients.public import Target
from schemas.errors import NotFound, error_from_response

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

WORDS_A_SEGMENT = 13
SECS_A_WORD = 0.36
"""A hundred thousand words are ten hours."""
_PAUSE_EVERY = 10
"""One segment in ten has a pause."""
_ACCOUNT = "bench-studio"
_FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
_VIEWPORT: ViewportSize = {"width": 1280, "height": 860}
_SCROLL_SECS = 4.0
_WHEEL_PIXELS = 240
_WAIT_MILLIS = 60_000
_FRAMES = """() => {
  const frames = [];
  window.frames_ms = frames;
  let last = performance.now();
  const next = (now) => {
    frames.push(now - last);
    last = now;
    if (window.frames_ms === frames) requestAnimationFrame(next);
  };
  requestAnimationFrame((now) => { last = now; requestAnimationFrame(next); });
}"""


@dataclass(frozen=True, slots=True)
class LongTranscript:
    """An imported transcript: its id, and how many segments it has."""

    id: int
    segments: int


def measure(target: Target, *, words: int, rounds: int) -> list[Measure]:
    """Opens a transcript of ``words`` words in fresh pages and scrolls through it. The key is an operator's and admin's.

    A round: sign in at the history; go to the transcript, until its first words are painted; scroll by the wheel for four
    seconds; jump to ten places. Raises NotFound where there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise NotFound("chromium is not installed: apt-get install chromium")
    with _imported(target, words) as (transcript, key), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        opened: list[float] = []
        scrolled: list[float] = []
        jumped: list[float] = []
        for _ in range(rounds):
            page = browser.new_page(viewport=_VIEWPORT)
            page.set_default_timeout(_WAIT_MILLIS)
            opened.append(_opened(page, target.url, key, transcript))
            scrolled += _scrolled(page)
            jumped += _jumped(page)
            page.close()
        browser.close()
    return [
        Measure("from the click to the first words painted, median", percentile(opened, 0.5), "ms"),
        Measure("the same, longest", max(opened), "ms"),
        Measure("frames while scrolling by the wheel, p50", percentile(scrolled, 0.5), "ms"),
        Measure("the same, p99", percentile(scrolled, 0.99), "ms"),
        Measure("the same, longest", max(scrolled), "ms"),
        Measure("jump to a far place, longest", max(jumped), "ms"),
    ]


def import_transcript(client: httpx.Client, account: str, key: str, words: int) -> LongTranscript:
    """Import a transcript of ``words`` words and three speakers into an account without transcripts.

    ``client`` has a key of scope ``operator``, ``key`` is of the account.
    """
    segments = [_segment(number) for number in range(words // WORDS_A_SEGMENT)]
    line = {
        "id": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "filename": f"{words} words.wav",
        "audio_duration_secs": round(words * SECS_A_WORD, 1),
        "segments": segments,
        "events": [_pause(segment["words"]) for segment in segments[::_PAUSE_EVERY]],
        "non_speech": True,
        "text": " ".join(str(segment["text"]) for segment in segments),
        "num_speakers": 3,
        "language": "en",
    }
    content = json.dumps(line).encode()
    _ok(client.post("/operator/import/transcriptions", content=content, params={"account": account}))
    listed = _ok(client.get("/history/transcriptions", headers={"Authorization": key}))
    return LongTranscript(int(listed["data"][0]["id"]), len(segments))


def _pause(words: list[dict[str, Any]]) -> dict[str, Any]:
    """A pause after the second word."""
    return {"tag": "pause", "start": words[1]["end"], "end": words[2]["start"]}


def _ok(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise error_from_response(response.status_code, response.json())
    return response.json()  # type: ignore[no-any-return]


def _segment(number: int) -> dict[str, Any]:
    start = number * WORDS_A_SEGMENT * SECS_A_WORD
    words = [
        {"word": f"w{number}x{place}", "start": at, "end": round(at + 0.25, 2), "confidence": 0.4 + 0.1 * (place % 6)}
        for place in range(WORDS_A_SEGMENT)
        for at in [round(start + place * SECS_A_WORD, 2)]
    ]
    text = " ".join(str(word["word"]) for word in words)
    return {"speaker": str(number % 3), "text": text, "start": words[0]["start"], "end": words[-1]["end"], "words": words}


@contextmanager
def _imported(target: Target, words: int) -> Iterator[tuple[LongTranscript, str]]:
    """A transcript in an account of its own and a key of that, both removed afterwards."""
    headers = {"Authorization": target.key}
    with httpx.Client(base_url=target.url, headers=headers, trust_env=False, timeout=300) as client:
        asked = {"account": _ACCOUNT, "name": "bench studio", "scopes": ["transcribe", "history"]}
        key = str(_ok(client.post("/operator/keys", json=asked))["key"])
        try:
            yield import_transcript(client, _ACCOUNT, key, words), key
        finally:
            client.delete(f"/operator/accounts/{_ACCOUNT}")


def _opened(page: Page, url: str, key: str, transcript: LongTranscript) -> float:
    """Milliseconds from the click on the transcript in the history to the frame that has its first words."""
    page.goto(f"{url}/studio/#/history")
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    page.locator(".feed a").first.wait_for()
    millis: float = page.evaluate(
        """async () => {
          const began = performance.now();
          document.querySelector(".feed a").click();
          while (!document.querySelector("[data-word='0:0']")) await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          return performance.now() - began;
        }"""
    )
    return millis


def _scrolled(page: Page) -> list[float]:
    """Milliseconds of each frame while the wheel is turned."""
    page.locator(".words").hover()
    page.evaluate(_FRAMES)
    began = page.evaluate("performance.now()")
    while page.evaluate("performance.now()") - began < _SCROLL_SECS * 1000:
        page.mouse.wheel(0, _WHEEL_PIXELS)
    frames: list[float] = page.evaluate("() => { const found = window.frames_ms; window.frames_ms = null; return found; }")
    return frames


def _jumped(page: Page) -> list[float]:
    """Milliseconds until the frame that shows another tenth of the transcript, for each tenth."""
    millis: list[float] = page.evaluate(
        """async () => {
          const words = document.querySelector(".words");
          const taken = [];
          for (let tenth = 9; tenth >= 0; tenth -= 1) {
            const began = performance.now();
            words.scrollTop = (words.scrollHeight * tenth) / 10;
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            taken.push(performance.now() - began);
          }
          return taken;
        }"""
    )
    return millis
