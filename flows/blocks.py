"""A long recording cut into blocks of minutes, and what is found in one: a plain value that can be kept and read back.

A block is known by its sound and by what is asked of it, so the result of one is good wherever that sound comes again.
Its utterances are those of the whole recording: one that runs over an edge is heard whole, by the block it mostly lies in.
What is kept is sealed with a key made of the sound: once a recording is deleted, nobody can read what was heard in it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
from cryptography.fernet import Fernet

from audio.pcm import PcmFile
from audio.vad import FRAME_SECS, Probabilities
from flows.steps import clip
from schemas import wire
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds, Span
from schemas.engines import VoiceWindows

_QUIET_SECS: Seconds = 0.5
"""Length of the quiet stretch in whose middle a block ends."""
_SEARCHED_SHARE = 0.2
"""The end of a block is looked for in this last share of its longest length."""
_KEY_VERSION = 6
"""Part of every key: raised when `HeardBlock.to_json` changes, or what its times count from."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block lies in its recording, and what is asked of it; ``utterances`` and ``speech`` count from its start.

    The spans of all blocks cover the recording once, and so do their speech and sounds; utterances may reach over an edge.
    """

    number: int
    span: Span
    utterances: tuple[Span, ...]
    speech: tuple[Span, ...]
    key: str
    sounds_key: str | None
    """What is heard in it besides speech is kept by this; None where nobody listens for that."""
    seal: bytes
    """32 bytes that only the sound the block hears gives; `key` does not tell them."""


@dataclass(frozen=True, slots=True)
class HeardBlock:
    """What the engines found. Words count from the start of their utterance, ``windows`` from that of the block; there are
    none, and ``windows`` is None, where nobody talks."""

    recognitions: tuple[Recognition, ...]
    windows: VoiceWindows | None

    def to_json(self) -> dict[str, Any]:
        windows = None if self.windows is None else wire.windows_to_bytes([self.windows])
        return {
            "recognitions": [wire.recognition_to_json(r) for r in self.recognitions],
            "windows": None if windows is None else base64.b64encode(windows).decode(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> HeardBlock:
        packed = data["windows"]
        windows = None if packed is None else wire.windows_from_bytes(base64.b64decode(packed))[0]
        return cls(tuple(wire.recognition_from_json(r) for r in data["recognitions"]), windows)

    def sealed(self, seal: bytes) -> str:
        """As it is kept: see the function `sealed`."""
        return sealed(self.to_json(), seal)

    @classmethod
    def opened(cls, kept: str, seal: bytes) -> HeardBlock:
        """What ``sealed`` gave. Raises cryptography.fernet.InvalidToken for another seal."""
        return cls.from_json(unsealed(kept, seal))


def bounds(probabilities: Probabilities, duration_secs: Seconds, longest_secs: Seconds) -> list[Span]:
    """The recording cut where it is quietest, so that no word is cut; none is longer than ``longest_secs``.

    ``probabilities`` are those of speech by frame; every cut but the last lies on a frame's start.
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
    utterances: Sequence[Span],
    *,
    longest_secs: Seconds,
    engine_revision: str,
    sounds_revision: str | None = None,
) -> list[Block]:
    """The blocks of a recording, heard for sounds too if ``sounds_revision`` names an engine. Reads all of it once."""
    spans = bounds(probabilities, pcm.duration_secs, longest_secs)
    middles = [(u.start_secs + u.end_secs) / 2 for u in utterances]
    # Utterances are sorted by start and by end, so their middles are too: each block has a run of them.
    edges = np.searchsorted(middles, [span.start_secs for span in spans[1:]]).tolist()
    found = []
    for number, (span, first, last) in enumerate(zip(spans, [0, *edges], [*edges, len(utterances)], strict=True)):
        asked = tuple(_from(span.start_secs, u) for u in utterances[first:last])
        talk = clip(speech, span)
        reach = _reach(span, utterances[first:last])
        sound = pcm.read_bytes(reach)
        placed = wire.spans_to_json([_from(reach.start_secs, span)])
        key = _key(sound, engine_revision, placed, wire.spans_to_json(asked), wire.spans_to_json(talk))
        sounds_key = _key(sound, sounds_revision, placed, "sounds") if sounds_revision else None
        seal = hashlib.blake2b(sound, digest_size=32, person=b"seal").digest()
        found.append(Block(number, span, asked, tuple(talk), key, sounds_key, seal))
    return found


def _reach(span: Span, utterances: Sequence[Span]) -> Span:
    """All that is heard for a block: its span, and what its utterances reach beyond."""
    spans = [span, *utterances]
    return Span(min(s.start_secs for s in spans), max(s.end_secs for s in spans))


def _from(start_secs: Seconds, span: Span) -> Span:
    """``span`` counted from ``start_secs``, to the sample: the same wherever in a recording both lie."""
    start, end = (round((at - start_secs) * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ for at in (span.start_secs, span.end_secs))
    return Span(start, end)


def sealed(data: Any, seal: bytes) -> str:
    """JSON ``data`` as it is kept: encrypted (Fernet) with a key that needs the very sound."""
    return _cipher(seal).encrypt(orjson.dumps(data)).decode()


def unsealed(kept: str, seal: bytes) -> Any:
    """What `sealed` was given. Raises cryptography.fernet.InvalidToken for another seal."""
    return orjson.loads(_cipher(seal).decrypt(kept.encode()))


def _cipher(seal: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(seal))


def _key(pcm: bytes, revision: str, *asked: Any) -> str:
    """SHA-256, in hex, of everything the result depends on."""
    digest = hashlib.sha256(orjson.dumps([_KEY_VERSION, revision, *asked]))
    digest.update(b"\0")
    digest.update(pcm)
    return digest.hexdigest()
