"""Makes segments and text of words, turns and events, in the form of the API contract. Pure functions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace

from flows.transcription.sentence_ends import ends_sentence
from schemas.domain import Seconds, Segment, SoundEvent, Turn, Word
from schemas.spacing import join_words

SEGMENT_GAP_SECS: Seconds = 0.5
"""A pause this long within one speaker's words starts a new segment."""

_NOBODYS = ("pause", "env")


def renumber(speakers: Sequence[int], turns: Sequence[Turn]) -> tuple[list[int], tuple[Turn, ...]]:
    """Renumber speakers by their first word; speakers without words follow, by their first turn."""
    order: dict[int, int] = {}
    for speaker in (*speakers, *(turn.speaker for turn in turns)):
        order.setdefault(speaker, len(order))
    return [order[s] for s in speakers], tuple(replace(turn, speaker=order[turn.speaker]) for turn in turns)


def segments_of(words: Sequence[Word], speakers: Sequence[int]) -> tuple[Segment, ...]:
    """Runs of one speaker's words: a segment ends with a sentence, at a long pause, and where the speaker changes."""
    groups: list[tuple[int, list[Word]]] = []
    for word, speaker in zip(words, speakers, strict=True):
        if groups and _continues(groups[-1], word, speaker):
            groups[-1][1].append(word)
        else:
            groups.append((speaker, [word]))
    counts: dict[int, int] = {}
    segments = []
    for speaker, run in groups:
        index = counts.get(speaker, 0)
        counts[speaker] = index + 1
        text = join_words(w.text for w in run)
        segments.append(Segment(speaker, index, text, run[0].start_secs, run[-1].end_secs, tuple(run)))
    return tuple(segments)


def _continues(group: tuple[int, list[Word]], word: Word, speaker: int) -> bool:
    last = group[1][-1]
    return (
        group[0] == speaker
        and word.start_secs - last.end_secs < SEGMENT_GAP_SECS
        and not ends_sentence(last.text, word.text)
    )


def text_of(segments: Sequence[Segment], events: Iterable[SoundEvent] = ()) -> str:
    """Lines ``SPEAKER_0: …``, one a turn, in order of starts, with events inline at their times.

    An event that begins with a word precedes it. An event without speaker goes into the current line.
    """
    tokens: list[tuple[Seconds, int, int | None, str]] = [
        (event.start_secs, 0, event.speaker, f"[{event.tag}]") for event in events
    ]
    tokens += [(word.start_secs, 1, segment.speaker, word.text) for segment in segments for word in segment.words]
    tokens.sort(key=lambda t: (t[0], t[1]))
    lines: list[tuple[int, list[str]]] = []
    for _, _, speaker, text in tokens:
        if lines and speaker in (None, lines[-1][0]):
            lines[-1][1].append(text)
        else:
            lines.append((speaker or 0, [text]))
    return "\n".join(f"SPEAKER_{speaker}: {join_words(texts)}" for speaker, texts in lines)


def attribute(events: Sequence[SoundEvent], segments: Sequence[Segment]) -> tuple[SoundEvent, ...]:
    """Events with the speaker of the word before them; pauses and environmental sounds have no speaker."""
    words = sorted((w.start_secs, s.speaker) for s in segments for w in s.words)
    starts = [start for start, _ in words]
    found = []
    for event in events:
        at = bisect_left(starts, event.end_secs) - 1
        speaker = words[max(at, 0)][1] if words and event.tag not in _NOBODYS else None
        found.append(SoundEvent(event.tag, event.start_secs, event.end_secs, event.confidence, speaker))
    return tuple(found)
