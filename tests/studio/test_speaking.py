"""Texts spoken by the page: voices, sound as it is made, verdicts, formats, and the history's renders."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import recordings
from tests.e2e.stack import until
from tests.studio.conftest import Visit
from tests.studio.sound import slow_down

pytestmark = pytest.mark.contract

CLONE_MILLIS = 300_000
SAVED: dict[str, bytes | tuple[bytes, ...]] = {"WAV": b"RIFF", "MP3": (b"ID3", b"\xff"), "Opus": b"OggS", "FLAC": b"fLaC"}
"""How a file of each format begins."""


def at_speak(visit: Visit) -> Page:
    page = visit.page("speak")
    page.get_by_role("radio", name="Harry").wait_for()
    return page


def renders(visit: Visit) -> int:
    """How many renders the history of the user's account has."""
    with visit.studio.client(visit.key) as client:
        return int(client.get("/history", params={"type": "tts"}).raise_for_status().json()["total"])


def expect_saved(page: Page, name: str, voice: str) -> None:
    """Saves what was spoken in a format, and checks the file."""
    page.get_by_label("Format").select_option(label=name)
    save = page.get_by_role("button", name="Save")
    expect(save).to_be_enabled()
    with page.expect_download() as download:
        save.click()
    assert download.value.suggested_filename == f"{voice}.{name.lower()}"
    assert Path(download.value.path()).read_bytes().startswith(SAVED[name])


def test_voices_are_filtered_chosen_and_heard(visit: Visit) -> None:
    page = at_speak(visit)
    page.get_by_role("searchbox", name="Filter by name or language").fill("harry")
    expect(page.get_by_role("radiogroup", name="Voices").get_by_role("radio")).to_have_count(1)
    slow_down(page)
    with page.expect_response("**/vui/voices/*/preview") as answer:
        page.get_by_role("button", name="Hear Harry").click()
    assert answer.value.header_value("content-type") == "audio/wav"
    expect(page.get_by_role("button", name="Stop Harry")).to_be_visible()
    page.get_by_role("button", name="Stop Harry").click()
    expect(page.get_by_role("button", name="Hear Harry")).to_be_visible()


def test_a_text_is_spoken_with_a_verdict_for_each_passage_and_saved(visit: Visit) -> None:
    page = at_speak(visit)
    before = renders(visit)
    page.get_by_role("radio", name="Harry").check()
    page.get_by_label("Text", exact=True).fill("The garden is green. ")
    page.get_by_role("button", name="Insert [laugh]").click()
    page.keyboard.insert_text("The train leaves at seven.")
    page.get_by_role("button", name="Speak", exact=True).click()
    expect(page.get_by_text("First sound after")).to_be_visible()
    expect(page.get_by_text("passages heard as written")).to_be_visible()
    spoken = page.get_by_role("region", name="Spoken text")
    expect(spoken).to_contain_text("The train leaves at seven.")
    expect(spoken.get_by_text("Heard as written")).not_to_have_count(0)
    for name in SAVED:
        expect_saved(page, name, "harry")
    assert renders(visit) == before + 1, "a file is made from the stored sound, and the text is not rendered again"


def test_the_word_being_said_is_lit_and_speaking_can_be_stopped(visit: Visit) -> None:
    page = at_speak(visit)
    page.get_by_label("Text", exact=True).fill("One two three four five six seven eight nine ten. " * 12)
    page.get_by_label("Check each passage").uncheck()
    speak = page.get_by_role("button", name="Speak", exact=True)
    pictured = str(speak.locator("path").get_attribute("d"))
    speak.click()
    page.locator(".read-along span[data-lit]").wait_for()
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop.locator("path")).not_to_have_attribute("d", pictured)
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    stop.click()
    expect(page.get_by_text("Stopped")).to_be_visible()
    expect(speak.locator("path")).to_have_attribute("d", pictured)
    expect_saved(page, "WAV", "maeve")
    # What was stopped is known to this page only as the sound that came.
    expect(page.get_by_label("Format").get_by_role("option", name="MP3")).to_be_disabled()


def test_a_render_of_the_history_has_its_text_and_sound(visit: Visit) -> None:
    text = "This sentence is for the history."
    with visit.studio.client(visit.key) as client:
        sent = client.post("/vui/v1/tts", json={"voice": "maeve", "input": text, "verify_chunks": False})
        sent.raise_for_status()
        # A render is in the history within a second of its end.
        until(lambda: client.get("/history/search", params={"q": "sentence"}).json()["data"], "the render is found", 120)
    page = visit.page("history?type=tts")
    expect(page.get_by_role("link", name=text).first).to_contain_text("Spoken by Maeve")
    page = visit.page("history?q=sentence")
    page.get_by_role("link", name="Spoken by Maeve").click()
    expect(page.get_by_text(text)).to_be_visible()
    page.wait_for_function("() => document.querySelector('audio')?.duration > 1")
    before = renders(visit)
    for name in SAVED:
        expect_saved(page, name, "maeve")
    assert renders(visit) == before


def test_a_voice_is_cloned_with_consent_and_deleted(visit: Visit) -> None:
    page = at_speak(visit)
    page.get_by_role("button", name="Clone").click()
    dialog = page.get_by_role("dialog", name="A voice from a recording")
    dialog.get_by_label("Name", exact=True).fill("Mine")
    clip = {"name": "clip.wav", "mimeType": "audio/wav", "buffer": recordings.sentence(3)}
    dialog.locator("input[type=file]").first.set_input_files([clip])
    dialog.get_by_role("button", name="Make the voice").click()
    expect(dialog.get_by_role("alert")).to_contain_text("consent")
    dialog.locator("input[type=file]").last.set_input_files([{**clip, "name": "consent.wav"}])
    dialog.get_by_role("button", name="Make the voice").click()
    page.get_by_role("radio", name="Mine").wait_for(timeout=CLONE_MILLIS)
    expect(page.get_by_role("radio", name="Mine")).to_be_checked()
    with visit.studio.client(visit.key) as client:
        (voice,) = client.get("/vui/v1/voices/mine").json()["voices"]
        assert voice["name"] == "Mine"
        page.get_by_role("button", name="Delete the voice Mine").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
        expect(page.get_by_role("radio", name="Mine")).to_have_count(0)
        assert client.get("/vui/v1/voices/mine").json()["voices"] == []
