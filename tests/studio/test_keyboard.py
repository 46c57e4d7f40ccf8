"""Each view by Tab, Enter, Space and arrows alone: what is done with it, and that the focus is never lost."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import FilePayload, expect

from tests.e2e import recordings
from tests.e2e.stack import until
from tests.studio.conftest import Visit
from tests.studio.keyboard import Keyboard
from tests.studio.sound import hear_sentence, slow_down, wait_recorded
from tests.studio.test_speaking import CLONE_MILLIS
from tests.studio.test_talking import HEARD_MILLIS
from tests.support.realtime_kit import written

pytestmark = pytest.mark.contract


def signed_in(visit: Visit, menu: str, key: str | None = None) -> Keyboard:
    """At a view, from the sign-in on by keyboard."""
    page = visit.blank()
    keys = Keyboard(page)
    keys.expect_at("API key")
    keys.write(key or visit.key)
    keys.press("Enter")
    page.get_by_role("navigation", name="Views").wait_for()
    keys.to(menu)
    keys.press("Enter")
    return keys


def test_a_text_is_spoken_in_another_voice_and_saved(visit: Visit) -> None:
    keys = signed_in(visit, "Speak")
    page = keys.page
    page.get_by_role("radio", name="Harry").wait_for()
    keys.to("Text")
    keys.write("The garden is green.")
    keys.to("Insert [laugh]")
    keys.press("Enter")
    keys.expect_at("Text")
    page.keyboard.type("The train leaves.")
    expect(page.get_by_label("Text", exact=True)).to_have_value("The garden is green. [laugh] The train leaves.")
    keys.to("Filter by name")
    voices = page.get_by_role("radiogroup", name="Voices")
    first = voices.get_by_role("radio", checked=True).get_attribute("value")
    keys.press("Tab", "ArrowDown")
    chosen = voices.get_by_role("radio", checked=True)
    expect(chosen).not_to_have_attribute("value", first or "")
    expect(chosen).to_be_focused()
    name = str(chosen.evaluate("radio => radio.labels[0].textContent")).split()[0]
    keys.press("Tab")
    keys.expect_at(f"Hear {name}", exact=True)
    slow_down(page)
    keys.press("Enter")
    keys.expect_at(f"Stop {name}")
    keys.press("Space")
    keys.expect_at(f"Hear {name}")
    keys.press("Tab")
    keys.expect_left("Hear")  # the keyboard stops at the buttons of the chosen voice only
    keys.to("Speak", back=True)
    keys.press("Space")
    expect(page.get_by_text("2 of 2 passages heard as written")).to_be_visible()
    page.get_by_role("button", name="Speak", exact=True).wait_for()  # the sound has ended
    keys.expect_at("Speak", exact=True)
    keys.to("Format")
    keys.press("ArrowDown", "Tab")
    keys.expect_at("Save", exact=True)
    with page.expect_download() as download:
        keys.press("Enter")
    assert download.value.suggested_filename.endswith(".mp3")
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    keys.expect_at("Save", exact=True)


def test_a_voice_is_cloned_heard_and_deleted(visit: Visit) -> None:
    keys = signed_in(visit, "Speak")
    page = keys.page
    clip: FilePayload = {"name": "clip.wav", "mimeType": "audio/wav", "buffer": recordings.sentence(3)}
    # Before the key that asks for it, for the browser opens a chooser of its own until it is told of this one.
    page.on("filechooser", lambda chooser: chooser.set_files([clip]))
    page.get_by_role("radio", name="Harry").wait_for()
    keys.to("Clone")
    keys.press("Enter")
    keys.expect_at("Name")
    for _ in range(20):
        keys.to("")  # around the dialog, and never out of it
    keys.press("Escape")
    keys.expect_at("Clone")
    expect(page.locator("dialog")).to_have_count(0)
    keys.press("Enter")
    keys.expect_at("Name")
    keys.write("Mine")
    keys.to("Recording of the voice")
    keys.press("Enter")
    expect(page.get_by_role("button", name="Recording of the voice")).to_have_value(re.compile(r"clip\.wav$"))
    keys.to("Make the voice")
    keys.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("consent")
    keys.expect_at("Make the voice", exact=True)
    keys.to("Record", back=True)
    keys.press("Enter")
    keys.expect_at("End recording")
    wait_recorded(page, 6)
    keys.press("Space")
    keys.expect_at("Record")
    keys.to("Make the voice")
    keys.press("Enter")
    page.get_by_role("radio", name="Mine").wait_for(timeout=CLONE_MILLIS)
    keys.expect_at("Clone")
    keys.to("Mine")
    keys.press("Tab")
    keys.expect_at("Hear Mine")
    slow_down(page)
    with page.expect_response("**/vui/v1/voices/*/preview") as heard:
        keys.press("Enter")
    assert heard.value.header_value("content-type") == "audio/wav"
    keys.expect_at("Stop Mine")
    keys.press("Enter", "Tab")
    keys.expect_at("Delete the voice Mine", exact=True)
    keys.press("Enter")
    keys.expect_at("Cancel")
    keys.press("Enter")
    keys.expect_at("Delete the voice Mine")
    keys.press("Enter")
    keys.expect_at("Cancel")
    keys.to("Delete", back=True)
    keys.press("Enter")
    expect(page.get_by_role("radio", name="Mine")).to_have_count(0)
    keys.expect_at(page.get_by_role("radio", checked=True).evaluate("radio => radio.labels[0].textContent"))


def test_a_key_is_made_copied_and_revoked(visit: Visit) -> None:
    keys = signed_in(visit, "Access", visit.operator_key)
    page = keys.page
    keys.to("New key")
    keys.press("Enter")
    keys.expect_at("Name")
    keys.write("by keyboard")
    keys.press("Tab")
    keys.expect_at("Account", exact=True)
    keys.to("Talk")
    keys.press("Space")
    keys.to("Expires")
    keys.press("ArrowDown", "Tab")
    keys.expect_at("Create", exact=True)
    keys.press("Enter")
    keys.expect_at("Copy")
    key = page.locator(".secret").inner_text()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    keys.press("Enter")
    keys.expect_at("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == key
    with visit.studio.client(key) as client:
        assert client.get("/v1/account").json()["scopes"] == ["history", "speak", "transcribe"]
    keys.press("Escape")
    keys.expect_at("New key")
    keys.to("Revoke by keyboard")
    keys.press("Enter")
    keys.expect_at("Cancel")
    keys.to("Revoke", back=True)
    keys.press("Enter")
    expect(page.get_by_role("row").filter(has_text="by keyboard").get_by_text("Revoked")).to_be_visible()
    keys.expect_at("New key")


def test_a_webhook_is_made_tested_sent_again_and_deleted(visit: Visit, receiver: tuple[str, list[bytes]]) -> None:
    url, got = receiver
    keys = signed_in(visit, "Access")
    page = keys.page
    keys.to("New webhook")
    keys.press("Enter")
    keys.expect_at("Address")
    keys.write(url)
    keys.press("Enter")
    keys.expect_at("Copy")
    keys.to("whsec_", back=True)
    keys.to("Close")
    keys.press("Enter")
    keys.expect_at("New webhook")
    keys.to(f"Send a test to {url}")
    keys.press("Enter")
    until(lambda: got, "the test event is received", 120)
    keys.expect_at(f"Send a test to {url}", exact=True)
    keys.to("Deliveries to", back=True)
    keys.press("Enter")
    keys.expect_in_dialog()
    page.get_by_role("button", name="Send webhook.test again").wait_for()
    keys.to("Send webhook.test again")
    keys.press("Enter")
    until(lambda: len(got) >= 2, "the event is received again", 120)
    keys.expect_at("Send webhook.test again")
    keys.press("Escape")
    keys.expect_at("Deliveries to")
    keys.to("Delete the webhook")
    keys.press("Enter")
    keys.expect_at("Cancel")
    keys.to("Delete", back=True)
    keys.press("Enter")
    expect(page.get_by_text("There are no webhooks.")).to_be_visible()
    keys.expect_at("New webhook")


def test_a_conversation_is_held_in_writing_and_by_holding_a_key(visit: Visit) -> None:
    visit.studio.model.answers += [written("It is written.")]
    keys = signed_in(visit, "Talk")
    page = keys.page
    page.set_default_timeout(HEARD_MILLIS)
    keys.to("Options")
    keys.press("Enter")
    keys.to("Hands-free")
    keys.press("ArrowRight")
    keys.expect_at("Push to talk", exact=True)
    keys.to("Start talking", back=True)
    keys.press("Enter")
    keys.expect_at("End")
    keys.to("Or write something")
    keys.write("What is written?")
    keys.press("Enter")
    expect(page.locator("li[data-role=assistant]").first).to_contain_text("It is written.", timeout=HEARD_MILLIS)
    keys.expect_at("Or write something", exact=True)
    keys.to("Hold to talk", back=True)
    page.keyboard.down("Space")
    expect(page.get_by_text("Listening", exact=True)).to_be_visible()
    hear_sentence(page.locator(".orb"))
    page.keyboard.up("Space")
    expect(page.locator("li[data-role=user]:visible p").nth(1)).not_to_be_empty(timeout=HEARD_MILLIS)
    keys.to("End", back=True)
    keys.press("Space")
    keys.expect_at("Start talking")
    keys.to("Open it in the history")
    keys.press("Enter")
    page.locator("audio").wait_for()
    keys.to("Play")


def test_filters_keep_the_focus_and_a_typed_date_is_taken_when_it_is_whole(visit: Visit, talk: int) -> None:
    keys = signed_in(visit, "History")
    page = keys.page
    page.get_by_role("link", name="river talk.wav").first.wait_for()
    keys.to("All")
    keys.press_until_drawn_anew("ArrowRight")
    page.wait_for_url("**type=transcription")
    keys.expect_at("Transcripts")
    keys.press_until_drawn_anew("ArrowLeft")
    page.wait_for_url("**/#/history")
    keys.expect_at("All")
    keys.to("From")
    page.keyboard.type("01022020")
    keys.expect_at("From")
    assert "since" not in page.url
    keys.press_until_drawn_anew("Enter")
    page.wait_for_url("**since=2020-01-02")
    keys.expect_at("From")
    keys.to("river talk.wav")
