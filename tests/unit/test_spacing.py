"""Words become text as their script writes it: with spaces, or without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.transcription.assembly import segments_of, text_of
from schemas.api.openai_transcripts import logprobs_of
from schemas.api.openai_transcripts import text_of as openai_text_of
from schemas.domain import SoundEvent, Transcript, Word
from schemas.spacing import is_unspaced, join_words
from serve.realtime.turn_transcript import TurnTranscript

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["Good", "morning,", "everybody."], "Good morning, everybody."),
        (["今", "天", "天", "气", "很", "好。"], "今天天气很好。"),
        (["きょう", "は", "いい", "天気", "です。"], "きょうはいい天気です。"),
        (["ส", "วัส", "ดี", "ครับ"], "สวัสดีครับ"),
        (["我", "用", "iPhone", "拍", "照"], "我用 iPhone 拍照"),
        (["在", "2020", "年", "3", "月"], "在2020年3月"),
        (["안녕하세요", "여러분"], "안녕하세요 여러분"),
        (["नमस्ते", "दुनिया"], "नमस्ते दुनिया"),
        (["你", "好！", "再", "见。"], "你好！再见。"),
        ([], ""),
    ],
)
def test_words_are_put_together_as_their_script_is_written(words: list[str], text: str) -> None:
    assert join_words(words) == text


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1), max_size=12))
def test_no_letter_is_lost_and_words_of_other_scripts_keep_their_space(words: list[str]) -> None:
    joined = join_words(words)
    assert joined.replace(" ", "") == "".join(words)
    if not any(is_unspaced(char) for char in joined):
        assert joined == " ".join(words)


def test_segments_and_lines_of_chinese_have_no_spaces() -> None:
    words = [Word(char, 0.2 * n, 0.2 * n + 0.2) for n, char in enumerate(["你", "好。", "再", "见。"])]
    segments = segments_of(words, [0] * 4)
    assert [segment.text for segment in segments] == ["你好。", "再见。"]
    assert text_of(segments, [SoundEvent("laugh", 0.4, 0.4, 1.0, 0)]) == "SPEAKER_0: 你好。 [laugh] 再见。"


def test_openai_responses_have_the_text_of_the_script_and_tokens_that_make_it_up() -> None:
    said = ["你", "好。", "我", "用", "iPhone", "拍", "照。"]
    words = [Word(text, 0.2 * n, 0.2 * n + 0.2) for n, text in enumerate(said)]
    segments = segments_of(words, [0] * len(words))
    assert len(segments) == 2
    transcript = Transcript("", segments, (), "zh", 1, 1, 2.0, 0.1, "engines-1")
    text = openai_text_of(transcript)
    assert text == "你好。我用 iPhone 拍照。"
    assert "".join(one.token for one in logprobs_of(transcript)) == text


async def test_the_parts_of_a_long_turn_are_put_together_as_their_script_is_written() -> None:
    parts = iter(("你好。", "再见。"))

    async def recognize(pcm: bytes) -> str:
        return next(parts)

    turn = TurnTranscript(recognize, max_secs=1.0)
    for _ in range(40):
        turn.add(np.zeros(512, np.int16), 0.9)
    assert await turn.text() == "你好。再见。"
