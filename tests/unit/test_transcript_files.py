"""Files of a transcript: what other programs read out of them, long times, and text that must stay text."""

from __future__ import annotations

import io
import json
import zipfile
from html.parser import HTMLParser
from xml.etree import ElementTree

import pysubs2
import pytest
import webvtt

from formats.document import Document, clock
from formats.subtitles import SubtitleStyle, cues
from formats.transcript_files import MEDIA_TYPES, FileFormat, render
from schemas.api.transcription import SegmentBody, TurnBody, WordBody

pytestmark = pytest.mark.unit

HOSTILE = '<script>alert("1")</script> {\\an8}=HYPERLINK("x") & ;; \x00\x1b[2J\ufffe <v Bob> 00:00 --> 00:01'


def segment(text: str, start: float, end: float, speaker: str = "0") -> SegmentBody:
    words = text.split()
    step = (end - start) / max(1, len(words))
    times = [
        WordBody(word=w, start=round(start + n * step, 2), end=round(start + (n + 1) * step, 2), confidence=0.9)
        for n, w in enumerate(words)
    ]
    return SegmentBody(speaker=speaker, text=text, start=start, end=end, segment_idx=0, words=times)


def document(*segments: SegmentBody, title: str = "our talk.wav") -> Document:
    turns = [TurnBody(speaker=s.speaker, start=s.start, end=s.end, overlap=False) for s in segments]
    text = "\n".join(f"SPEAKER_{s.speaker}: {s.text}" for s in segments)
    return Document(title, text, segments, turns, "en", segments[-1].end if segments else 0.0)


TALK = document(segment("Good morning, all.", 0.5, 2.0), segment("Morning!", 2.5, 3.0, "1"), segment("So.", 3.5, 4.0))


def written(fmt: FileFormat, made: Document = TALK, **style: object) -> str:
    return render(made, fmt, SubtitleStyle(**style)).decode()  # type: ignore[arg-type]


@pytest.mark.parametrize("hours", [0, 10, 99, 100, 123])
def test_subtitles_far_into_a_recording_are_read_at_their_times(hours: int) -> None:
    start = hours * 3600 + 61.25
    made = document(segment("Still talking.", start, start + 1.5))
    (caption,) = webvtt.from_buffer(io.StringIO(written(FileFormat.VTT, made)))
    assert (caption.start_in_seconds, caption.end_in_seconds) == (int(start), int(start + 1.5))
    assert caption.start.startswith(f"{hours:02d}:01:01.25")
    (line,) = pysubs2.SSAFile.from_string(written(FileFormat.SRT, made), format_="srt")
    if hours < 100:  # pysubs2 reads two digits of hours, as the format's first player wrote them
        assert (line.start, line.end) == (round(start * 1000), round((start + 1.5) * 1000))
    assert f"{hours:02d}:01:01,250 --> {hours:02d}:01:02,750" in written(FileFormat.SRT, made)


def test_lines_lengths_and_names_are_as_asked() -> None:
    long = document(segment(" ".join(f"word{n}" for n in range(60)), 0, 30))
    # A label that would leave little room for words is its number alone.
    for lines, width, label in ((1, 20, "[0]"), (3, 30, "[Speaker 0]")):
        text = written(FileFormat.SRT, long, lines=lines, line_chars=width, speakers="always")
        for line in pysubs2.SSAFile.from_string(text):
            shown = line.plaintext.split("\n")
            assert shown[0].startswith(f"{label} word")
            assert len(shown) <= lines
            assert all(len(one) <= width for one in shown)
    assert "<v" not in written(FileFormat.VTT, speakers="never")
    assert "<v Speaker 1>Morning!</v>" in written(FileFormat.VTT)
    assert "Speaker" not in written(FileFormat.SRT, speakers="never")


def test_cues_stay_for_their_reader_as_far_as_there_is_room() -> None:
    fast = document(segment("Thirty characters are spoken.", 0, 1), segment("Next.", 1.5, 2.3))
    usual = cues(fast.segments)
    slower = cues(fast.segments, SubtitleStyle(chars_per_sec=10))
    assert [(c.start_ms, c.end_ms) for c in usual] == [(0, 1000), (1500, 2300)]
    assert [(c.start_ms, c.end_ms) for c in slower] == [(0, 1500), (1500, 2300)]


def test_rttm_and_ctm_have_the_fields_of_their_formats() -> None:
    turns = [line.split(" ") for line in written(FileFormat.RTTM).splitlines()]
    assert turns[0] == ["SPEAKER", "our_talk.wav", "1", "0.500", "1.500", "<NA>", "<NA>", "0", "<NA>", "<NA>"]
    assert [turn[7] for turn in turns] == ["0", "1", "0"]
    words = [line.split(" ") for line in written(FileFormat.CTM).splitlines()]
    assert words[0] == ["our_talk.wav", "1", "0.50", "0.50", "Good", "0.900"]
    assert len(words) == 5
    assert [float(word[2]) for word in words] == sorted(float(word[2]) for word in words)


def test_json_lines_are_the_utterances() -> None:
    rows = [json.loads(line) for line in written(FileFormat.JSONL).splitlines()]
    assert [(row["speaker"], row["text"], row["start"]) for row in rows] == [
        ("0", "Good morning, all.", 0.5), ("1", "Morning!", 2.5), ("0", "So.", 3.5),
    ]  # fmt: skip
    assert rows[0]["words"][0]["word"] == "Good"


def test_a_docx_file_is_whole_and_the_same_every_time() -> None:
    made = render(TALK, FileFormat.DOCX)
    assert made == render(TALK, FileFormat.DOCX)
    with zipfile.ZipFile(io.BytesIO(made)) as package:
        assert package.testzip() is None
        parts = {name: ElementTree.fromstring(package.read(name)) for name in package.namelist()}
    assert set(parts) >= {"[Content_Types].xml", "_rels/.rels", "word/document.xml", "word/styles.xml"}
    texts = [node.text for node in parts["word/document.xml"].iter() if node.tag.endswith("}t")]
    assert texts == ["our talk.wav", "Speaker 0  00:00", "Good morning, all.", "Speaker 1  00:02", "Morning!",
                     "Speaker 0  00:03", "So."]  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_shows_hostile_text_and_obeys_none_of_it() -> None:
    page = Tags()
    page.feed(written(FileFormat.HTML, document(segment(HOSTILE, 0, 1), title="<img src=x onerror=alert(1)>.wav")))
    assert page.tags == {"html", "head", "meta", "title", "style", "body", "header", "h1", "p", "main", "section", "h2",
                         "time"}  # fmt: skip
    assert 'alert("1")' in page.text
    assert "\x1b" not in page.text


def test_hostile_text_stays_text_everywhere() -> None:
    hostile = document(segment(HOSTILE, 0, 1), title="a ;;b\nc.wav")
    for fmt in (FileFormat.RTTM, FileFormat.CTM):
        widths = {len(line.split(" ")) for line in written(fmt, hostile).splitlines()}
        assert widths == ({10} if fmt is FileFormat.RTTM else {6})
        assert ";;" not in written(fmt, hostile)
    for fmt in (FileFormat.SRT, FileFormat.VTT):
        text = written(fmt, hostile)
        assert text.count("-->") == len(cues(hostile.segments))
        assert "<script" not in text
        assert "{\\an8" not in text or fmt is FileFormat.VTT  # WebVTT knows no overrides
        assert "\x00" not in text
    captions = list(webvtt.from_buffer(io.StringIO(written(FileFormat.VTT, hostile))))
    assert "script" in captions[0].text
    with zipfile.ZipFile(io.BytesIO(render(hostile, FileFormat.DOCX))) as package:
        ElementTree.fromstring(package.read("word/document.xml"))


@pytest.mark.parametrize("fmt", FileFormat)
def test_nothing_said_is_a_file_all_the_same(fmt: FileFormat) -> None:
    assert isinstance(render(document(), fmt), bytes)
    assert MEDIA_TYPES[fmt]


def test_clock() -> None:
    assert [clock(secs) for secs in (0, 59.9, 61, 3600, 445_000)] == ["00:00", "00:59", "01:01", "1:00:00", "123:36:40"]
