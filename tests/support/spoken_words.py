"""Sentences of the words that the trained recognisers know, with word times by the synthesiser."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, Word
from schemas.engines import Samples
from scripts.word_speech import SpokenUtterance
from tests.support.processes import python

_ROOT = Path(__file__).resolve().parents[2]

SENTENCES = (
    "Hello seven stop left.",
    "Nine two go right. Down four world.",
    "Zero one three. Yes no up.",
    "Five six eight go.",
)

# The first render of a process is the same every time, so each has a fresh one, as in `tests.support.speech`.
_RENDER = """
import json, pickle, sys
from multiprocessing import get_context
from scripts.word_speech import render
from serve.engines.tts.espeak import Espeak, Prosody

def made(job):
    return render(Espeak(), job[0], job[1], Prosody(rate_wpm=145))

if __name__ == "__main__":
    with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        pickle.dump(pool.map(made, json.load(sys.stdin), chunksize=1), sys.stdout.buffer)
"""


def spoken(*texts: str, voice: str = "en-us") -> list[SpokenUtterance]:
    """The texts rendered, the same bytes in every run; digital silence in their pauses."""
    return [_rendered(texts, voice)[index] for index in range(len(texts))]


@cache
def _rendered(texts: tuple[str, ...], voice: str) -> list[SpokenUtterance]:
    jobs = json.dumps([[text, voice] for text in texts])
    done = python(_RENDER, input=jobs.encode(), cwd=_ROOT)
    made: list[SpokenUtterance] = pickle.loads(done.stdout)
    assert all(utterance is not None for utterance in made)
    return made


def one_after_another(parts: Sequence[SpokenUtterance], gap_secs: Seconds) -> SpokenUtterance:
    """The parts with silence between them."""
    gap = np.zeros(round(gap_secs * SAMPLE_RATE_HZ), np.float32)
    pieces: list[Samples] = []
    spans: list[Span] = []
    at = 0.0
    for part in parts:
        spans += [Span(s.start_secs + at, s.end_secs + at) for s in part.spans]
        pieces += [part.samples, gap]
        at += (part.samples.size + gap.size) / SAMPLE_RATE_HZ
    return SpokenUtterance(np.concatenate(pieces), tuple(word for part in parts for word in part.words), tuple(spans))


def plain(words: Sequence[str]) -> list[str]:
    return [word.lower().rstrip(".") for word in words]


def texts(words: Sequence[Word]) -> list[str]:
    return [word.text for word in words]


def assert_timed(words: Sequence[Word], utterance: SpokenUtterance, tolerance_secs: Seconds = 0.1) -> None:
    """Asserts that every word starts at the synthesiser's time, and ends before the next one has lasted long."""
    assert len(words) == len(utterance.spans)
    for word, span in zip(words, utterance.spans, strict=True):
        assert abs(word.start_secs - span.start_secs) <= tolerance_secs, (word, span)
        assert span.start_secs < word.end_secs <= span.end_secs + 2 * tolerance_secs, (word, span)


def assert_in_order(words: Sequence[Word], duration_secs: Seconds) -> None:
    last = 0.0
    for word in words:
        assert 0 <= word.start_secs < word.end_secs <= duration_secs
        assert last <= word.start_secs
        assert 0 <= word.confidence <= 1
        last = word.start_secs
