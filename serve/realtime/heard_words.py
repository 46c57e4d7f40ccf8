"""Finds the last heard word of a response by recognising the played audio; the estimate by letters of `heard_text` may be
off by a word.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from difflib import SequenceMatcher
from typing import Final

import numpy as np

from audio.pcm import to_float, to_int16
from audio.resample import Resampler
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, Seconds, Word
from schemas.errors import FluxionsError
from serve.realtime.items import SpokenContent

logger = logging.getLogger(__name__)

Listen = Callable[[bytes], Awaitable[Sequence[Word]]]
"""Returns the words of an utterance with their times, s16le at 16 kHz mono."""
_LEAST_SECS: Final[Seconds] = 0.3
_ENOUGH: Final = 0.6
"""Share of the recognised words that must match the text; otherwise the estimate by letters is kept."""
_LATE_SECS: Final[Seconds] = 0.1
"""Typical error of the recogniser's word ends."""
_WORD: Final = re.compile(r"[\w'’]+")


class HeardWords:
    """For one session. `find` starts a search; the result is in the content once its event `settled` is set."""

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, spoken: SpokenContent) -> None:
        """Find the last heard word of an interrupted response."""
        heard_secs = spoken.heard_secs or 0.0
        passage = next((p for p in spoken.passages if p.start_secs <= heard_secs < p.end_secs), None)
        if passage is None or heard_secs - passage.start_secs < _LEAST_SECS:
            return
        first, last = (2 * round(secs * SPEECH_RATE_HZ) for secs in (passage.start_secs, heard_secs))
        pcm = bytes(spoken.pcm[first:last])
        if not pcm:
            return
        spoken.heard_chars = None
        spoken.settled = asyncio.Event()
        text = spoken.transcript[passage.start : passage.end]
        work = self._settle(spoken, spoken.settled, passage.start, text, pcm, heard_secs - passage.start_secs)
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(
        self, spoken: SpokenContent, settled: asyncio.Event, start: int, text: str, pcm: bytes, secs: Seconds
    ) -> None:
        try:
            resampler = Resampler(SAMPLE_RATE_HZ)
            samples = to_float(np.frombuffer(pcm, "<i2"))
            sound = np.concatenate((resampler.feed(samples, SPEECH_RATE_HZ), resampler.finish()))
            words = await self._listen(to_int16(sound).tobytes())
            heard = [word.text for word in words if word.end_secs <= secs + _LATE_SECS]
            if (chars := heard_chars(text, heard)) is not None and settled is spoken.settled:
                spoken.heard_chars = start + chars
        except FluxionsError as error:
            logger.warning("the heard part of an answer could not be recognised: %s", type(error).__name__)
        finally:
            settled.set()

    async def close(self) -> None:
        """Cancel all searches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def heard_chars(text: str, heard: Sequence[str]) -> int | None:
    """The length of ``text`` up to the end of the last heard word; None if the recognised words do not match."""
    written = list(_WORD.finditer(text))
    said = [found.group().lower() for word in heard for found in _WORD.finditer(word)]
    if not said:
        return None
    matcher = SequenceMatcher(None, [word.group().lower() for word in written], said, autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size]
    if sum(block.size for block in blocks) < _ENOUGH * len(said):
        return None
    last = blocks[-1]
    # Words after the last match were misrecognised.
    end = min(len(written), last.a + last.size + len(said) - (last.b + last.size))
    following = text[written[end - 1].end() :]
    return written[end - 1].end() + len(following) - len(following.lstrip(".,;:!?…\"'”’)"))
