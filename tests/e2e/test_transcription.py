"""A recording through the running product, as in the API contract."""

from __future__ import annotations

import io
import itertools
import re
import wave
from collections.abc import Iterator
from urllib.parse import urlsplit

import av
import httpx
import jiwer
import pytest

from tests.e2e import recordings
from tests.e2e import stack as stacks
from tests.support import speech

pytestmark = pytest.mark.e2e

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def submitted(stack: stacks.Stack) -> dict[str, object]:
    with stack.client() as client:
        response = client.post(
            "/akro/submit",
            content=recordings.conversation(seed=1),
            params={"filename": "interview.wav"},
            headers={"Content-Type": "audio/wav"},
        )
        assert response.status_code == 200, response.text
        return dict(response.json())


@pytest.fixture(scope="module")
def completed(stack: stacks.Stack, submitted: dict[str, object]) -> dict[str, object]:
    with stack.client() as client:
        return stacks.wait_for(client, int(str(submitted["id"])))


def _path(url: object) -> str:
    parts = urlsplit(str(url))
    return f"{parts.path}?{parts.query}"


@pytest.fixture
def public(stack: stacks.Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=30) as client:
        yield client


def test_submit_answers_as_the_contract_shows(stack: stacks.Stack, submitted: dict[str, object]) -> None:
    assert set(submitted) == {"id", "status", "created_at", "original_audio_url", "query_urls", "cached"}
    assert submitted["status"] == "submitted"
    assert submitted["cached"] is False
    assert TIMESTAMP.fullmatch(str(submitted["created_at"]))
    here = f"{stack.url}/transcriptions/{submitted['id']}"
    assert submitted["query_urls"] == {"get": here, "status": here}


def test_the_transcript_has_every_field_and_the_spoken_words(completed: dict[str, object]) -> None:
    assert completed["status"] == "completed", completed.get("error_message")
    fields = (
        "id status created_at updated_at filename audio_duration audio_format processing_time language non_speech "
        "num_chunks num_segments num_speakers text segments turns warnings engine_secs audio_url cached"
    )
    assert set(completed) == set(fields.split())
    assert completed["filename"] == "interview.wav"
    assert completed["audio_format"] == "opus"
    assert completed["language"] == "en"
    segments = list(completed["segments"])  # type: ignore[call-overload]
    assert completed["num_segments"] == len(segments)
    # The high voice is hard for the embedded recogniser; a transcript of other words would score 1 and more.
    assert jiwer.wer(" ".join(speech.SENTENCES[:4]), _words(completed)) < 0.75


def test_a_clear_sentence_is_recognised_word_for_word(client: httpx.Client) -> None:
    job = client.post("/submit", content=recordings.sentence(1, seed=3)).json()
    assert jiwer.wer(speech.SENTENCES[1], _words(stacks.wait_for(client, job["id"]))) < 0.2


def _words(body: dict[str, object]) -> str:
    segments = list(body["segments"])  # type: ignore[call-overload]
    return " ".join(re.sub(r"[^a-z' ]", "", s["text"].lower()) for s in segments)


def test_speakers_take_turns_and_segments_are_numbered_within_each(completed: dict[str, object]) -> None:
    segments = list(completed["segments"])  # type: ignore[call-overload]
    assert completed["num_speakers"] == 2
    assert {s["speaker"] for s in segments} == {"0", "1"}
    for speaker in ("0", "1"):
        assert [s["segment_idx"] for s in segments if s["speaker"] == speaker] == list(
            range(sum(s["speaker"] == speaker for s in segments))
        )
    assert [s["start"] for s in segments] == sorted(s["start"] for s in segments)
    assert all(0 <= s["start"] < s["end"] <= float(str(completed["audio_duration"])) + 0.01 for s in segments)
    assert all("words" not in s for s in segments)
    lines = str(completed["text"]).split("\n")
    assert all(re.match(r"SPEAKER_[01]: \S", line) for line in lines)
    assert all(a[:10] != b[:10] for a, b in itertools.pairwise(lines))


def test_words_come_only_when_asked_for(client: httpx.Client, completed: dict[str, object]) -> None:
    body = client.get(f"/transcriptions/{completed['id']}", params={"word_level_timestamps": "true"}).json()
    for segment in body["segments"]:
        words = segment["words"]
        assert " ".join(w["word"] for w in words) == segment["text"] or len(words) == len(segment["text"].split())
        assert words[0]["start"] == segment["start"]
        assert words[-1]["end"] == segment["end"]
        assert all(a["end"] <= b["start"] + 0.011 for a, b in itertools.pairwise(words))


def test_the_original_is_the_very_bytes_and_the_playback_copy_is_opus(
    public: httpx.Client, submitted: dict[str, object], completed: dict[str, object]
) -> None:
    original = public.get(_path(submitted["original_audio_url"]))
    assert original.content == recordings.conversation(seed=1)
    playback = public.get(_path(completed["audio_url"]))
    assert playback.headers["content-type"] == "audio/ogg"
    with av.open(io.BytesIO(playback.content)) as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        secs = sum(f.samples / f.sample_rate for f in container.decode(audio=0))
    assert secs == pytest.approx(float(str(completed["audio_duration"])), abs=0.1)


def test_links_serve_ranges_and_refuse_a_changed_one(public: httpx.Client, submitted: dict[str, object]) -> None:
    path = _path(submitted["original_audio_url"])
    whole = public.get(path).content
    part = public.get(path, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == whole[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    head = public.head(path)
    assert head.headers["content-length"] == str(len(whole))
    assert "interview.wav" in head.headers["content-disposition"]
    assert public.get(path, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    for broken in (path[:-1] + ("0" if path[-1] != "0" else "1"), path.replace("expires=1", "expires=2")):
        refused = public.get(broken)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "invalid_signature"


def test_the_same_bytes_again_are_answered_from_the_cache(client: httpx.Client, completed: dict[str, object]) -> None:
    same = {"content": recordings.conversation(seed=1)}
    again = client.post("/submit", params={"filename": "copy.wav"}, **same).json()
    assert again["status"] == "completed"
    assert again["cached"] is True
    assert again["id"] > int(str(completed["id"]))
    body = client.get(f"/transcriptions/{again['id']}").json()
    assert body["filename"] == "copy.wav"
    assert body["text"] == completed["text"]
    other_options = client.post("/submit", params={"non_speech": "true"}, **same).json()
    assert other_options["cached"] is False
    anew = client.post("/submit", params={"cache": "false"}, **same).json()
    assert anew["cached"] is False
    with_events = stacks.wait_for(client, other_options["id"])
    assert "events" in with_events
    assert "events" not in body
    assert stacks.wait_for(client, anew["id"])["status"] == "completed"


def test_the_list_is_newest_first_with_a_total(client: httpx.Client, completed: dict[str, object]) -> None:
    page = client.get("/transcriptions", params={"limit": 2, "offset": 0}).json()
    assert page["limit"] == 2
    assert page["offset"] == 0
    ids = [item["id"] for item in page["transcriptions"]]
    assert ids == sorted(ids, reverse=True)
    everything = client.get("/transcriptions", params={"limit": 100}).json()
    assert everything["total"] == page["total"] >= len(everything["transcriptions"]) > 1
    fields = (
        "id status created_at filename audio_duration audio_format processing_time num_speakers num_segments "
        "original_audio_url language warnings"
    )
    assert set(everything["transcriptions"][-1]) == set(fields.split())
    rest = client.get("/transcriptions", params={"limit": 2, "offset": 2}).json()
    assert not set(ids) & {item["id"] for item in rest["transcriptions"]}


def test_silence_is_a_transcript_without_words(client: httpx.Client) -> None:
    job = client.post("/submit", content=recordings.wav(speech.silence(3.0))).json()
    body = stacks.wait_for(client, job["id"])
    assert body["status"] == "completed"
    assert (body["text"], body["segments"], body["num_speakers"]) == ("", [], 0)


def test_a_stereo_float_recording_at_another_rate_is_read(client: httpx.Client) -> None:
    samples = speech.say(speech.SENTENCES[0])
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        pcm = (samples * 32767).astype("<i2")
        file.writeframes(pcm.repeat(2).tobytes())
    job = client.post("/submit", content=buffer.getvalue()).json()
    body = stacks.wait_for(client, job["id"])
    assert body["status"] == "completed"
    assert body["audio_duration"] == pytest.approx(samples.size / 16_000, abs=0.05)
