"""A transcript beside its sound: the waveform's data, playing, finding, correcting, downloads."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.contract.gateway import OTHER_KEY
from tests.e2e import recordings
from tests.e2e.stack import until
from tests.studio.conftest import Visit, sign_in
from tests.studio.server import Studio

pytestmark = pytest.mark.contract

SEGMENTS = [["今日", "は、", "いい"], ["天気", "です。"], ["Don\u2019t", "\u2013", "stop,", "now"], ["now"]]
QUERIES = {
    "今日は、いい天気": [[{"s": 0, "from": 0, "to": 2}, {"s": 1, "from": 0, "to": 0}]],
    "は いい": [[{"s": 0, "from": 1, "to": 2}]],
    "don't stop": [[{"s": 2, "from": 0, "to": 2}]],
    "NOW": [[{"s": 2, "from": 3, "to": 3}], [{"s": 3, "from": 0, "to": 0}]],
    "stop now now": [[{"s": 2, "from": 2, "to": 3}, {"s": 3, "from": 0, "to": 0}]],
    "nowhere": [],
    " ? ": [],
}
REGIONS = """(speakers) => {
  const canvas = document.querySelector(".waveform canvas");
  const probe = new OffscreenCanvas(1, 1).getContext("2d");
  const row = canvas.getContext("2d").getImageData(0, canvas.height - 2, canvas.width, 1).data;
  return speakers.every(([speaker, share]) => {
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--speaker-${speaker}`);
    probe.fillRect(0, 0, 1, 1);
    const wanted = probe.getImageData(0, 0, 1, 1).data;
    const at = 4 * Math.round(share * canvas.width);
    return [0, 1, 2].every((part) => Math.abs(row[at + part] - wanted[part]) <= 1);
  });
}"""
"""Whether the strip below the waveform has each speaker's colour at a place, given as a share of the width."""
FIND = """async ([texts, query]) => {
  const { Transcript } = await import(new URL("js/core/transcript.js", document.baseURI));
  const words = (all) => all.map((word) => ({ word, start: 0, end: 0 }));
  const segments = texts.map((all) => ({ text: all.join(" "), words: words(all) }));
  return new Transcript(segments, { words: [], speakers: {} }).find(query);
}"""


def opened(visit: Visit, talk: int, at: float = 0.0) -> Page:
    page = visit.page(f"transcripts/{talk}?at={at}")
    page.locator(".word").first.wait_for()
    return page


def test_peaks_follow_the_sound_and_are_no_other_accounts(platform: Studio, key: str, talk: int) -> None:
    path = f"/transcriptions/{talk}/peaks"
    home = Path(platform.gateway.services.settings.home)
    assert list(home.rglob("playback/studio/*.peaks")), "the worker sends them"
    with platform.client(key) as client:
        body = client.get(path, params={"points": 400}).raise_for_status().json()
        fewer = client.get(path, params={"points": 10}).json()["peaks"]
        segments = client.get(f"/transcriptions/{talk}").json()["segments"]
        assert client.get(path, params={"points": 0}).status_code == 422
    peaks, per_sec = body["peaks"], len(body["peaks"]) / body["duration_secs"]
    assert len(fewer) == 10
    assert max(fewer) == max(peaks) > 40
    gap = round((segments[0]["end"] + segments[1]["start"]) / 2 * per_sec)
    assert peaks[gap] < 10 < max(peaks[: gap - 2])
    with platform.client(OTHER_KEY) as client:
        assert client.get(path).status_code == 404


def test_speakers_are_coloured_regions_of_the_waveform(visit: Visit, talk: int) -> None:
    page = opened(visit, talk)
    page.locator(".waveform[data-drawn]").wait_for()
    with visit.studio.client(visit.key) as client:
        body = client.get(f"/transcriptions/{talk}").json()
    whole = body["audio_duration"]
    first = {one["speaker"]: (one["start"] + one["end"]) / 2 / whole for one in reversed(body["segments"])}
    assert len(first) == 2
    page.wait_for_function(REGIONS, arg=sorted(first.items()))


def test_corrections_are_revisions_beside_the_engines_text(platform: Studio, key: str, talk: int) -> None:
    path = f"/transcriptions/{talk}/corrections"
    with platform.client(key) as client:
        before = client.get(path).json()
        words = [{"segment": 0, "word": 1, "text": "ancient"}]
        made = client.patch(path, json={"revision": before["revision"], "words": words}).raise_for_status().json()
        assert (made["revision"], made["words"]) == (before["revision"] + 1, words)
        stale = client.patch(path, json={"revision": before["revision"], "words": []})
        assert (stale.status_code, stale.json()["error"]["code"]) == (409, "not_newest")
        wrong = client.patch(path, json={"revision": made["revision"], "words": [{**words[0], "word": 999}]})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "words[0]")
        assert "ancient" not in client.get(f"/transcriptions/{talk}").json()["text"]
        back = [{**words[0], "text": ""}]
        assert client.patch(path, json={"revision": made["revision"], "words": back}).json()["words"] == []
    with platform.client(OTHER_KEY) as client:
        assert client.get(path).status_code == 404


def test_deleting_a_transcript_removes_its_waveform_and_corrections(platform: Studio, key: str) -> None:
    home = Path(platform.gateway.services.settings.home)

    def made() -> set[Path]:
        return {*home.rglob("*.corrections.json"), *home.rglob("*.peaks")}

    before = made()
    job_id = platform.transcribed(recordings.sentence(4, seed=24), "gone.wav", key)
    with platform.client(key) as client:
        change = {"revision": 0, "speakers": {"0": "Ada"}}
        client.patch(f"/transcriptions/{job_id}/corrections", json=change).raise_for_status()
        assert sorted(path.suffix for path in made() - before) == [".json", ".peaks"]
        client.delete(f"/transcriptions/{job_id}").raise_for_status()
    until(lambda: made() == before, "waveform and corrections are erased", 120)


def test_a_word_plays_from_its_second_and_the_spoken_word_is_lit(visit: Visit, talk: int) -> None:
    page = opened(visit, talk)
    with visit.studio.client(visit.key) as client:
        body = client.get(f"/transcriptions/{talk}", params={"word_level_timestamps": True}).json()
    word = body["segments"][1]["words"][2]
    page.locator('[data-word="1:2"]').click()
    page.wait_for_function("at => document.querySelector('audio').currentTime >= at", arg=word["start"])
    expect(page.locator('.segment[data-segment="1"] .word[data-lit]')).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    page.locator(".words").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".word[data-lit]")).to_have_count(1)


def test_a_search_marks_words_and_a_link_opens_at_its_second(visit: Visit, talk: int) -> None:
    page = opened(visit, talk, at=4.0)
    page.wait_for_function("() => Math.abs(document.querySelector('audio').currentTime - 4) < 0.2")
    page.get_by_role("searchbox", name="Search in this transcript").fill("the garden")
    expect(page.get_by_text("1 of 2")).to_be_visible()
    expect(page.locator(".word[data-found]")).to_have_count(4)
    # Play plays what was found.
    expect(page.locator(".word[data-lit]")).to_have_attribute("data-chosen", "")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 of 2")).to_be_visible()
    expect(page.locator(".word[data-lit]")).to_have_attribute("data-chosen", "")


def test_a_phrase_is_found_across_the_border_of_segments(visit: Visit, talk: int) -> None:
    page = opened(visit, talk)
    with visit.studio.client(visit.key) as client:
        segments = client.get(f"/transcriptions/{talk}", params={"word_level_timestamps": True}).json()["segments"]
    ends, begins = segments[0]["words"][-2:], segments[1]["words"][:2]
    phrase = " ".join(word["word"].strip(" .,?!").upper() for word in [*ends, *begins])
    page.get_by_role("searchbox", name="Search in this transcript").fill(f" {phrase}")
    expect(page.get_by_text("1 of 1")).to_be_visible()
    for segment, count in ((0, 2), (1, 2), (2, 0)):
        marked = page.locator(f'.segment[data-segment="{segment}"] .word[data-found][data-chosen]')
        expect(marked).to_have_count(count)
    expect(page.locator(".word[data-lit]")).to_have_text(ends[0]["word"].strip())


def test_words_are_found_as_their_script_writes_them(visit: Visit) -> None:
    page = visit.blank()
    for query, pieces in QUERIES.items():
        assert page.evaluate(FIND, [SEGMENTS, query]) == pieces, query


def test_a_rounded_second_lights_its_own_word_and_brings_it_into_view(visit: Visit, talk: int) -> None:
    with visit.studio.client(visit.key) as client:
        segments = client.get(f"/transcriptions/{talk}", params={"word_level_timestamps": True}).json()["segments"]
    last = len(segments) - 1
    page = visit.page(f"transcripts/{talk}?at={segments[last]['words'][0]['start'] - 0.0004}", phone=True)
    word = page.locator(f'[data-word="{last}:0"]')
    page.wait_for_function("() => document.querySelector('audio')?.currentTime > 0")
    expect(word).to_have_attribute("data-lit", "")
    expect(word).to_be_in_viewport(ratio=1)


def test_what_can_be_done_with_words_is_said_on_the_same_screen(visit: Visit, talk: int) -> None:
    page = visit.page(f"transcripts/{talk}")
    expect(page.get_by_text("Choose a word to hear it from there.")).to_be_in_viewport(ratio=1)
    expect(page.locator(".words")).to_be_in_viewport(ratio=1)


def test_on_a_phone_the_words_begin_in_the_upper_half(visit: Visit, talk: int) -> None:
    page = visit.page(f"transcripts/{talk}", phone=True)
    page.locator(".word").first.wait_for()
    page.locator(".waveform[data-drawn]").wait_for()
    page.evaluate("scrollTo(0, 0)")
    assert page.evaluate("document.querySelector('.words').getBoundingClientRect().top < innerHeight / 2")
    for name in ("Download", "Delete", "Correct words"):
        expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    search = page.get_by_role("searchbox", name="Search in this transcript")
    before = search.bounding_box()
    search.fill("the")
    expect(page.get_by_role("button", name="Next match")).to_be_in_viewport(ratio=1)
    assert before
    assert search.bounding_box() == {**before, "width": (search.bounding_box() or before)["width"]}


def test_speakers_are_renamed_and_words_corrected(visit: Visit, talk: int) -> None:
    page = opened(visit, talk)
    page.get_by_role("button", name="Rename Speaker 1").click()
    page.get_by_role("textbox", name="Name").fill("Ada")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Rename Ada")).to_be_visible()
    expect(page.locator(".segment .speaker", has_text="Ada").first).to_be_visible()
    page.get_by_role("button", name="Correct words").click()
    page.locator('[data-word="0:2"]').click()
    page.get_by_role("textbox", name="What was said").fill("gentleman")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".word[data-corrected]", has_text="gentleman")).to_be_visible()
    page.reload()
    sign_in(page, visit.key)
    expect(page.locator(".word[data-corrected]", has_text="gentleman")).to_be_visible()


def test_a_transcript_is_saved_in_each_format(visit: Visit, talk: int) -> None:
    page = opened(visit, talk)
    page.get_by_role("button", name="Download").click()
    beginnings = {"Text": b"SPEAKER_0", "SRT": b"1\n", "WebVTT": b"WEBVTT", "JSON": b"{", "Word": b"PK"}
    for label, beginning in beginnings.items():
        with page.expect_download() as download:
            page.get_by_role("button", name=label, exact=True).click()
        saved = download.value
        assert saved.suggested_filename.startswith("river talk.")
        assert Path(saved.path()).read_bytes().startswith(beginning), label
