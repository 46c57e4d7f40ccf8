"""One platform and one browser for all modules. Every page of a test is checked for what must hold on all pages.

That is: no error on the console, nothing that the content security policy blocks, no request to another origin, no key or
token in an address.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from schemas.domain import SAMPLE_RATE_HZ
from tests.e2e import recordings
from tests.studio.chats import add_chat
from tests.studio.server import Studio, studio
from tests.support import speech

CHROMIUM = shutil.which("chromium")
WAIT_MILLIS = 120_000
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
SAID_TO_MICROPHONE = "please tell me about the weather in the city tomorrow"


@dataclass
class Visit:
    """Opens pages of one browser on one platform; what they did wrong is collected in ``faults``.

    ``key`` is a user's, ``operator_key`` has all scopes; both are of one account.
    """

    studio: Studio
    browser: Browser
    key: str
    operator_key: str
    faults: list[str] = field(default_factory=list)
    forgiven: list[str] = field(default_factory=list)
    """Statuses of answers that are no fault."""
    contexts: list[BrowserContext] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Addresses of all requests and sockets."""

    def blank(self, url: str | None = None, *, phone: bool = False, dark: bool = False, still: bool = True) -> Page:
        """A page at the sign-in, in a context of its own; ``url``: another address of the studio."""
        context = self.browser.new_context(
            viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 860},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
            permissions=["microphone"],
            accept_downloads=True,
            has_touch=phone,
        )
        self.contexts.append(context)
        context.set_default_timeout(WAIT_MILLIS)
        page = context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"page: {error}"))
        page.on("request", lambda request: self._check(request.url))
        page.on("websocket", lambda socket: self._check(socket.url))
        failed: list[Request] = []
        page.on("requestfailed", lambda request: failed.append(request))
        page.goto(url or self.studio.url)
        while failed:  # by a change of the network, see `_said`; a page without one of its modules shows nothing
            failed.clear()
            page.reload()
        return page

    def page(self, view: str, key: str | None = None, *, phone: bool = False, dark: bool = False) -> Page:
        """A page at a view (the fragment of its address, without `#/`), signed in with ``key`` or that of the user."""
        page = self.blank(phone=phone, dark=dark)
        page.evaluate("fragment => { location.hash = fragment; }", f"#/{view}")
        sign_in(page, key or self.key)
        return page

    def forgive(self, status: str) -> None:
        """The browser itself notes every answer of 4xx on the console; one that a test provokes is no fault."""
        self.forgiven.append(f"status of {status}")

    def _said(self, message: ConsoleMessage) -> None:
        # Chromium ends its requests when this machine gets or loses a network interface, as other tests may make them.
        if message.type == "error" and "ERR_NETWORK_CHANGED" not in message.text:
            self.faults.append(f"console: {message.text}")

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data"):
            self.asked.append(url)
        if parts.scheme not in ("blob", "data") and parts.netloc != self.studio.address:
            self.faults.append(f"another origin: {url}")
        if any(secret in url for secret in ("fxt_", "fx_")):
            self.faults.append(f"a secret in an address: {parts.path}")


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    page.get_by_role("navigation", name="Views").wait_for()


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; .ci/run installs it")
    with studio(tmp_path_factory.mktemp("studio")) as started:
        yield started


@pytest.fixture(scope="package")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone plays again and again: a sentence, then silence, at 48 kHz."""
    samples = speech.say(SAID_TO_MICROPHONE)
    path = tmp_path_factory.mktemp("microphone") / "said.wav"
    sound, _ = speech.sequence([samples, speech.silence(4.0)])
    path.write_bytes(recordings.wav(sound.repeat(3), 3 * SAMPLE_RATE_HZ))
    return path


@pytest.fixture(scope="package")
def browser(platform: Studio, microphone: Path) -> Iterator[Browser]:
    # Closed with its package: while it is open, no coroutine of another test could run in this thread.
    expect.set_options(timeout=WAIT_MILLIS)
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def key(platform: Studio) -> str:
    """A user's key."""
    return platform.key("studio")


@pytest.fixture(scope="package")
def operator_key(platform: Studio) -> str:
    """A key of the same account with all scopes."""
    return platform.key("studio", "operator", "admin")


@pytest.fixture(scope="package")
def talk(platform: Studio, key: str) -> int:
    """A transcribed conversation of two, of the user's account."""
    return platform.transcribed(recordings.conversation(), "river talk.wav", key, num_speakers=2, non_speech=True)


@pytest.fixture(scope="package")
def chat(platform: Studio) -> str:
    """The id of a conversation of the user's account: two answers to speech, one interrupted, and one to a written turn."""
    return add_chat(platform, "studio")


@pytest.fixture
def visit(platform: Studio, browser: Browser, key: str, operator_key: str) -> Iterator[Visit]:
    made = Visit(platform, browser, key, operator_key)
    yield made
    for context in made.contexts:
        context.close()
    platform.model.answers.clear()
    assert [fault for fault in made.faults if not any(status in fault for status in made.forgiven)] == []


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that takes what is posted to it, and what it got."""
    got: list[bytes] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/events", got
    server.shutdown()
    thread.join(10)
    server.server_close()
