"""Recordings sent from the page: chosen, dropped, or of the microphone; each is followed until its transcript is opened."""

from __future__ import annotations

import base64
import re

import pytest
from playwright.sync_api import expect

from tests.e2e import recordings
from tests.studio.conftest import Visit
from tests.studio.sound import hear_sentence

pytestmark = pytest.mark.contract

DROP = """(area, [name, encoded]) => {
  const carried = new DataTransfer();
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  carried.items.add(new File([bytes], name, { type: "audio/wav" }));
  const options = { dataTransfer: carried, bubbles: true, cancelable: true };
  const event = (type) => area.dispatchEvent(new DragEvent(type, options));
  event("dragover");
  const shown = area.hasAttribute("data-over");
  event("drop");
  return [shown, area.hasAttribute("data-over")];
}"""


def test_a_chosen_file_is_followed_while_other_views_are_shown_and_opened(visit: Visit) -> None:
    page = visit.page("transcribe")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").press("Enter")
    files = [{"name": "garden.wav", "mimeType": "audio/wav", "buffer": recordings.sentence(1)}]
    chooser.value.set_files(files)
    card = page.get_by_role("article").filter(has_text="garden.wav")
    expect(card.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", name="History", level=1)).to_be_visible()
    page.get_by_role("link", name="Transcribe", exact=True).click()
    expect(card).to_contain_text("window")  # a word of it
    card.get_by_role("link", name="Open the transcript").click()
    expect(page.get_by_role("heading", name="garden.wav")).to_be_visible()
    expect(page.locator(".word", has_text="window")).to_be_visible()


def test_a_followed_recording_shows_every_word_once(visit: Visit) -> None:
    page = visit.page("transcribe")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").press("Enter")
    files = [{"name": "walk.wav", "mimeType": "audio/wav", "buffer": recordings.long(40, 7)}]
    chooser.value.set_files(files)
    card = page.get_by_role("article").filter(has_text="walk.wav")
    expect(card.get_by_role("link", name="Open the transcript")).to_be_visible()
    with visit.studio.client(visit.key) as client:
        job = client.get("/transcriptions").json()["transcriptions"][0]
        segments = client.get(f"/transcriptions/{job['id']}").json()["segments"]
    assert job["filename"] == "walk.wav"
    assert card.locator(".arriving").inner_text().split() == " ".join(one["text"] for one in segments).split()


def test_a_dropped_file_is_sent(visit: Visit) -> None:
    page = visit.page("transcribe")
    encoded = base64.b64encode(recordings.sentence(2)).decode()
    area = page.get_by_role("region", name="Recordings to transcribe")
    assert area.evaluate(DROP, ["dropped.wav", encoded]) == [True, False]
    card = page.get_by_role("article").filter(has_text="dropped.wav")
    expect(card.get_by_role("link", name="Open the transcript")).to_be_visible()


def test_a_file_that_is_no_recording_is_refused_in_the_apis_words(visit: Visit) -> None:
    page = visit.page("transcribe")
    files = [{"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not a recording at all, only words"}]
    page.get_by_label("Choose files").last.set_input_files(files)
    expect(page.get_by_role("article").get_by_role("alert")).to_be_visible()
    visit.forgive("4")


def test_the_microphone_is_recorded_and_transcribed(visit: Visit) -> None:
    page = visit.page("transcribe")
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_text(re.compile(r"^\d+:(?!00)\d\d$"))).to_be_visible()
    hear_sentence(page.locator("meter"))
    page.get_by_role("button", name="End recording").click()
    page.get_by_role("link", name="Open the transcript").click()
    expect(page.locator(".words")).to_contain_text("weather")
