"""Where the time of a long recording goes with the chosen engines: its stages one after another, without a server.

The platform works on several blocks at once and overlaps these, so that what limits it is the slowest stage of each kind of
hardware; their sum is what one recording would take with nothing overlapped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from audio.bandwidth import narrow_band
from audio.segment import talk, utterances
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from schemas.errors import EngineFailure
from schemas.settings import Settings
from serve.asr.batching import Batcher
from serve.cli.bench_transcribe import speech, wav
from serve.cli.measures import Measure
from serve.cli.quality.listening import Listener, decode_all

STAGES: Final = ("decode", "voice activity", "recogniser", "diariser")


def measure(settings: Settings, duration_secs: Seconds) -> list[Measure]:
    """Each stage's times real time and its share of all, of rendered speech of ``duration_secs``.

    Raises Unavailable for a model that cannot load, EngineFailure for an utterance the recogniser fails on.
    """
    listener = Listener(settings)
    batcher = Batcher(listener.recognizer, settings.engines.asr_max_batch, settings.engines.asr_batch_secs)
    secs: dict[str, Seconds] = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        secs[stage] = time.monotonic() - began

    try:
        with TemporaryDirectory(prefix="fluxions-bench-") as folder:
            recording = Path(folder, "recording.wav")
            recording.write_bytes(wav(speech(duration_secs, seed=3)))
            with timed("decode"):
                (samples,) = decode_all(settings, [recording])
        with timed("voice activity"):
            probabilities = listener.voice_activity.probabilities(samples)
            said = talk(probabilities, duration_secs, narrow=narrow_band(samples))
            spans = utterances(probabilities, duration_secs, settings.engines.utterance_max_secs)
        edges = [(round(s.start_secs * SAMPLE_RATE_HZ), round(s.end_secs * SAMPLE_RATE_HZ)) for s in spans]
        with timed("recogniser"):
            _recognize(batcher, [samples[start:end] for start, end in edges])
        with timed("diariser"):
            listener.who(samples, said)
    finally:
        listener.close()
    whole = sum(secs.values())
    return [
        *(
            Measure(f"{stage}, {duration_secs:.0f} s of speech", duration_secs / secs[stage], "x realtime")
            for stage in STAGES
        ),
        *(Measure(f"{stage}, share of the time of all", secs[stage] / whole, "") for stage in STAGES),
        Measure("all, one after another", duration_secs / whole, "x realtime"),
    ]


def _recognize(batcher: Batcher, pieces: Sequence[Samples]) -> None:
    """In batches as a replica makes them of a full queue."""
    waiting = list(pieces)
    while waiting:
        chosen = set(batcher.choose([piece.size / SAMPLE_RATE_HZ for piece in waiting]))
        for result in batcher.run([waiting[place] for place in sorted(chosen)]):
            if isinstance(result, Exception):
                raise EngineFailure(f"the recogniser failed: {result}") from result
        waiting = [piece for place, piece in enumerate(waiting) if place not in chosen]
