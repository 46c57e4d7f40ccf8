"""Time of each stage of a long recording with the chosen engines, one after another, without a server.

The platform overlaps the stages of several blocks, so the slowest stage on each kind of hardware limits it. The sum is the
time of one recording without overlap.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.fixtures import speech, wav
from benchmarks.measure import Measure
from benchmarks.quality.local_pipeline import LocalPipeline, decode_all
from flows.transcription import stages
from flows.transcription.engine_time import EngineTime
from schemas.domain import AS_SPOKEN, Seconds, SpeakerHint
from schemas.engines import Samples
from schemas.settings import Settings

STAGES: Final = ("decode", "voice activity", "recogniser", "diariser")


def measure(settings: Settings, duration_secs: Seconds) -> list[Measure]:
    """Each stage's times real time and its share of all, of rendered speech of ``duration_secs``.

    Raises Unavailable for a model that cannot load, EngineFailure for an utterance the recogniser fails on.
    """
    secs: dict[str, Seconds] = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        secs[stage] = time.monotonic() - began

    async def heard(pipeline: LocalPipeline, samples: Samples) -> None:
        context, engine_time = pipeline.context, EngineTime()
        await context.recognizer()
        await pipeline.engines.diarizer()  # Loading is not measured.
        with timed("voice activity"):
            analysis = await pipeline.analyzed(samples)
        with timed("recogniser"):
            found, _ = await stages.recognize(context, analysis, AS_SPOKEN, engine_time, lambda _: None)
        with timed("diariser"):
            voices = await stages.observe_voices(context, analysis, engine_time)
            await stages.resolve_turns(context, analysis, voices, found, SpeakerHint(), engine_time)

    with TemporaryDirectory(prefix="fluxions-bench-") as folder:
        recording = Path(folder, "recording.wav")
        recording.write_bytes(wav(speech(duration_secs, seed=3)))
        with timed("decode"):
            (samples,) = decode_all(settings, [recording])
    with LocalPipeline(settings) as pipeline:
        pipeline.run(heard(pipeline, samples))
    whole = sum(secs.values())
    return [
        *(
            Measure(f"{stage}, {duration_secs:.0f} s of speech", duration_secs / secs[stage], "x realtime")
            for stage in STAGES
        ),
        *(Measure(f"{stage}, share of the time of all", secs[stage] / whole, "") for stage in STAGES),
        Measure("all, one after another", duration_secs / whole, "x realtime"),
    ]
