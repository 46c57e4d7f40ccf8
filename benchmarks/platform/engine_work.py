"""What the engines receive of a recording, found by the worker's own stages."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from audio.pcm import PcmFile
from audio.vad import VoiceActivity
from benchmarks.fixtures import Pcm
from flows.transcription import stages
from flows.transcription.context import ListeningContext
from flows.transcription.spans import block_spans, clip_spans
from schemas.domain import Seconds, Span
from schemas.settings import Settings
from serve.engines.in_process import InProcessEngines


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a recording; ``pcm``: s16le, 16 kHz, mono; ``speech`` counts from ``start_secs``."""

    pcm: bytes
    speech: tuple[Span, ...]
    start_secs: Seconds


@dataclass(frozen=True, slots=True)
class EngineWork:
    """``windows``: s16le, 16 kHz, mono, for the recogniser; ``speech``: of anybody, for the diariser."""

    windows: tuple[bytes, ...]
    blocks: tuple[Block, ...]
    speech: tuple[Span, ...]


def work_of(pcm: Pcm, settings: Settings) -> EngineWork:
    """The work of the server's engines for this recording."""
    # No engine is loaded: speech is found by voice activity alone.
    context = ListeningContext(InProcessEngines(settings), VoiceActivity(), settings.engines.utterance_max_secs, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording.pcm")
        path.write_bytes(pcm.astype("<i2").tobytes())
        analysis = asyncio.run(stages.analyze_speech(context, PcmFile(path), Path(folder)))
        heard, observed = analysis.pcm, stages.speech_to_observe(analysis)
        return EngineWork(
            tuple(window.read(heard) for window in analysis.windows),
            tuple(
                Block(heard.read_bytes(span), tuple(clip_spans(observed, span)), span.start_secs)
                for span in block_spans(heard.duration_secs)
            ),
            tuple(analysis.speech),
        )
