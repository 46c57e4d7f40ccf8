"""A request as chunks: its passages rendered one by one, gathered to pieces worth a message, cut at the ceiling."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from audio.pcm import to_int16
from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import RenderedChunk, RenderRequest, Samples, Synthesizer
from schemas.errors import InvalidParameter
from serve.tts.chunks import ceiling_secs, passages
from serve.tts.joins import fade_out
from serve.tts.text.marks import check_marks
from serve.tts.verify.retrying import Checked, render_checked
from serve.tts.verify.verdict import Verifier

_FIRST_PIECE_SECS: Final = 0.1
_LONGEST_PIECE_SECS: Final = 1.0


class Stopped(Exception):
    """The render was told to stop."""


def rendered(
    synthesizer: Synthesizer,
    request: RenderRequest,
    verifier: Verifier | None = None,
    verify_retries: int = 0,
    stop: threading.Event | None = None,
) -> Generator[RenderedChunk, None, None]:
    """One window of a request, checked where it asks for that and there is a ``verifier``.

    A generator that runs cannot be closed from another thread; setting ``stop`` ends it with the engine's next piece.
    Raises InvalidParameter for an unknown cue or a text with nothing to say, EngineFailure, Stopped.
    """
    stop = stop or threading.Event()
    check_marks(request.text)
    left = round((request.max_secs or ceiling_secs(request.text)) * SPEECH_RATE_HZ)
    window = round(request.window_secs * SPEECH_RATE_HZ)
    text_end = len(request.text.rstrip())
    made = 0
    for passage in passages(request.text, request.start):
        render = partial(_until, stop, partial(synthesizer.render, passage, request.voice, request.temperature))
        checked: Checked | None = None
        if request.verify and verifier is not None:
            checked = render_checked(render, passage, verifier, verify_retries)
        with closing(_whole(checked.samples) if checked else render()) as pieces:
            for samples, is_last in _grown(_limited(pieces, left - made), first=made == 0, whole=request.verify):
                made += samples.size
                pcm = to_int16(samples).tobytes()
                if not is_last:
                    yield RenderedChunk(pcm)
                    continue
                goes_on = passage.end < text_end and made < left
                ending = RenderedChunk(pcm, True, passage.words, passage.end if goes_on else None)
                yield _with_verdict(ending, checked) if checked else ending
        if made >= min(left, window):
            return
    if not made and request.start == 0:
        raise InvalidParameter("input holds nothing that can be spoken", code="nothing_to_say", param="input")


def _until(stop: threading.Event, render: Callable[[], Generator[Samples, None, None]]) -> Generator[Samples, None, None]:
    """What ``render`` makes, without its empty pieces. Raises Stopped."""
    with closing(render()) as pieces:
        for piece in pieces:
            if stop.is_set():
                raise Stopped
            if piece.size:
                yield piece


def _whole(samples: Samples) -> Generator[Samples, None, None]:
    yield samples


def _with_verdict(chunk: RenderedChunk, checked: Checked) -> RenderedChunk:
    verdict = checked.verdict
    return replace(chunk, retries=checked.retries, word_error_rate=verdict.word_error_rate, passed=verdict.ok)


def _limited(pieces: Iterator[Samples], num_samples: int) -> Iterator[Samples]:
    """``pieces`` up to ``num_samples`` in all, faded out where they are cut."""
    for piece in pieces:
        if piece.size >= num_samples:
            yield fade_out(piece[:num_samples])
            return
        num_samples -= piece.size
        yield piece


def _grown(pieces: Iterator[Samples], *, first: bool, whole: bool) -> Iterator[tuple[Samples, bool]]:
    """``pieces`` gathered to growing lengths, and whether each is the last: the first is sent at once, later ones cost
    fewer messages. All in one where ``whole``. The last is empty where the first was all there is."""
    wanted = _FIRST_PIECE_SECS if first else _LONGEST_PIECE_SECS
    held: list[Samples] = []
    size = 0
    for piece in pieces:
        if first and not whole and not held and piece.size >= wanted * SPEECH_RATE_HZ / 2:
            yield piece, False
            first = False
            continue
        if not whole and size >= wanted * SPEECH_RATE_HZ / 2:
            yield np.concatenate(held), False
            held, size = [], 0
            wanted = min(_LONGEST_PIECE_SECS, 2 * wanted)
        held.append(piece)
        size += piece.size
    yield np.concatenate(held) if held else np.zeros(0, np.float32), True
