"""The Python client of OpenAI, unmodified but for address and key: transcriptions, translations, speech, models, errors."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import av
import openai
import pysubs2
import pytest
import pytest_asyncio
import webvtt
from openai import AsyncOpenAI

from tests.contract.gateway import USER_KEY
from tests.contract.production_platform import Platform
from tests.e2e import recordings
from tests.support import speech
from tests.support.speech import SENTENCES

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="session")]

SAID = ("talk.wav", recordings.sentence(0), "audio/wav")
WORDS = SENTENCES[0].split()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(here: Platform) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{here.client.base_url}/v1", api_key=USER_KEY, max_retries=0, timeout=60) as made:
        yield made


def heard(text: str) -> int:
    """How many words of the sentence stand in a text."""
    return len(set(WORDS) & set(text.lower().replace(".", "").replace(",", "").split()))


async def test_json_with_its_log_probabilities(client: AsyncOpenAI) -> None:
    answer = await client.audio.transcriptions.with_raw_response.create(
        file=SAID, model="gpt-4o-transcribe", include=["logprobs"], language="en", prompt="A walk.", temperature=0
    )
    found = answer.parse()
    assert heard(found.text) >= len(set(WORDS)) - 2
    assert answer.headers["x-request-id"]
    assert answer.headers["x-fluxions-model"]
    assert found.logprobs is not None
    assert "".join(one.token or "" for one in found.logprobs) == found.text
    assert all(one.logprob is not None and one.logprob <= 0 for one in found.logprobs)
    assert found.usage is not None
    assert found.usage.type == "duration"


async def test_verbose_json_with_words_and_segments(client: AsyncOpenAI) -> None:
    found = await client.audio.transcriptions.create(
        file=SAID, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert found.language == "english"
    assert 2 < found.duration < 8
    assert found.words
    assert found.segments
    assert [word.start for word in found.words] == sorted(word.start for word in found.words)
    assert found.segments[0].avg_logprob <= 0
    assert found.text == " ".join(segment.text for segment in found.segments)


async def test_text_and_subtitles_come_as_they_are(client: AsyncOpenAI) -> None:
    text = await client.audio.transcriptions.create(file=SAID, model="whisper-1", response_format="text")
    srt = await client.audio.transcriptions.create(file=SAID, model="whisper-1", response_format="srt")
    vtt = await client.audio.transcriptions.create(file=SAID, model="whisper-1", response_format="vtt")
    assert heard(text) >= len(set(WORDS)) - 2
    assert heard(" ".join(line.plaintext for line in pysubs2.SSAFile.from_string(srt))) == heard(text)
    assert heard(" ".join(caption.text for caption in webvtt.from_buffer(io.StringIO(vtt)))) == heard(text)


async def test_a_stream_of_deltas(client: AsyncOpenAI) -> None:
    stream = await client.audio.transcriptions.create(file=SAID, model="gpt-4o-mini-transcribe", stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events[-1:]] == ["transcript.text.done"]
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == events[-1].text
    assert events[-1].usage.total_tokens > 20


async def test_speakers_told_apart(client: AsyncOpenAI) -> None:
    talk = ("talk.wav", recordings.conversation(), "audio/wav")
    found = await client.audio.transcriptions.create(
        file=talk, model="gpt-4o-transcribe-diarize", response_format="diarized_json", chunking_strategy="auto"
    )
    assert {segment.speaker for segment in found.segments} == {"A", "B"}
    assert all(segment.type == "transcript.text.segment" for segment in found.segments)
    vad: Any = {"type": "server_vad", "threshold": 0.5}
    stream = await client.audio.transcriptions.create(
        file=talk, model="gpt-4o-transcribe-diarize", response_format="diarized_json", chunking_strategy=vad, stream=True
    )
    events = [event async for event in stream]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert [(s.speaker, s.text) for s in segments] == [(s.speaker, s.text) for s in found.segments]


async def test_a_translation(client: AsyncOpenAI) -> None:
    with pytest.deprecated_call():
        found = await client.audio.translations.create(file=SAID, model="whisper-1", response_format="verbose_json")
    assert found.language == "english"
    assert heard(found.text) >= 4


@pytest.mark.parametrize(
    ("fmt", "magic", "media"),
    [
        ("mp3", (b"\xff\xf3", b"\xff\xfb", b"ID3"), "audio/mpeg"),
        ("opus", (b"OggS",), "audio/ogg"),
        ("aac", (b"\xff\xf1", b"\xff\xf9"), "audio/aac"),
        ("flac", (b"fLaC",), "audio/flac"),
        ("wav", (b"RIFF",), "audio/wav"),
    ],
)
async def test_speech_in_every_format(client: AsyncOpenAI, fmt: Any, magic: tuple[bytes, ...], media: str) -> None:
    answer = await client.audio.speech.with_raw_response.create(
        input="The river is calm.", model="tts-1", voice="nova", response_format=fmt, instructions="Softly."
    )
    sound = answer.content
    assert sound.startswith(magic)
    assert answer.headers["content-type"].startswith(media)
    with av.open(io.BytesIO(sound)) as container:
        secs = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert 0.8 < secs < 4


async def test_pcm_is_as_long_as_its_speed_makes_it(client: AsyncOpenAI) -> None:
    secs = {}
    for speed in (0.25, 1.0, 4.0):
        answer = await client.audio.speech.create(
            input="The river is calm.", model="tts-1", voice={"id": "maeve"}, response_format="pcm", speed=speed
        )
        secs[speed] = len(answer.content) / 48_000
    assert 3 < secs[0.25] / secs[1.0] < 5
    assert 0.2 < secs[4.0] / secs[1.0] < 0.35


async def test_speech_as_events(client: AsyncOpenAI) -> None:
    request = client.audio.speech.with_streaming_response.create(
        input="The river is calm.", model="gpt-4o-mini-tts", voice="cedar", response_format="pcm", stream_format="sse"
    )
    async with request as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") async for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    told = [json.loads(event) for event in events[:-1]]
    assert [one["type"] for one in told[-1:]] == ["speech.audio.done"]
    assert told[-1]["usage"]["total_tokens"] == told[-1]["usage"]["input_tokens"] + told[-1]["usage"]["output_tokens"]
    assert len(b"".join(base64.b64decode(one["audio"]) for one in told[:-1])) > 24_000


async def test_models_by_id_and_by_alias(client: AsyncOpenAI) -> None:
    listed = [model async for model in client.models.list()]
    assert len(listed) == 5
    for model in listed:
        assert (await client.models.retrieve(model.id)).id == model.id
    assert (await client.models.retrieve("whisper-1")).owned_by == "fluxions"
    with pytest.raises(openai.NotFoundError) as missing:
        await client.models.retrieve("someone/else's")
    assert missing.value.code == "model_not_found"


async def test_errors_are_those_the_client_knows(client: AsyncOpenAI, here: Platform) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        await client.audio.speech.create(input="Hello.", model="tts-1", voice="nobody")
    assert (wrong.value.param, wrong.value.code) == ("voice", "unknown_voice")
    assert wrong.value.request_id
    with pytest.raises(openai.BadRequestError) as none:
        await client.audio.transcriptions.create(file=("page.html", b"<html></html>" * 50), model="whisper-1")
    assert (none.value.code, none.value.param) == ("not_audio", "file")
    stranger = client.with_options(api_key="fx_nobody_has_this_key")
    with pytest.raises(openai.AuthenticationError):
        await stranger.audio.transcriptions.create(file=SAID, model="whisper-1")


def data_url(wav: bytes) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(wav).decode()}"


async def test_known_speakers_are_named_and_others_keep_their_letters(client: AsyncOpenAI) -> None:
    clip = recordings.wav(speech.say(SENTENCES[5], *speech.HIGH_VOICE))
    talk = ("talk.wav", recordings.conversation(), "audio/wav")
    ask: Any = {"file": talk, "model": "gpt-4o-transcribe-diarize", "response_format": "diarized_json"}
    found = await client.audio.transcriptions.create(
        **ask, known_speaker_names=["Ada"], known_speaker_references=[data_url(clip)]
    )
    plain = await client.audio.transcriptions.create(**ask)
    assert [s.speaker for s in plain.segments] == [{"Ada": "B"}.get(s.speaker, s.speaker) for s in found.segments]
    assert {s.speaker for s in found.segments} == {"A", "Ada"}


@pytest.mark.parametrize(
    ("clip", "why"),
    [
        ("http://example.org/clip.wav", "data URL"),
        ("data:audio/wav;base64,***", "base64"),
        (data_url(b"no sound" * 100), "known_speaker_references.0"),
        (data_url(recordings.wav(speech.say("yes"))), "s long"),
        (data_url(recordings.conversation()), "two people"),
    ],
)
async def test_a_reference_clip_that_cannot_be_used_is_refused(client: AsyncOpenAI, clip: str, why: str) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        await client.audio.transcriptions.create(
            file=SAID,
            model="gpt-4o-transcribe-diarize",
            response_format="diarized_json",  # type: ignore[arg-type]
            known_speaker_names=["Ada"],
            known_speaker_references=[clip],
        )
    assert why in wrong.value.message
    assert str(wrong.value.param).startswith("known_speaker_references")


async def test_a_voice_is_made_with_a_recorded_consent_and_speaks(client: AsyncOpenAI) -> None:
    said = ("consent.wav", recordings.sentence(4), "audio/wav")
    consent = await client.audio.voice_consents.create(language="en-US", name="Ada", recording=said)
    assert (consent.object, consent.language, consent.name) == ("audio.voice_consent", "en-US", "Ada")
    await client.audio.voice_consents.create(language="en", name="Eve", recording=said)
    assert (await client.audio.voice_consents.update(consent.id, name="Ada L.")).name == "Ada L."
    assert (await client.audio.voice_consents.retrieve(consent.id)).name == "Ada L."
    listed = [one.name async for one in client.audio.voice_consents.list(limit=1)]
    assert listed == ["Eve", "Ada L."]
    sample = ("ada.wav", recordings.wav(speech.say(SENTENCES[3], *speech.HIGH_VOICE)), "audio/wav")
    voice = await client.audio.voices.create(name="Ada", audio_sample=sample, consent=consent.id)
    assert (voice.object, voice.type, voice.name) == ("audio.voice", "audio_sample", "Ada")
    spoken = await client.audio.speech.create(
        input="Good morning.", model="tts-1", voice={"id": voice.id}, response_format="pcm"
    )
    assert len(spoken.content) > 24_000
    assert (await client.audio.voice_consents.delete(consent.id)).deleted
    with pytest.raises(openai.NotFoundError) as gone:
        await client.audio.voices.create(name="Again", audio_sample=sample, consent=consent.id)
    assert gone.value.param == "consent"
    assert (await client.audio.voices.delete(voice.id)).object == "audio.voice.deleted"
    with pytest.raises(openai.BadRequestError):
        await client.audio.speech.create(input="Good morning.", model="tts-1", voice={"id": voice.id})


async def test_what_is_no_consent_is_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as silent:
        await client.audio.voice_consents.create(language="en", name="Ada", recording=("x.wav", b"no sound" * 100))
    assert silent.value.param == "recording"
    with pytest.raises(openai.BadRequestError) as nowhere:
        await client.audio.voice_consents.create(language="English, please", name="Ada", recording=SAID)
    assert nowhere.value.param == "language"
    with pytest.raises(openai.NotFoundError):
        await client.audio.voice_consents.retrieve("cons_none")
