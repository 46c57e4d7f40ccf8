"""Parts of live transcription: stable words, speakers, and decoding of streamed audio."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio import g711
from schemas.domain import Word
from schemas.engines import Samples
from schemas.errors import InvalidParameter, InvalidRequest
from serve.live.assemblyai_protocol import AssemblyAIProtocol
from serve.live.assemblyai_protocol import parse_query as parse_assemblyai_query
from serve.live.deepgram_protocol import DeepgramProtocol, parse_query
from serve.live.endpointing import Endpointing
from serve.live.live_events import FinalResult, InterimResult
from serve.live.live_speakers import LiveSpeakers
from serve.live.live_stream import next_message
from serve.live.own_protocol import OwnProtocol, parse_start
from serve.live.stable_words import StableWords
from serve.live.stream_decoder import DetectingDecoder, PcmDecoder

pytestmark = pytest.mark.unit


def words(text: str) -> list[Word]:
    return [Word(word, float(n), n + 1.0) for n, word in enumerate(text.split())]


def test_words_that_two_hypotheses_agree_on_are_stable_and_stay() -> None:
    found = StableWords()
    assert found.feed(words("the old"))[1] == 0
    assert found.feed(words("The old man"))[1] == 2
    shown, stable = found.feed(words("a bold man walked"))
    assert [word.text for word in shown] == ["The", "old", "man", "walked"]
    assert stable == 3


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=6), max_size=8))
def test_what_was_stable_once_is_never_taken_back(hypotheses: list[list[str]]) -> None:
    found, before = StableWords(), list[str]()
    for hypothesis in hypotheses:
        shown, stable = found.feed(words(" ".join(hypothesis)))
        assert [word.text for word in shown[: len(before)]] == before
        assert stable >= len(before)
        before = [word.text for word in shown[:stable]]


def test_speakers_are_numbered_as_they_come() -> None:
    one, other = np.eye(2, dtype=np.float32)
    speakers = LiveSpeakers()
    assert [speakers.number(voice) for voice in (one, other, one, None, other)] == [0, 1, 0, 0, 1]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
async def test_sound_in_pieces_of_any_size_is_the_sound(rate_hz: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * 300 * np.arange(rate_hz) / rate_hz)).astype("<i2").tobytes()
    whole, pieces = PcmDecoder("linear16", rate_hz), PcmDecoder("linear16", rate_hz)
    expected = await whole.feed(tone)
    found = np.concatenate([await pieces.feed(tone[at : at + 333]) for at in range(0, len(tone), 333)])
    assert 14_000 < found.size <= 16_000  # the filter holds the rest back
    size = min(found.size, expected.size)
    np.testing.assert_allclose(found[:size], expected[:size], atol=1e-3)


async def test_telephone_sound_is_decoded() -> None:
    tone = (8000 * np.sin(2 * np.pi * 300 * np.arange(8000) / 8000)).astype(np.int16)
    for encoding, law in (("mulaw", "mu"), ("alaw", "a")):
        found = await PcmDecoder(encoding, 8000).feed(g711.encode(tone, law))  # type: ignore[arg-type]
        assert float(np.abs(found).max()) == pytest.approx(8000 / 32768, rel=0.05)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"encoding": "speex"}, "encoding"),
        ({"sample_rate": "fast"}, "sample_rate"),
        ({"channels": "2"}, "channels"),
        ({"endpointing": "-3"}, "endpointing"),
    ],
)
def test_a_query_out_of_bounds_is_refused_by_name(query: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidParameter) as wrong:
        parse_query(query, [])
    assert wrong.value.param == param
    with pytest.raises(InvalidParameter):
        PcmDecoder("linear16", 17_000)


@pytest.mark.parametrize("protocol", [DeepgramProtocol({}), AssemblyAIProtocol({})])
def test_the_reason_of_a_close_fits_into_its_frame(protocol: DeepgramProtocol | AssemblyAIProtocol) -> None:
    reason = protocol.failed(InvalidParameter("é" * 200, param="encoding"))[2]
    assert 120 <= len(reason.encode()) <= 123


def test_messages_that_are_none_are_refused() -> None:
    for protocol in (OwnProtocol(), DeepgramProtocol({}), AssemblyAIProtocol({})):
        for text in ("sound", '{"type": "Dance"}', "[]", "{}"):
            with pytest.raises((InvalidRequest, InvalidParameter)):
                protocol.command(text)
    assert parse_start('{"type": "close"}') is None
    assert parse_start("{") is None
    with pytest.raises(InvalidParameter, match="endpoint_ms"):
        parse_start('{"type": "start", "endpoint_ms": 1}')


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({}, "sample_rate"),
        ({"sample_rate": "fast"}, "sample_rate"),
        ({"sample_rate": "16000", "encoding": "aac"}, "encoding"),
        ({"sample_rate": "16000", "speaker_labels": "perhaps"}, "speaker_labels"),
        ({"sample_rate": "16000", "keyterms_prompt": "walk"}, "keyterms_prompt"),
        ({"sample_rate": "16000", "min_turn_silence": "900", "max_turn_silence": "500"}, "max_turn_silence"),
    ],
)
def test_a_query_of_assemblyai_out_of_bounds_is_refused_by_name(query: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidParameter) as wrong:
        parse_assemblyai_query(query)
    assert wrong.value.param == param


def test_a_turn_of_assemblyai_goes_on_until_speech_has_ended() -> None:
    protocol = AssemblyAIProtocol({"sample_rate": "16000", "format_turns": "true"})
    early = InterimResult(0.0, 2.0, tuple(words("The old man")), 2)
    (turn,) = protocol.recognized(early)
    assert (turn["transcript"], turn["end_of_turn"]) == ("The old", False)
    assert [word["word_is_final"] for word in turn["words"]] == [True, True, False]
    (part,) = protocol.recognized(FinalResult(0.0, 3.0, tuple(words("The old man")), 0, speech_final=False))
    plain, formatted = protocol.recognized(FinalResult(3.0, 4.0, tuple(words("Walked.")), 0, speech_final=True))
    assert [one["turn_order"] for one in (turn, part, plain, formatted)] == [0, 0, 0, 0]
    assert (plain["transcript"], formatted["transcript"]) == ("the old man walked", "The old man Walked.")
    assert [one["turn_is_formatted"] for one in (part, plain, formatted)] == [False, False, True]
    assert plain["end_of_turn"]
    assert protocol.recognized(InterimResult(5.0, 6.0, tuple(words("Then")), 0))[0]["turn_order"] == 1


def test_options_of_assemblyai_change_during_the_stream() -> None:
    protocol = AssemblyAIProtocol({"sample_rate": "16000"})
    options = protocol.command(
        '{"type": "UpdateConfiguration", "min_turn_silence": 250, "keyterms_prompt": ["Ajax"]}'
    ).options
    assert options is not None
    assert (options.endpoint_secs, options.recognize.keyterms) == (0.25, ("Ajax",))
    with pytest.raises(InvalidParameter, match="min_turn_silence"):
        protocol.command('{"type": "UpdateConfiguration", "min_turn_silence": "soon"}')


class Ear:
    """An end-of-turn detector that always has the same answer."""

    info = None

    def __init__(self, probability: float) -> None:
        self.calls = 0
        self._probability = probability

    def probability(self, samples: np.ndarray) -> float:
        self.calls += 1
        return self._probability


@pytest.mark.parametrize(
    ("probability", "frames"),
    [(0.9, 14), (0.1, 30)],  # 0.5 s and 1 s in frames of 32 ms, after .06 s before the first of them
    ids=["finished", "unfinished"],
)
async def test_an_unfinished_sentence_may_pause_longer(probability: float, frames: int) -> None:
    ear = Ear(probability)
    endpointing = Endpointing(ear)  # type: ignore[arg-type]

    async def frame(*, silent: bool) -> float | None:
        found = endpointing.add_frame(
            silent=silent, endpoint_secs=0.5, unfinished_secs=1.0, audio=lambda: np.zeros(512, np.float32)
        )
        if endpointing._asking is not None:
            await asyncio.wait([endpointing._asking])  # Frames are longer apart than an answer takes.
        return found

    for _ in range(10):
        assert await frame(silent=True) is None
    assert await frame(silent=False) is None  # speech goes on, so the silence counts from the beginning
    found = [await frame(silent=True) for _ in range(frames)]
    assert found[:-1] == [None] * (frames - 1)
    assert found[-1] == pytest.approx(probability)
    assert ear.calls == 2  # once a pause


def test_without_a_detector_silence_alone_ends_an_utterance() -> None:
    endpointing = Endpointing()
    found = [
        endpointing.add_frame(silent=True, endpoint_secs=0.5, unfinished_secs=None, audio=lambda: np.zeros(0, np.float32))
        for _ in range(14)
    ]
    assert found == [None] * 13 + [1.0]


class Named(PcmDecoder):
    """A decoder that records the bytes it was given."""

    def __init__(self) -> None:
        super().__init__("linear16", 16_000)
        self.given = b""

    async def feed(self, data: bytes) -> Samples:
        self.given += data
        return await super().feed(data)


@pytest.mark.parametrize(
    ("data", "is_container"), [(b"OggS12", True), (b"\x1a\x45\xdf\xa312", True), (b"\0\0\1\0\2\0", False)]
)
async def test_the_first_bytes_decide_between_a_container_and_bare_samples(data: bytes, is_container: bool) -> None:
    container, bare = Named(), Named()
    decoder = DetectingDecoder(container, bare)
    for at in range(len(data)):
        await decoder.feed(data[at : at + 1])
    assert (container.given, bare.given) == ((data, b"") if is_container else (b"", data))


async def test_a_silent_client_is_told_so_in_the_words_of_its_protocol() -> None:
    async def nothing() -> str | bytes | None:
        await asyncio.Event().wait()
        return None

    with pytest.raises(InvalidRequest) as refused:
        await next_message(nothing, 0.01)
    error = refused.value
    assert DeepgramProtocol({}).failed(error) == ([], 1011, "NET-0001: nothing came for 0.01 s")
    body = {"type": "error", "message": "nothing came for 0.01 s", "code": "idle_timeout", "param": None}
    assert OwnProtocol().failed(error) == ([body], 1008, "idle_timeout")
    assert AssemblyAIProtocol({}).failed(error)[0][-1]["error"] == "nothing came for 0.01 s"
