"""The steps from a recording to a transcript, as plain async functions; the worker awaits them, flows wrap them."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audio.bandwidth import narrow_band
from audio.decode import Decoder, SeriesDecoder
from audio.encode import encode_playback
from audio.joining import joined
from audio.pcm import PcmFile
from audio.segment import talk, utterances, voiced
from audio.speakers import assign_speakers
from audio.vad import Probabilities, VoiceActivity
from flows import assemble
from flows.client import ClaimedJob, OperatorClient
from flows.marks import marked
from flows.progress import Reporter
from flows.text import readable
from schemas.domain import Recognition, Seconds, SoundEvent, Span, SpeakerHint, Transcript, Turn
from schemas.engines import EngineInfo, VoiceWindows
from schemas.settings import EngineSettings, JobSettings

BLOCK_SECS: Seconds = 300.0
"""Length of audio observed at once by the diariser; bounds the size of a request."""


@dataclass(frozen=True)
class Tools:
    """What the steps work with; made once a worker process."""

    client: OperatorClient
    decoder: Decoder | SeriesDecoder
    voice_activity: VoiceActivity
    engines: EngineSettings
    utterances_at_once: int
    """Utterances on their way to the recognisers at most, over all jobs of the worker."""
    jobs: JobSettings
    kept: Path
    """Folder of the results of finished blocks of long recordings."""
    in_flight: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_flight", asyncio.Semaphore(self.utterances_at_once))


@dataclass(frozen=True)
class Listening:
    """A decoded recording with its voice activity found."""

    pcm: PcmFile
    speech: list[Span]
    """Where anybody talks: what the diariser works on."""
    voiced: list[Span]
    """What pauses lie between."""
    utterances: list[Span]
    probabilities: Probabilities
    """Of speech, by frame."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the engines make of a recording: words by utterance, who speaks when, and sounds that are not words."""

    recognitions: Sequence[Recognition]
    turns: Sequence[Turn]
    sounds: Sequence[SoundEvent]


async def decode(tools: Tools, source: Path, folder: Path) -> PcmFile:
    """A recording as 16 kHz mono in ``folder``. Raises InvalidAudio."""
    target = folder / "decoded.s16"
    await tools.decoder.decode(source, target)
    return PcmFile(target)


async def listen(tools: Tools, pcm: PcmFile) -> Listening:
    """Find speech, and the utterances in it."""
    probabilities = await asyncio.to_thread(tools.voice_activity.probabilities, pcm)
    narrow = await asyncio.to_thread(narrow_band, pcm)
    speech = talk(probabilities, pcm.duration_secs, narrow=narrow)
    spans = utterances(probabilities, pcm.duration_secs, tools.engines.utterance_max_secs)
    return Listening(pcm, speech, voiced(probabilities, pcm.duration_secs), spans, probabilities)


async def recognize(tools: Tools, heard: Listening, reporter: Reporter) -> list[Recognition]:
    """Every utterance's words, in order, times from the start of the recording."""
    done = 0

    async def one(span: Span) -> Recognition:
        nonlocal done
        async with tools.in_flight:
            recognition = await tools.client.recognize(heard.pcm.read_bytes(span))
        done += 1
        reporter.done(done / len(heard.utterances))
        return recognition

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(span)) for span in heard.utterances]
    return joined([task.result() for task in tasks], heard.utterances)


async def diarize(tools: Tools, heard: Listening, hint: SpeakerHint) -> list[Turn]:
    """Who spoke when: evidence block by block, one resolution over the whole recording."""
    windows: list[VoiceWindows] = []
    for block in blocks(heard.pcm.duration_secs):
        speech = clip(heard.speech, block)
        if speech:
            windows.append(await tools.client.observe(heard.pcm.read_bytes(block), speech, block.start_secs))
    return await tools.client.resolve(windows, heard.speech, hint) if windows else []


async def detector(tools: Tools, job: ClaimedJob) -> EngineInfo | None:
    """What listens for sounds that are not words; None where nobody asks for them, or the engine only reads."""
    info = await tools.client.event_detector() if job.non_speech else None
    return info if info is not None and info.capabilities["acoustic"] else None


async def observe_events(tools: Tools, job: ClaimedJob, heard: Listening) -> list[SoundEvent]:
    """Sounds that are not words, block by block."""
    found: list[SoundEvent] = []
    if await detector(tools, job):
        for block in blocks(heard.pcm.duration_secs):
            found += await tools.client.observe_events(heard.pcm.read_bytes(block), block.start_secs)
    return found


async def transcribe(tools: Tools, job: ClaimedJob, folder: Path, reporter: Reporter) -> Transcript:
    """The whole way of one recording. Raises InvalidAudio, EngineFailure, Unavailable, Conflict."""
    source = folder / "source"
    reporter.stage("fetching")
    await tools.client.fetch_audio(job, source)
    return await transcribe_file(tools, job, source, folder, reporter)


async def transcribe_file(tools: Tools, job: ClaimedJob, source: Path, folder: Path, reporter: Reporter) -> Transcript:
    """The same for a recording that is here already; ``source`` is gone afterwards."""
    began = time.monotonic()
    reporter.stage("listening")
    pcm = await decode(tools, source, folder)
    source.unlink()  # noqa: ASYNC240 - one system call
    async with asyncio.TaskGroup() as group:
        # While one core looks for speech the other has nothing else to do yet.
        group.create_task(keep_playback(tools, job, pcm, folder))
        heard = await listen(tools, pcm)
        found = await hear(tools, job, heard, reporter)
    reporter.stage("finishing")
    return await compose(tools, job, heard, found, began)


async def load_long_files() -> None:
    """Import what long recordings need. Prefect takes seconds: not at the start, and not on the loop that keeps leases."""
    await asyncio.to_thread(importlib.import_module, "flows.transcribe")


async def hear(tools: Tools, job: ClaimedJob, heard: Listening, reporter: Reporter) -> Heard:
    """Ask the engines about a recording, in blocks that are kept if it is long."""
    if heard.pcm.duration_secs > tools.jobs.long_file_secs:
        await load_long_files()
        from flows.transcribe import hear_in_blocks

        return await hear_in_blocks(tools, job, heard, reporter)
    reporter.stage("transcribing")
    async with asyncio.TaskGroup() as group:
        recognizing = group.create_task(recognize(tools, heard, reporter))
        diarizing = group.create_task(diarize(tools, heard, job.speakers))
        sounds = group.create_task(observe_events(tools, job, heard))
    return Heard(recognizing.result(), diarizing.result(), sounds.result())


async def keep_playback(tools: Tools, job: ClaimedJob, pcm: PcmFile, folder: Path) -> None:
    """Encode the playback copy (Ogg Opus) and store it."""
    target = folder / "playback.opus"
    await encode_playback(pcm.path, target)
    await tools.client.store_playback(job, target)
    target.unlink()


async def compose(tools: Tools, job: ClaimedJob, heard: Listening, found: Heard, began: float) -> Transcript:
    """Words, turns and events put together; ``began`` is the monotonic time the job was started."""
    words = [w for r in found.recognitions for w in r.words]
    speakers, order = assemble.renumber(assign_speakers(words, found.turns))
    punctuated = any(r.punctuated for r in found.recognitions)
    segments = readable(assemble.segments_of(words, speakers), punctuated=punctuated)
    events: tuple[SoundEvent, ...] = ()
    spoken = segments
    if job.non_speech:
        sounds = await tools.client.detect_events(heard.voiced, words, heard.pcm.duration_secs, found.sounds)
        events = assemble.attribute(sounds, segments)
        spoken = await asyncio.to_thread(marked, segments, heard.pcm)
    languages = [r.language for r in found.recognitions if r.language]
    return Transcript(
        text=assemble.text_of(spoken, events),
        segments=segments,
        events=events,
        language=max(set(languages), key=languages.count) if languages else "en",
        num_speakers=len(order),
        num_chunks=len(found.recognitions),
        audio_duration_secs=heard.pcm.duration_secs,
        processing_secs=round(time.monotonic() - began, 3),
        engine_revision=job.engine_revision,
    )


def blocks(duration_secs: Seconds, length_secs: Seconds = BLOCK_SECS) -> list[Span]:
    """The recording cut into stretches of ``length_secs``; the last may be shorter."""
    count = max(1, -int(-duration_secs // length_secs))
    return [Span(i * length_secs, min((i + 1) * length_secs, duration_secs)) for i in range(count)]


def clip(spans: Sequence[Span], block: Span) -> list[Span]:
    """The parts of ``spans`` inside ``block``, counted from the block's start."""
    return [
        Span(max(s.start_secs, block.start_secs) - block.start_secs, min(s.end_secs, block.end_secs) - block.start_secs)
        for s in spans
        if s.end_secs > block.start_secs and s.start_secs < block.end_secs
    ]
