"""Renders a request as chunks: passage by passage, gathered to larger pieces, cut at the length limit."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from audio.pcm import to_int16
from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples, Synthesizer
from schemas.errors import InvalidParameter
from schemas.speech import MAX_SPEED, MIN_SPEED, Passage, RenderedChunk, RenderRequest
from serve.engines.tts.passages import ceiling_secs, passages
from serve.engines.tts.silence_trimming import fade_out
from serve.engines.tts.stream_plan import WHOLE, StreamPlan
from serve.engines.tts.verify.verdict import Verifier, expected_of
from serve.engines.tts.verify.verified_render import Checked, render_checked

_FIRST_PIECE_SECS: Final = 0.1
_LONGEST_PIECE_SECS: Final = 1.0


class Stopped(Exception):
    """The render was stopped by its caller."""


def rendered(
    synthesizer: Synthesizer,
    request: RenderRequest,
    verifier: Verifier | None = None,
    verify_retries: int = 0,
    stop: threading.Event | None = None,
) -> Generator[RenderedChunk, None, None]:
    """One window of a request, checked if it asks for that and there is a ``verifier``.

    A running generator cannot be closed from another thread; setting ``stop`` ends it after the engine's next piece.
    Raises InvalidParameter for a text with nothing to say, EngineFailure, Stopped.
    """
    stop = stop or threading.Event()
    left = round((request.max_secs or ceiling_secs(request.text) / request.speed) * SPEECH_RATE_HZ)
    window = round(request.window_secs * SPEECH_RATE_HZ)
    text_end = len(request.text.rstrip())
    made = 0
    for passage in _passages(synthesizer, request):
        render = partial(_rendering, synthesizer, passage, request, stop)
        checked: Checked | None = None
        if request.verify and verifier is not None:
            expected = expected_of(passage, request.voice)
            checked = render_checked(render, expected, verifier, verify_retries)
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
        raise InvalidParameter(
            "input holds nothing that can be spoken, such as emoji or punctuation alone; send words or a cue",
            code="nothing_to_say",
            param="input",
        )


def _passages(synthesizer: Synthesizer, request: RenderRequest) -> Iterator[Passage]:
    """The window's passages, in lengths that suit the engine, and for a stream its latency."""
    language = request.voice.language
    if not synthesizer.info.capabilities["whole_passages"]:
        return passages(request.text, request.start, language)
    if request.streamed and request.start == 0:
        return passages(request.text, 0, language, plan=StreamPlan(request.speed, request.ahead_secs))
    return passages(request.text, request.start, language, limits=WHOLE)


def _rendering(
    synthesizer: Synthesizer, passage: Passage, request: RenderRequest, stop: threading.Event, pace: float = 1.0
) -> Generator[Samples, None, None]:
    """A passage in pieces, none of them empty, at ``pace`` relative to the request's speed if the engine has speeds.

    Raises Stopped.
    """
    paced = min(MAX_SPEED, max(MIN_SPEED, request.speed * pace))
    speed = paced if synthesizer.info.capabilities["speed"] else 1.0
    with closing(synthesizer.render(passage, request.voice, request.temperature, speed)) as pieces:
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
    """``pieces`` gathered to growing lengths, and whether each is the last. The first is sent at once; later ones are
    longer, to need fewer messages. All in one if ``whole``. The last is empty if there is only one piece."""
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
