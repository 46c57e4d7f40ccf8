"""A page used with the keyboard alone: where the focus is, and the way to somewhere else."""

from __future__ import annotations

from playwright.sync_api import Page, expect

MOST_STOPS = 80
STOP = """name => {
  const stops = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, audio, [tabindex]")];
  const nameOf = (stop) => stop.getAttribute("aria-label") ?? stop.labels?.[0]?.textContent ?? stop.textContent;
  return stops.some((stop) => nameOf(stop).trim().startsWith(name));
}"""
FOCUS = """() => {
  const held = document.activeElement;
  const drawn = [held, held.nextElementSibling, held.closest(".waveform")].filter(Boolean);
  const outlined = ({ outlineStyle, outlineWidth }) => outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  const label = held.getAttribute("aria-label") ?? held.labels?.[0]?.textContent ?? held.textContent;
  return {
    name: held === document.body ? "" : label.trim(),
    visible: drawn.some((one) => outlined(getComputedStyle(one))),
    modal: !document.querySelector("dialog[open]") || held === document.body || Boolean(held.closest("dialog")),
  };
}"""


class Keyboard:
    """Presses keys on a page. Nothing of it uses the mouse, or gives the focus to an element."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def to(self, name: str, *, back: bool = False) -> None:
        """Goes by Tab to what is named ``name``, or begins with it; every stop must be visible, and in an open dialog."""
        self.page.wait_for_function(STOP, arg=name)
        passed = []
        for _ in range(MOST_STOPS):
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
            stop = self.page.evaluate(FOCUS)
            assert stop["modal"], f"the focus left the dialog for {stop['name']!r}"
            assert stop["visible"] or not stop["name"], f"nothing shows that {stop['name']!r} has the focus"
            if stop["name"].startswith(name):
                return
            passed.append(stop["name"][:40])
        raise AssertionError(f"Tab does not reach {name!r}, but {passed}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def press_until_drawn_anew(self, key: str) -> None:
        """Presses a key that has the view drawn anew, and waits until what had the focus is no longer on the page."""
        held = self.page.evaluate_handle("document.activeElement")
        self.page.keyboard.press(key)
        self.page.wait_for_function("held => !held.isConnected", arg=held)

    def write(self, text: str) -> None:
        """Replaces the text of the field that has the focus."""
        self.press("Control+a")
        self.page.keyboard.type(text)

    def expect_at(self, name: str, *, exact: bool = False) -> None:
        """Waits until the focus is at what is named ``name``, or begins with it."""
        test = "=== name" if exact else ".startsWith(name)"
        self.page.wait_for_function(f"name => ({FOCUS})().name{test}", arg=name)

    def expect_left(self, name: str) -> None:
        """Waits until the focus has left everything whose name begins with ``name``."""
        self.page.wait_for_function(f"name => !({FOCUS})().name.startsWith(name)", arg=name)

    def expect_in_dialog(self) -> None:
        """Waits until the focus is at something in an open dialog."""
        expect(self.page.locator("dialog :focus")).to_have_count(1)
