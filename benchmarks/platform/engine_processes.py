"""Engines in separate processes without the platform, as a baseline for the server."""

from __future__ import annotations

import multiprocessing as mp
import os
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from schemas.domain import RecognizeOptions, Seconds, Span
from schemas.engines import VoiceWindows
from schemas.errors import InvalidParameter
from schemas.settings import Settings
from serve.engines.registry import choice

if TYPE_CHECKING:
    from benchmarks.fixtures import Pcm
    from benchmarks.platform.engine_work import Block, EngineWork

_LANGUAGE = "en"
"""Language of all processes, so that no time is spent on its detection for every window."""


class _Processes:
    """Spawned processes, which share nothing with this one; each calls ``load`` with ``settings`` first."""

    def __init__(self, settings: Settings, processes: int, load: Any) -> None:
        self._settings, self._processes, self._load = settings, processes, load

    def __enter__(self) -> Self:
        context = mp.get_context("spawn")
        self._pool = context.Pool(self._processes, initializer=self._load, initargs=(self._settings,))
        self._pool.map(_loaded, range(self._processes), chunksize=1)  # Returns once each has loaded its model.
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.terminate()
        self._pool.join()


class BareEngines(_Processes):
    """The server's engines alone, one thread a process: recogniser, diariser, and event detector if it hears audio."""

    def __init__(self, settings: Settings, processes: int) -> None:
        super().__init__(settings, processes, _load_engines)

    def recognize(self, work: EngineWork) -> tuple[Seconds, int]:
        """(wall time of recognising all windows of a recording, number of words)."""
        began = time.perf_counter()
        num_words = sum(self._pool.imap_unordered(_recognize, self._batches(work), chunksize=1))
        return time.perf_counter() - began, num_words

    def run_all(self, work: EngineWork) -> tuple[Seconds, int]:
        """(wall time of all that the engines do for a recording, number of its turns)."""
        began = time.perf_counter()
        observed = self._pool.map_async(_observe, work.blocks, chunksize=1)
        words = self._pool.map_async(_recognize, self._batches(work), chunksize=1)
        turns = self._pool.apply(_resolve, ([voices for voices in observed.get() if voices], work.speech))
        words.get()
        return time.perf_counter() - began, turns

    def _batches(self, work: EngineWork) -> list[list[bytes]]:
        """Windows of similar length; the longest run first, so that all processes end together."""
        ordered = sorted(work.windows, key=len, reverse=True)
        size = self._pool.apply(_max_batch)
        return [ordered[at : at + size] for at in range(0, len(ordered), size)]


class FasterWhisperProcess(_Processes):
    """faster-whisper's own pipeline: `WhisperModel.transcribe` with its voice filter and word times.

    Model files, precision, number of threads and greedy decoding are those of the server's recogniser.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises InvalidParameter where the server's recogniser is another than Whisper on CTranslate2."""
        engine = choice(settings, "recognizer").engine
        if engine != "whisper":
            raise InvalidParameter(
                f"faster-whisper runs the models of the engine whisper, and the recogniser is {engine}; leave --versus out",
                param="versus",
            )
        super().__init__(settings, 1, _load_faster_whisper)

    def transcribe(self, pcm: Pcm) -> tuple[Seconds, int]:
        """(wall time of a recording, number of words)."""
        return self._pool.apply(_transcribe, (pcm,))


_engine: Any = None
_diarizer: Any = None
_detector: Any = None


def _load_engines(settings: Settings) -> None:
    from serve.engines.registry import build_diarizer, build_event_detector, build_recognizer

    global _engine, _diarizer, _detector
    one_thread = settings.model_copy(update={"engines": settings.engines.model_copy(update={"model_threads": 1})})
    _engine = build_recognizer(one_thread)
    _diarizer = build_diarizer(one_thread)
    _detector = build_event_detector(one_thread)


def _loaded(number: int) -> int:
    time.sleep(0.05)  # So that each process takes one of these tasks.
    return number


def _max_batch() -> int:
    return int(_engine.info.capabilities["max_batch"])


def _recognize(batch: list[bytes]) -> int:
    """Number of words in windows of s16le 16 kHz mono."""
    from audio.pcm import to_float

    samples = [to_float(np.frombuffer(pcm, "<i2")) for pcm in batch]
    return sum(len(found.words) for found in _engine.recognize(samples, RecognizeOptions(_LANGUAGE)))


def _observe(block: Block) -> VoiceWindows | None:
    """What the diariser hears in a block, None where nobody speaks. The event detector listens too, if it hears audio."""
    from audio.pcm import to_float

    samples = to_float(np.frombuffer(block.pcm, "<i2"))
    if _detector.info.capabilities["acoustic"]:
        _detector.observe(samples, block.start_secs)
    voices: VoiceWindows | None = _diarizer.observe(samples, block.speech, block.start_secs) if block.speech else None
    return voices


def _resolve(voices: list[VoiceWindows], speech: tuple[Span, ...]) -> int:
    """Number of turns."""
    return len(_diarizer.resolve(voices, speech)) if voices and speech else 0


def _load_faster_whisper(settings: Settings) -> None:
    from faster_whisper import WhisperModel

    from serve.engines.model_files import resolve

    global _engine
    files = resolve(choice(settings, "recognizer"))
    threads = settings.engines.model_threads or os.cpu_count() or 1
    _engine = WhisperModel(str(files.path), device="cpu", compute_type="int8", cpu_threads=threads)


def _transcribe(pcm: Pcm) -> tuple[Seconds, int]:
    from audio.pcm import to_float

    samples = to_float(pcm)
    began = time.perf_counter()
    segments, _ = _engine.transcribe(samples, language=_LANGUAGE, beam_size=1, vad_filter=True, word_timestamps=True)
    num_words = sum(len(segment.words or ()) for segment in segments)
    return time.perf_counter() - began, num_words
