"""Compares two revisions of a transcription: word error rate, speakers, and the passages with most differences."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence

from lakehouse.archives.word_alignment import Step, align
from lakehouse.storage.objects import Objects
from schemas.archives import ArchiveFile, Difference, FileDiff
from schemas.domain import Job, Seconds, Span, Transcript, Word
from schemas.errors import NotFound
from schemas.spacing import join_words

SHOWN = 5
"""Passages shown of a file, those with most errors first."""
SHOWN_WORDS = 24
"""Words shown of each side of a passage."""
_BETWEEN = 2
"""Two differences with at most this many equal words between them are one passage."""
_NO_LETTERS = re.compile(r"[^\w']+")


async def compare(objects: Objects, file: ArchiveFile, old: Job | None, new: Job | None) -> FileDiff:
    """The differences of two revisions of a file's transcription; ``problem`` is the reason why they cannot be compared,
    if there is one.
    """
    if old is None or new is None:
        return _problem(file, new, "the earlier revision is no longer kept" if new else "the transcription was deleted")
    if old.result_key is None or new.result_key is None:
        return _problem(file, new, f"the earlier revision is {old.status}: it has no words")
    try:
        before, after = [await _transcript(objects, key) for key in (old.result_key, new.result_key)]
    except (NotFound, ValueError, KeyError, TypeError):
        return _problem(file, new, "a result object is gone or damaged")
    return await asyncio.to_thread(_compared, file, old, new, before, after)


def difference(before: Sequence[Word], after: Sequence[Word]) -> tuple[int, list[Difference]]:
    """(errors from ``before`` to ``after``, the passages in which they differ, most errors first).

    Case and punctuation are ignored. Words must be in order of start.
    """
    old, new = _spoken(before), _spoken(after)
    steps = align(old, new)
    found = [_difference(steps[first:last], old, new) for first, last in _passages(steps)]
    return sum(one.errors for one in found), sorted(found, key=lambda one: -one.errors)


def _compared(file: ArchiveFile, old: Job, new: Job, before: Transcript, after: Transcript) -> FileDiff:
    words = [[word for segment in said.segments for word in segment.words] for said in (before, after)]
    ordered = [sorted(some, key=lambda word: word.start_secs) for some in words]
    errors, found = difference(*ordered)
    return FileDiff(
        transcription_id=new.id,
        filename=file.filename,
        account=file.account,
        old_revision=old.revision,
        new_revision=new.revision,
        audio_secs=after.audio_duration_secs,
        old_words=len(_spoken(ordered[0])),
        new_words=len(_spoken(ordered[1])),
        errors=errors,
        old_speakers=before.num_speakers,
        new_speakers=after.num_speakers,
        differences=tuple(found[:SHOWN]),
    )


def _spoken(words: Sequence[Word]) -> list[Word]:
    """Words in lower case without punctuation; empty ones are left out."""
    plain = (Word(_NO_LETTERS.sub("", word.text).lower(), word.start_secs, word.end_secs) for word in words)
    return [word for word in plain if word.text]


def _passages(steps: Sequence[Step]) -> list[tuple[int, int]]:
    """[first, last) steps of each passage that differs."""
    found: list[tuple[int, int]] = []
    for number, step in enumerate(steps):
        if step.is_error:
            if found and number - found[-1][1] <= _BETWEEN:
                found[-1] = found[-1][0], number + 1
            else:
                found.append((number, number + 1))
    return found


def _difference(steps: Sequence[Step], old: Sequence[Word], new: Sequence[Word]) -> Difference:
    before = [old[step.old] for step in steps if step.old is not None]
    after = [new[step.new] for step in steps if step.new is not None]
    both = [*before, *after]
    span = Span(min(word.start_secs for word in both), max(word.end_secs for word in both))
    return Difference(span, sum(step.is_error for step in steps), _shown(before), _shown(after))


def _shown(words: Sequence[Word]) -> str:
    text = join_words(word.text for word in words[:SHOWN_WORDS])
    return f"{text} …" if len(words) > SHOWN_WORDS else text


async def _transcript(objects: Objects, key: str) -> Transcript:
    return Transcript.from_json(json.loads(await objects.get_bytes(key)))


def _problem(file: ArchiveFile, new: Job | None, why: str) -> FileDiff:
    secs: Seconds = file.audio_secs or 0.0
    revision = file.revision or 0
    return FileDiff(
        transcription_id=file.transcription_id or 0,
        filename=file.filename,
        account=file.account,
        old_revision=revision - 1,
        new_revision=revision,
        audio_secs=secs,
        old_words=0,
        new_words=0,
        errors=0,
        old_speakers=0,
        new_speakers=(new.num_speakers or 0) if new else 0,
        problem=why,
    )
