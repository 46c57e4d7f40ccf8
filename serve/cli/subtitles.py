"""SubRip and WebVTT from the segments of a transcription.

Cues follow common subtitling practice (BBC and Netflix timed-text guides): at most two lines of 42 characters, at most
six seconds, broken at pauses and sentence ends. WebVTT is W3C's (https://www.w3.org/TR/webvtt1/).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from schemas.api.transcription import SegmentBody, WordBody

LINE_CHARS = 42
CUE_SECS = 6.0
PAUSE_SECS = 1.0
_SHORTEST_MS = 200
_SENTENCE_ENDS = (".", "?", "!", "…")


@dataclass(frozen=True, slots=True)
class Cue:
    """A stretch of one speaker's words shown at once; times in milliseconds from the start of the recording."""

    start_ms: int
    end_ms: int
    speaker: str
    lines: tuple[str, ...]


def srt(segments: Sequence[SegmentBody]) -> str:
    """SubRip: numbered cues that never overlap. Speakers are named where they change, if there is more than one."""
    named = len({s.speaker for s in segments}) > 1
    blocks: list[str] = []
    speaker = ""
    for number, cue in enumerate(apart(cues(segments)), start=1):
        text = "\n".join(cue.lines).replace("-->", "->")
        if named and cue.speaker != speaker:
            text = f"[Speaker {cue.speaker}]\n{text}"
        speaker = cue.speaker
        blocks.append(f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n")
    return "\n".join(blocks)


def vtt(segments: Sequence[SegmentBody]) -> str:
    """WebVTT with a voice span for each cue; cues of speakers who talk at once overlap, as the format allows."""
    blocks = ["WEBVTT\n"]
    for cue in cues(segments):
        text = _escaped("\n".join(cue.lines))
        span = f"<v Speaker {_escaped(cue.speaker)}>{text}</v>"
        blocks.append(f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{span}\n")
    return "\n".join(blocks)


def cues(segments: Sequence[SegmentBody]) -> list[Cue]:
    """Cues in order of their starts, each with words on one or two lines and a length above nothing."""
    made = [cue for segment in segments for cue in _of_segment(segment)]
    return sorted(made, key=lambda cue: (cue.start_ms, cue.end_ms))


def apart(ordered: Sequence[Cue]) -> list[Cue]:
    """The same cues with ends and starts moved so that each begins when the one before has ended.

    Where speakers overlap the earlier cue gives way, down to a length one can still see; then the later one waits.
    """
    placed: list[Cue] = []
    for cue in ordered:
        if placed and placed[-1].end_ms > cue.start_ms:
            before = placed[-1]
            placed[-1] = before = replace(
                before, end_ms=min(before.end_ms, max(cue.start_ms, before.start_ms + _SHORTEST_MS))
            )
            start_ms = max(cue.start_ms, before.end_ms)
            cue = replace(cue, start_ms=start_ms, end_ms=max(cue.end_ms, start_ms + _SHORTEST_MS))
        placed.append(cue)
    return placed


def _of_segment(segment: SegmentBody) -> Iterator[Cue]:
    if segment.words:
        for group in _groups(segment.words):
            lines = _wrap(" ".join(w.word for w in group))
            if lines:
                yield _cue(group[0].start, group[-1].end, segment.speaker, lines)
        return
    pages = _pages(_wrap(segment.text))
    total_chars = sum(len(line) for page in pages for line in page)
    begin_secs = segment.start
    for page in pages:
        # Without word times a page is shown for its share of the characters.
        share = sum(len(line) for line in page) / total_chars
        end_secs = begin_secs + share * max(0.0, segment.end - segment.start)
        yield _cue(begin_secs, end_secs, segment.speaker, page)
        begin_secs = end_secs


def _groups(words: Sequence[WordBody]) -> Iterator[list[WordBody]]:
    """Words that are shown together."""
    group: list[WordBody] = []
    for word in words:
        if group and _ends_before(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _ends_before(group: Sequence[WordBody], word: WordBody) -> bool:
    text = " ".join(w.word for w in [*group, word])
    sentence_over = group[-1].word.endswith(_SENTENCE_ENDS) and len(text) > LINE_CHARS
    too_late = word.end - group[0].start > CUE_SECS or word.start - group[-1].end >= PAUSE_SECS
    return sentence_over or too_late or len(_wrap(text)) > 2


def _wrap(text: str) -> list[str]:
    """Lines of at most LINE_CHARS, two of them as even as they can be; a longer single word keeps a line of its own."""
    lines = textwrap.wrap(" ".join(text.split()), LINE_CHARS, break_long_words=False, break_on_hyphens=False)
    if len(lines) != 2:
        return lines
    words = " ".join(lines).split(" ")
    splits = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    first, second = min(splits, key=lambda pair: max(map(len, pair)))
    return [first, second]


def _pages(lines: Sequence[str]) -> list[list[str]]:
    return [list(lines[i : i + 2]) for i in range(0, len(lines), 2)]


def _cue(start_secs: float, end_secs: float, speaker: str, lines: Sequence[str]) -> Cue:
    start_ms = max(0, round(start_secs * 1000))
    return Cue(start_ms, max(round(end_secs * 1000), start_ms + 1), speaker, tuple(lines))


def _clock(ms: int, point: str) -> str:
    """``01:02:03,004``; hours grow beyond two digits where a recording does."""
    hours, rest = divmod(ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    secs, millis = divmod(rest, 1000)
    return f"{hours:02d}:{minutes:02d}:{secs:02d}{point}{millis:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
