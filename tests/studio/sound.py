"""What a page plays and what its microphone hears, waited for in the sound itself."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

SLOWER = """() => {
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {
    this.playbackRate = 0.0625;
    return play.call(this);
  };
}"""
SENTENCE = """(element) => new Promise((resolve) => {
  const level = () => Number(element.value ?? element.style.getPropertyValue("--level"));
  const wanted = [false, true, false];
  let since = performance.now();
  const timer = setInterval(() => {
    const [now, loud] = [performance.now(), level() > 0.3];
    if (loud !== wanted[0]) since = now;
    else if (loud || now - since > 1500) {
      wanted.shift();
      since = now;
    }
    if (wanted.length) return;
    clearInterval(timer);
    resolve();
  }, 40);
})"""


def slow_down(page: Page) -> None:
    """Sounds that begin from now on last sixteen times as long, so that a busy machine sees them play."""
    page.evaluate(SLOWER)


def hear_sentence(level: Locator) -> None:
    """Waits until ``level``, a meter or the circle of a conversation, showed a whole sentence, and silence after it."""
    level.evaluate(SENTENCE, timeout=0)


def wait_recorded(page: Page, secs: int) -> None:
    """Waits until the last clock of a dialog shows at least so much."""
    page.wait_for_function(
        """secs => {
          const [minutes, seconds] = [...document.querySelectorAll("dialog .time")].at(-1).textContent.split(":");
          return 60 * minutes + Number(seconds) >= secs;
        }""",
        arg=secs,
    )
