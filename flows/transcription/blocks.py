"""Cuts a long recording into blocks of minutes, and computes the cache keys and encryption keys of their results.

A cache key is a hash of the block's audio and of the request, so results hold for the same audio in any recording. Windows
are those of the whole recording: one that crosses a block boundary is recognised whole, by the block that holds most of it.
Stored results are encrypted with a key derived from the audio, so nobody can read them once the recording is deleted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
from cryptography.fernet import Fernet

from audio.pcm import PcmFile
from audio.speech_windows import Window
from audio.vad import FRAME_SECS, Probabilities
from flows.transcription.spans import clip_spans
from schemas import wire
from schemas.domain import Recognition, RecognizeOptions, Seconds, Span
from schemas.engines import VoiceWindows

_QUIET_SECS: Seconds = 0.5
"""Length of the quiet stretch in whose middle a block ends."""
_SEARCHED_SHARE = 0.2
"""A block ends within this last share of its longest length."""
_KEY_VERSION = 7
"""Part of every key: raised when the stored format changes, or the origin of its times."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block's span in its recording, and its requests to the engines; ``windows`` and ``speech`` count from its start.

    Spans, speech and sound events of all blocks cover the recording once; windows may cross a block boundary.
    """

    number: int
    span: Span
    windows: tuple[Window, ...]
    speech: tuple[Span, ...]
    words_key: str
    """Cache key of its words, together with their language: see `key_in_language`."""
    voices_key: str
    sounds_key: str | None
    """None where sound events are not detected in the audio."""
    content_key: bytes
    """32 bytes derived from the block's audio; they cannot be derived from the cache keys."""


def cut_into_spans(probabilities: Probabilities, duration_secs: Seconds, longest_secs: Seconds) -> list[Span]:
    """The recording cut at its quietest points, so that no word is cut; no span is longer than ``longest_secs``.

    ``probabilities`` are those of speech by frame; every cut but the last is at a frame's start.
    """
    longest = max(2, int(longest_secs / FRAME_SECS))
    quiet = max(1, min(round(_QUIET_SECS / FRAME_SECS), int(longest * _SEARCHED_SHARE)))
    cuts = [0]
    while len(probabilities) - cuts[-1] > longest:
        last = cuts[-1] + longest
        first = last - max(quiet, int(longest * _SEARCHED_SHARE))
        sums = np.convolve(probabilities[first:last], np.ones(quiet), "valid")
        cuts.append(first + int(np.argmin(sums)) + quiet // 2)
    edges = [cut * FRAME_SECS for cut in cuts] + [duration_secs]
    return [Span(a, b) for a, b in pairwise(edges)]


def blocks_of(
    pcm: PcmFile,
    probabilities: Probabilities,
    speech: Sequence[Span],
    windows: Sequence[Window],
    *,
    longest_secs: Seconds,
    options: RecognizeOptions,
    engine_revision: str,
    sounds_revision: str | None = None,
    account: str,
) -> list[Block]:
    """The blocks of a recording, with sound events if ``sounds_revision`` names a detector. Reads the whole file once.

    ``account`` is in every key, so that no account learns by timing what another account has sent.
    """
    spans = cut_into_spans(probabilities, pcm.duration_secs, longest_secs)
    middles = [(w.span.start_secs + w.span.end_secs) / 2 for w in windows]
    # Windows are sorted by start and by end, so their middles are too: each block has a run of them.
    edges = np.searchsorted(middles, [span.start_secs for span in spans[1:]]).tolist()
    found = []
    for number, (span, first, last) in enumerate(zip(spans, [0, *edges], [*edges, len(windows)], strict=True)):
        own_windows = tuple(window.counted_from(span.start_secs) for window in windows[first:last])
        own_speech = clip_spans(speech, span)
        reach = _reach(span, windows[first:last])
        audio = pcm.read_bytes(reach)
        span_in_audio = _window_json(Window((span,)).counted_from(reach.start_secs))
        engine = [account, engine_revision, span_in_audio]
        found.append(
            Block(
                number=number,
                span=span,
                windows=own_windows,
                speech=tuple(own_speech),
                words_key=_key(audio, "words", *engine, [_window_json(w) for w in own_windows], asdict(options)),
                voices_key=_key(audio, "voices", *engine, wire.spans_to_json(own_speech)),
                sounds_key=_key(audio, "sounds", account, sounds_revision, span_in_audio) if sounds_revision else None,
                content_key=content_key(audio),
            )
        )
    return found


def language_key(blocks: Sequence[Block]) -> str:
    """Cache key of the choice of a recording's language."""
    return hashlib.sha256(orjson.dumps([_KEY_VERSION, "language", [block.words_key for block in blocks]])).hexdigest()


def key_in_language(key: str, language: str | None) -> str:
    """``key`` for words recognised in ``language``; None where the recogniser was given none."""
    return key if language is None else hashlib.sha256(f"{key} {language}".encode()).hexdigest()


def content_key(audio: bytes) -> bytes:
    """Encryption key (32 bytes) of results computed from ``audio``."""
    return hashlib.blake2b(audio, digest_size=32, person=b"content key").digest()


def recording_content_key(blocks: Sequence[Block]) -> bytes:
    """Encryption key of results computed from a whole recording."""
    return content_key(b"".join(block.content_key for block in blocks))


def encrypt(data: Any, key: bytes) -> str:
    """JSON ``data`` as it is stored: encrypted (Fernet) with a `content_key`."""
    return _cipher(key).encrypt(orjson.dumps(data)).decode()


def decrypt(stored: str, key: bytes) -> Any:
    """The inverse of `encrypt`. Raises cryptography.fernet.InvalidToken for another key."""
    return orjson.loads(_cipher(key).decrypt(stored.encode()))


def words_to_json(recognitions: Sequence[Recognition]) -> list[dict[str, Any]]:
    """Words of a block, to be stored; their times count from the start of their window's span."""
    return [wire.recognition_to_json(r) for r in recognitions]


def words_from_json(data: Sequence[dict[str, Any]]) -> list[Recognition]:
    """The inverse of `words_to_json`."""
    return [wire.recognition_from_json(one) for one in data]


def voices_to_json(windows: VoiceWindows) -> str:
    """Speaker features of a block, to be stored; their times count from the block's start."""
    return base64.b64encode(wire.windows_to_bytes([windows])).decode()


def voices_from_json(data: str) -> VoiceWindows:
    """The inverse of `voices_to_json`."""
    return wire.windows_from_bytes(base64.b64decode(data))[0]


def _reach(span: Span, windows: Sequence[Window]) -> Span:
    """The audio that a block's results depend on: its span, extended by windows that cross its boundaries."""
    spans = [span, *(window.span for window in windows)]
    return Span(min(s.start_secs for s in spans), max(s.end_secs for s in spans))


def _window_json(window: Window) -> list[list[float]]:
    return [[piece.start_secs, piece.end_secs] for piece in window.pieces]


def _cipher(key: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(key))


def _key(pcm: bytes, what: str, *asked: Any) -> str:
    """SHA-256, in hex, of everything the result depends on."""
    digest = hashlib.sha256(orjson.dumps([_KEY_VERSION, what, *asked]))
    digest.update(b"\0")
    digest.update(pcm)
    return digest.hexdigest()
