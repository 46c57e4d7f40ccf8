"""SRT and WebVTT: line and cue limits, order, overlap, escaping."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.subtitles import PLAIN, SubtitleStyle, apart, cues, srt, vtt
from schemas.api.transcription import SegmentBody, WordBody

pytestmark = pytest.mark.unit

SRT_TIME = re.compile(r"(\d\d+):(\d\d):(\d\d),(\d{3}) --> (\d\d+):(\d\d):(\d\d),(\d{3})")


def segment(text: str, start: float, end: float, speaker: str = "0", words: list[WordBody] | None = None) -> SegmentBody:
    return SegmentBody(speaker=speaker, text=text, start=start, end=end, segment_idx=0, words=words)


def spoken(text: str, start: float, word_secs: float = 0.4, speaker: str = "0") -> SegmentBody:
    """A segment whose words follow each other without a gap."""
    words = [
        WordBody(word=w, start=start + i * word_secs, end=start + (i + 1) * word_secs, confidence=1.0)
        for i, w in enumerate(text.split())
    ]
    return segment(text, start, words[-1].end, speaker, words)


def srt_times(content: str) -> list[tuple[int, int]]:
    rows = [[int(x) for x in m] for m in SRT_TIME.findall(content)]
    return [(((a * 60 + b) * 60 + c) * 1000 + d, ((e * 60 + f) * 60 + g) * 1000 + h) for a, b, c, d, e, f, g, h in rows]


def test_srt_of_one_short_segment_is_exactly_this() -> None:
    assert srt([segment("hello there", 3661.5, 3662.25)]) == "1\n01:01:01,500 --> 01:01:02,250\nhello there\n"


def test_vtt_names_speakers_and_escapes_markup() -> None:
    content = vtt([segment("a <b> & c --> d", 0, 1), segment("yes", 1, 2, "1")])
    assert content == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.000\n<v Speaker 0>a &lt;b&gt; &amp; c --&gt; d</v>\n\n"
        "00:00:01.000 --> 00:00:02.000\n<v Speaker 1>yes</v>\n"
    )


def test_srt_names_a_speaker_where_it_changes_and_only_if_there_are_two() -> None:
    two = srt([segment("one", 0, 1), segment("two", 1, 2), segment("three", 2, 3, "1")])
    assert two.count("[Speaker 0]") == 1
    assert two.count("[Speaker 1]") == 1
    assert "[Speaker" not in srt([segment("one", 0, 1), segment("two", 1, 2)])


def test_long_speech_is_cut_into_short_cues_of_two_lines_that_lose_no_word() -> None:
    text = " ".join(f"word{i}" for i in range(120))
    made = cues([spoken(text, 10.0)])
    assert len(made) >= 8
    assert " ".join(line for cue in made for line in cue.lines) == text
    for cue in made:
        assert len(cue.lines) <= 2
        assert all(len(line) <= PLAIN.line_chars for line in cue.lines)
        assert cue.end_ms - cue.start_ms <= PLAIN.cue_secs * 1000
    assert (made[0].start_ms, made[-1].end_ms) == (10_000, 58_000)


def test_without_word_times_a_long_text_is_spread_over_its_segment() -> None:
    text = " ".join(["syllable"] * 40)
    made = cues([segment(text, 5, 25)])
    assert " ".join(line for cue in made for line in cue.lines) == text
    assert all(len(cue.lines) <= 2 for cue in made)
    assert (made[0].start_ms, made[-1].end_ms) == (5000, 25_000)
    assert all(a.end_ms == b.start_ms for a, b in pairwise(made))


def test_a_script_without_spaces_is_cut_into_lines_that_fit() -> None:
    text = "今天天气很好我们去公园散步然后回家吃饭" * 6
    words = [WordBody(word=char, start=0.1 * n, end=0.1 * n + 0.1, confidence=1.0) for n, char in enumerate(text)]
    for made in (cues([segment(text, 0, 12)]), cues([segment(text, 0, 12, words=words)])):
        lines = [line for cue in made for line in cue.lines]
        assert "".join(lines) == text
        assert max(map(len, lines)) <= PLAIN.line_chars
        assert max(len(cue.lines) for cue in made) <= 2


def test_a_pause_between_words_starts_a_new_cue() -> None:
    words = [
        WordBody(word="before", start=0, end=0.5, confidence=1),
        WordBody(word="after", start=3, end=3.5, confidence=1),
    ]
    made = cues([segment("before after", 0, 3.5, words=words)])
    assert [(cue.start_ms, cue.end_ms, cue.lines) for cue in made] == [(0, 500, ("before",)), (3000, 3500, ("after",))]


def test_speakers_at_once_overlap_in_vtt_and_wait_in_srt() -> None:
    both = [segment("first", 0.0, 4.0), segment("second", 2.0, 3.0, "1")]
    assert "00:00:00.000 --> 00:00:04.000" in vtt(both)
    assert srt_times(srt(both)) == [(0, 2000), (2000, 3000)]


def test_an_empty_transcript_is_a_file_with_a_header_only() -> None:
    assert srt([]) == ""
    assert srt([segment("  ", 0, 1)]) == ""
    assert vtt([]) == "WEBVTT\n"


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200)
times = st.floats(0, 40_000, allow_nan=False)


@given(st.lists(st.tuples(texts, times, st.floats(0, 30), st.integers(0, 3)), max_size=20))
def test_srt_cues_never_overlap_and_never_shrink_to_nothing(rows: list[tuple[str, float, float, int]]) -> None:
    made = apart(cues([segment(text, start, start + length, str(who)) for text, start, length, who in rows]))
    assert all(cue.start_ms < cue.end_ms for cue in made)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(made))
    said = "".join("".join(text.split()) for text, *_ in rows)
    shown = "".join("".join("".join(cue.lines).split()) for cue in made)
    assert sorted(shown) == sorted(said)


def test_a_short_cue_joins_its_neighbour_where_both_fit() -> None:
    joined = cues([spoken("so we went home then", 0.0), spoken("Yes.", 2.3, word_secs=0.3)])
    assert [(cue.lines, cue.start_ms, cue.end_ms) for cue in joined] == [(("so we went home then Yes.",), 0, 2600)]
    before = cues([spoken("Yes.", 0.0, word_secs=0.3), spoken("so we went home then", 0.5)])
    assert [cue.lines for cue in before] == [("Yes. so we went home then",)]
    long = " ".join(["syllables"] * 8)
    for apart_from_it in (
        [spoken("Yes.", 0.0, word_secs=0.3), spoken("so we went home then", 2.0)],  # a pause between them
        [spoken("Yes.", 0.0, word_secs=0.3, speaker="1"), spoken("so we went home then", 0.5)],
        [spoken("Yes indeed.", 0.0, word_secs=0.2), spoken(long, 0.5)],  # three lines
    ):
        assert cues(apart_from_it)[0].lines[0].startswith("Yes")
        assert len(cues(apart_from_it)) == 2


@pytest.mark.parametrize("speakers", ["auto", "always"])
@pytest.mark.parametrize("lines", [1, 2, 3])
@pytest.mark.parametrize("line_chars", [10, 13, 20])
@pytest.mark.parametrize(("who", "labels"), [("0", r"\[(?:Speaker )?0\]"), ("Ada Byron", r"\[(?:Ada Byron|AB)\]")])
def test_a_label_is_whole_and_shown_on_the_smallest_screens(
    who: str, labels: str, line_chars: int, lines: int, speakers: Literal["auto", "always"]
) -> None:
    text = "yes an extraordinary word or two of many that were said"
    style = SubtitleStyle(line_chars, lines, speakers=speakers)
    content = srt([spoken(text, 0.0, speaker=who), spoken("no", 30.0, speaker="1")], style)
    blocks = [block.splitlines()[2:] for block in content.strip().split("\n\n")]
    assert all(1 <= len(block) <= lines for block in blocks)
    # Only a word that is longer than the line makes it longer.
    for line in (line for block in blocks for line in block):
        assert len(line) <= line_chars or "extraordinary" in line
    named = [block for block in blocks[:-1] if re.match(labels, block[0])]
    assert len(named) == (len(blocks) - 1 if speakers == "always" else 1)
    assert blocks[0] in named
    said = " ".join(line for block in blocks[:-1] for line in block)
    assert re.sub(rf"{labels} ?", "", said) == text


def test_a_speakers_label_counts_and_no_cue_has_a_third_line() -> None:
    text = " ".join(f"word{i}" for i in range(60))
    for speakers in ("auto", "always"):
        content = srt([spoken(text, 0.0), spoken(text, 30.0, speaker="1")], SubtitleStyle(speakers=speakers))
        blocks = [block.splitlines()[2:] for block in content.strip().split("\n\n")]
        assert all(len(lines) <= 2 and max(map(len, lines)) <= 42 for lines in blocks)
        assert blocks[0][0].startswith("[Speaker 0] word0")
        said = " ".join(line for lines in blocks for line in lines)
        assert re.sub(r"\[Speaker \d\] ", "", said) == f"{text} {text}"
        times = srt_times(content)
        assert all(a[1] <= b[0] for a, b in pairwise(times))
