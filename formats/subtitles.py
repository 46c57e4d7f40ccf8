"""SubRip and WebVTT from the segments of a transcription.

Cues follow common subtitling practice (BBC and Netflix timed-text guides): unless asked otherwise at most two lines of 42
characters, at most six seconds, broken at pauses and sentence ends. WebVTT is W3C's (https://www.w3.org/TR/webvtt1/).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from formats.document import printable, speaker_name
from schemas.api.transcription import SegmentBody, WordBody
from schemas.spacing import is_unspaced, join_words

PAUSE_SECS: Final = 1.0
SHORT_MS: Final = 700
"""A cue with a shorter time is joined to a neighbour of the same speaker, if both fit into one cue."""
_SHORTEST_MS: Final = 200
_JOINT: Final = "\ue000"
"""Stands for a space at which lines are not broken; a private-use character."""
_SENTENCE_ENDS: Final = (".", "?", "!", "…")

NameSpeakers: TypeAlias = Literal["auto", "always", "never"]
"""``auto``: SubRip names speakers where they change and there are several; WebVTT gives each cue its voice."""


@dataclass(frozen=True, slots=True)
class SubtitleStyle:
    """Layout of subtitles."""

    line_chars: int = 42
    """Longest line, characters; a longer single word has its own line."""
    lines: int = 2
    """Most lines shown at once."""
    cue_secs: float = 6.0
    """Longest time that one cue is shown."""
    chars_per_sec: float | None = None
    """Reading speed: a cue whose text takes longer to read is shown longer, at most ``cue_secs`` and up to the next cue."""
    speakers: NameSpeakers = "auto"


PLAIN: Final = SubtitleStyle()


@dataclass(frozen=True, slots=True)
class Cue:
    """Words of one speaker that are shown together; times in milliseconds from the start of the recording.

    Where a speaker's label is written, its line counts as one of ``lines``.
    """

    start_ms: int
    end_ms: int
    speaker: str
    lines: tuple[str, ...]


def srt(segments: Sequence[SegmentBody], style: SubtitleStyle = PLAIN) -> str:
    """SubRip: numbered cues that never overlap."""
    named = style.speakers == "always" or (style.speakers == "auto" and len({s.speaker for s in segments}) > 1)
    shown = apart(cues(segments, style))
    if named:
        shown = list(_labelled(shown, style))
    return "\n".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{_unmarked(chr(10).join(cue.lines))}\n"
        for number, cue in enumerate(shown, start=1)
    )


def vtt(segments: Sequence[SegmentBody], style: SubtitleStyle = PLAIN) -> str:
    """WebVTT; cues of simultaneous speakers overlap, as the format allows."""
    blocks = ["WEBVTT\n"]
    for cue in cues(segments, style):
        text = _escaped("\n".join(cue.lines))
        if style.speakers != "never":
            text = f"<v {_escaped(speaker_name(cue.speaker))}>{text}</v>"
        blocks.append(f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{text}\n")
    return "\n".join(blocks)


def cues(segments: Sequence[SegmentBody], style: SubtitleStyle = PLAIN) -> list[Cue]:
    """Cues sorted by start, each with at least one line of text and a length above zero."""
    made = [cue for segment in segments for cue in _of_segment(segment, style)]
    ordered = _joined(sorted(made, key=lambda cue: (cue.start_ms, cue.end_ms)), style)
    return ordered if style.chars_per_sec is None else _readable(ordered, style.chars_per_sec, style.cue_secs)


def _joined(ordered: Sequence[Cue], style: SubtitleStyle) -> list[Cue]:
    """The cues with short ones joined to the nearer neighbour of the same speaker, where both fit into one cue."""
    left = list(ordered)
    number = 0
    while number < len(left):
        if left[number].end_ms - left[number].start_ms < SHORT_MS:
            pairs = [first for first in (number - 1, number) if 0 <= first < len(left) - 1]
            pairs.sort(key=lambda first: left[first + 1].start_ms - left[first].end_ms)
            for first in pairs:
                if both := _together(left[first], left[first + 1], style):
                    left[first : first + 2] = [both]
                    # The pair may still be short.
                    number = first - 1
                    break
        number += 1
    return left


def _together(first: Cue, second: Cue, style: SubtitleStyle) -> Cue | None:
    """Both as one cue; None if it would be too long, or a pause or another speaker is between them."""
    end_ms = max(first.end_ms, second.end_ms)
    too_far = second.start_ms - first.end_ms >= PAUSE_SECS * 1000 or end_ms - first.start_ms > style.cue_secs * 1000
    if first.speaker != second.speaker or too_far:
        return None
    lines = _wrap(join_words((*first.lines, *second.lines)), style.line_chars)
    return replace(first, end_ms=end_ms, lines=tuple(lines)) if len(lines) <= style.lines else None


def _labelled(shown: Sequence[Cue], style: SubtitleStyle) -> Iterator[Cue]:
    """The cues, with the speaker's label in the text where the speaker is named.

    A cue with too many lines becomes several cues.
    """
    speaker = ""
    for cue in shown:
        if cue.speaker == speaker and style.speakers != "always":
            yield cue
            continue
        speaker = cue.speaker
        pages = _labelled_pages(_label(cue.speaker, style), join_words(cue.lines), style)
        times = _shares(cue.start_ms / 1000, cue.end_ms / 1000, pages)
        for page, (start_secs, end_secs) in zip(pages, times, strict=True):
            yield _cue(start_secs, end_secs, cue.speaker, page)


def _label(speaker: str, style: SubtitleStyle) -> str:
    """The speaker's label: shortened to the number, or to initials, if it would leave little room for words."""
    name = speaker_name(speaker)
    if len(name) + 2 > min(style.line_chars, style.line_chars * style.lines // 2):
        name = speaker if speaker.isdecimal() else "".join(part[0] for part in name.split())
    return f"[{name}]".replace(" ", _JOINT)


def _labelled_pages(label: str, text: str, style: SubtitleStyle) -> list[list[str]]:
    """``text`` in pages of the style's lines.

    The first page has the label, or each page if each cue names its speaker. The label is never broken or left out. On a
    single line it stays with the first word, even if both are too long.
    """
    pages: list[list[str]] = []
    prefix, rest = f"{label} ", text
    while rest:
        lines = _wrap(prefix + rest, style.line_chars)
        if len(lines) > style.lines:
            lines = _wrap(prefix + rest, style.line_chars, even=False)
        left = join_words(lines[style.lines :])
        if len(left) < len(rest):
            pages.append([line.replace(_JOINT, " ") for line in lines[: style.lines]])
            rest = left
            prefix = f"{label} " if style.speakers == "always" else ""
        else:
            prefix = f"{label}{_JOINT}"  # The label fills the lines without any words.
    return pages


def _shares(start_secs: float, end_secs: float, pages: Sequence[Sequence[str]]) -> Iterator[tuple[float, float]]:
    """A time for each page, in proportion to its characters."""
    total_chars = sum(len(line) for page in pages for line in page)
    begin_secs = start_secs
    for page in pages:
        last_secs = begin_secs + sum(len(line) for line in page) / total_chars * max(0.0, end_secs - start_secs)
        yield begin_secs, last_secs
        begin_secs = last_secs


def apart(ordered: Sequence[Cue]) -> list[Cue]:
    """The same cues with ends and starts moved so that each begins when the previous one has ended.

    Where speakers overlap, the earlier cue is shortened down to a minimum length; then the later one is delayed.
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


def _readable(ordered: Sequence[Cue], chars_per_sec: float, most_secs: float) -> list[Cue]:
    """The cues, with later ends where reading takes longer than speaking. No cue overlaps the next."""
    shown: list[Cue] = []
    for number, cue in enumerate(ordered):
        wanted_ms = min(sum(map(len, cue.lines)) / chars_per_sec, most_secs) * 1000
        end_ms = cue.start_ms + round(wanted_ms)
        if number + 1 < len(ordered):
            end_ms = min(end_ms, ordered[number + 1].start_ms)
        shown.append(replace(cue, end_ms=max(cue.end_ms, end_ms)))
    return shown


def _of_segment(segment: SegmentBody, style: SubtitleStyle) -> Iterator[Cue]:
    if segment.words:
        for group in _groups(segment.words, style):
            lines = _wrap(join_words(w.word for w in group), style.line_chars)
            if lines:
                yield _cue(group[0].start, group[-1].end, segment.speaker, lines)
        return
    pages = _pages(_wrap(segment.text, style.line_chars), style.lines)
    # Without word times a page is shown for a time proportional to its characters.
    for page, (start_secs, end_secs) in zip(pages, _shares(segment.start, segment.end, pages), strict=True):
        yield _cue(start_secs, end_secs, segment.speaker, page)


def _groups(words: Sequence[WordBody], style: SubtitleStyle) -> Iterator[list[WordBody]]:
    """Groups of words that are shown together."""
    group: list[WordBody] = []
    for word in words:
        if group and _ends_before(group, word, style):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _ends_before(group: Sequence[WordBody], word: WordBody, style: SubtitleStyle) -> bool:
    text = join_words(w.word for w in [*group, word])
    sentence_over = group[-1].word.endswith(_SENTENCE_ENDS) and len(text) > style.line_chars
    too_late = word.end - group[0].start > style.cue_secs or word.start - group[-1].end >= PAUSE_SECS
    return sentence_over or too_late or len(_wrap(text, style.line_chars)) > style.lines


def _wrap(text: str, line_chars: int, *, even: bool = True) -> list[str]:
    """Lines of at most ``line_chars``, with two lines as even as possible if ``even``; a longer single word has its own
    line.

    Scripts without spaces between words may be broken anywhere.
    """
    words_only = " ".join(printable(text).split())
    unspaced = any(is_unspaced(char) for char in words_only)
    lines = textwrap.wrap(words_only, line_chars, break_long_words=unspaced, break_on_hyphens=False)
    if len(lines) != 2 or unspaced or not even:
        return lines
    words = " ".join(lines).split(" ")
    splits = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    first, second = min(splits, key=lambda pair: max(map(len, pair)))
    return [first, second]


def _pages(lines: Sequence[str], most: int) -> list[list[str]]:
    return [list(lines[i : i + most]) for i in range(0, len(lines), most)]


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


def _unmarked(text: str) -> str:
    """Without markup that SubRip players interpret: tags and Advanced SubStation overrides. The format has no escapes."""
    return text.replace("<", "‹").replace(">", "›").replace("{\\", "{ \\")
