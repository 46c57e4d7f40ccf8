"""The embedded recogniser: pocketsphinx 5 with the US English model of its own wheel, no download.

A usable toy: about one word in three is wrong on read speech. It knows 134,860 words, writes no capitals and no
punctuation; its posteriors are calibrated (see `serve.asr.confidence`). One decoder runs at about five
times real time on one core, in a child process (see `decoder_process`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from typing import Final

import numpy as np

from audio.pcm import to_int16
from schemas import domain
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds
from schemas.engines import EngineInfo, RecognizerCapabilities, Samples
from schemas.errors import EngineFailure
from serve.asr import decoder_process
from serve.asr.conditioning import condition, is_speechless
from serve.asr.confidence import calibrated
from serve.asr.decoder_process import DecoderDied, DecoderProcess

_FRAME_SECS: Final = 0.01
_MIN_SECS: Final = 0.1
"""Shorter utterances hold no word and too few frames to decode."""

_CONDITIONING_VERSION: Final = 2
"""Raised when conditioning, confidence or the reading of the decoder's words changes what comes out."""

_VARIANT: Final = re.compile(r"\(\d+\)$")

CAPABILITIES: Final = RecognizerCapabilities(
    languages=("en",), word_timestamps=True, word_confidence=True, punctuation=False, max_utterance_secs=60.0
)


@cache
def describe() -> EngineInfo:
    """What this engine is, without loading it: reads the 36 MB of model files once a process (0.1 s)."""
    distribution = importlib.metadata.distribution("pocketsphinx")
    digest = hashlib.sha256()
    for file in sorted(distribution.files or (), key=str):
        if "/model/" in str(file):
            digest.update(str(file).encode() + b"\0" + distribution.locate_file(file).read_bytes())  # type: ignore[attr-defined]
    options = json.dumps([decoder_process.DECODER_OPTIONS, _CONDITIONING_VERSION], sort_keys=True)
    digest.update(options.encode())
    return EngineInfo(
        slot="recognizer",
        engine="pocketsphinx",
        model="en-us",
        revision=f"pocketsphinx-{distribution.version}-{digest.hexdigest()[:12]}",
        capabilities=asdict(CAPABILITIES),
    )


class PocketsphinxRecognizer:
    """A `schemas.engines.Recognizer` with one decoder; calls from several threads wait for each other.

    A decoder that dies is replaced, and the utterance it held is tried once more.
    """

    def __init__(self) -> None:
        """Starts the decoder and waits until it is loaded. Raises EngineFailure."""
        # Every start and every exchange happens on this one thread: the child lives exactly as long as it does.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")
        self._process = self._thread.submit(DecoderProcess).result()

    @property
    def info(self) -> EngineInfo:
        return describe()

    @property
    def decoder_pid(self) -> int:
        return self._process.pid

    def recognize(self, utterances: Sequence[Samples]) -> list[Recognition]:
        """One Recognition an utterance, in order. Raises EngineFailure for one too long or not decodable."""
        return [self._recognize_one(samples) for samples in utterances]

    def close(self) -> None:
        """Ends the decoder."""
        self._thread.submit(self._process.close).result()
        self._thread.shutdown()

    def _recognize_one(self, samples: Samples) -> Recognition:
        duration = samples.size / SAMPLE_RATE_HZ
        if duration > CAPABILITIES.max_utterance_secs:
            raise EngineFailure(
                f"an utterance of {duration:.1f} s is over the recogniser's {CAPABILITIES.max_utterance_secs:.0f} s"
            )
        if not np.isfinite(samples).all():
            raise EngineFailure("the utterance holds samples that are not finite numbers")
        if duration < _MIN_SECS or is_speechless(samples):
            return Recognition((), "en")
        ready = condition(samples)
        found = self._thread.submit(self._decode, to_int16(ready.samples).tobytes()).result()
        return Recognition(calibrated(read_words(found, ready.pad_secs, duration)), "en")

    def _decode(self, pcm: bytes) -> list[decoder_process.Word]:
        if not self._process.is_running:
            self._replace()
        try:
            return self._process.decode(pcm)
        except DecoderDied:
            self._replace()
            return self._process.decode(pcm)

    def _replace(self) -> None:
        self._process.close()
        self._process = DecoderProcess()


def read_words(found: Sequence[decoder_process.Word], pad_secs: Seconds, duration_secs: Seconds) -> tuple[domain.Word, ...]:
    """The decoder's words without fillers (``<sil>``, ``[NOISE]``) and variant marks (``to(2)``).

    Times are shifted by the pad before the utterance and cut to ``[0, duration_secs]``; a word never starts before the one
    ahead of it ends, and one that lies wholly in the pad is dropped.
    """
    words: list[domain.Word] = []
    free_from = 0.0
    for text, first_frame, last_frame, probability in found:
        if text.startswith(("<", "[", "+")):
            continue
        start = max(free_from, round(first_frame * _FRAME_SECS - pad_secs, 3))
        end = min(duration_secs, round((last_frame + 1) * _FRAME_SECS - pad_secs, 3))
        if end <= start:
            continue
        words.append(domain.Word(_VARIANT.sub("", text), start, end, min(1.0, max(0.0, probability))))
        free_from = end
    return tuple(words)
