"""The pipeline of a recording: fetch, decode, find speech, run the engines, assemble the transcript."""

from __future__ import annotations

import asyncio
import importlib
import time
from pathlib import Path

from audio.encode import encode_playback
from audio.pcm import PcmFile
from audio.waveform import BLOCK_SECS, peaks_of
from clients.operator import ClaimedJob
from flows.progress import Reporter
from flows.transcription import assembly, stages
from flows.transcription.context import EngineOutputs, PipelineContext, SpeechAnalysis
from flows.transcription.engine_time import EngineTime
from flows.transcription.prosody_marks import marked
from flows.transcription.punctuation import readable
from flows.transcription.redaction import muted, redacted, redacted_spans
from flows.transcription.speaker_assignment import assign_speakers
from flows.transcription.track_choice import DecodedRecording, decode
from schemas.domain import SAMPLE_RATE_HZ, Seconds, SoundEvent, Transcript
from telemetry.traces import span

UNKNOWN_LANGUAGE = "en"
"""Language of a result without speech, if the client named none."""


async def transcribe(context: PipelineContext, job: ClaimedJob, folder: Path, reporter: Reporter) -> Transcript:
    """Transcribe a recording in the store. Raises InvalidAudio, InvalidParameter, EngineFailure, Unavailable, Conflict."""
    source = folder / "source"
    reporter.stage("fetching")
    await context.store.fetch_audio(job, source)
    return await transcribe_file(context, job, source, folder, reporter)


async def transcribe_file(
    context: PipelineContext, job: ClaimedJob, source: Path, folder: Path, reporter: Reporter
) -> Transcript:
    """The same for a local copy of the recording; deletes ``source``."""
    began = time.monotonic()
    reporter.stage("listening")
    with span("decode"):
        recording = await decode(
            context.decoder,
            context.listening.voice_activity,
            source,
            folder,
            strict=job.options.strict,
            audio_track=job.options.audio_track,
        )
    pcm = recording.pcm
    source.unlink()  # noqa: ASYNC240 - one system call
    is_long = pcm.duration_secs > context.jobs.long_file_secs
    mutes = job.options.redaction.audio
    core_is_free = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        # Of a long recording the playback copy is encoded beside voice activity detection, which uses one core only, since
        # its engines will use all. Of a short one it is encoded when the first engine has answered: the engines start
        # earlier without it, and a core is free then.
        if is_long and not mutes:
            group.create_task(store_playback(context, job, pcm, folder))
        analysis = await stages.analyze_speech(context.listening, pcm, folder)
        if not is_long and not mutes:
            group.create_task(store_playback(context, job, pcm, folder, after=core_is_free))
        with span("engines"):
            outputs = await ask_engines(context, job, analysis, reporter, answered=core_is_free)
    reporter.stage("finishing")
    transcript = await compose(context, job, analysis, outputs, recording, began)
    if mutes:
        copy = await asyncio.to_thread(muted, pcm, redacted_spans(transcript), folder / "muted.s16")
        await store_playback(context, job, PcmFile(copy), folder)
    return transcript


async def load_long_files() -> None:
    """Import Prefect in a thread. It takes seconds, which neither the worker's start nor lease renewals should wait for."""
    await asyncio.to_thread(importlib.import_module, "flows.transcription.block_flow")


async def ask_engines(
    context: PipelineContext, job: ClaimedJob, analysis: SpeechAnalysis, reporter: Reporter, answered: asyncio.Event
) -> EngineOutputs:
    """The engines' outputs for a recording; a long one is processed block by block, with cached results.

    Sets ``answered`` when recogniser or diariser has answered; not for a long recording.
    """
    if analysis.pcm.duration_secs > context.jobs.long_file_secs:
        await load_long_files()
        from flows.transcription.block_flow import ask_engines_by_block

        return await ask_engines_by_block(context, job, analysis, reporter)
    reporter.stage("transcribing")
    listening, options, engine_time = context.listening, job.options, EngineTime()
    # What is to be redacted is known at the end only.
    heard = None if options.redaction.kinds else reporter.blocks
    async with asyncio.TaskGroup() as group:
        recognizing = group.create_task(
            stages.recognize(listening, analysis, options.recognize, engine_time, reporter.done, heard)
        )
        observing = group.create_task(stages.observe_voices(listening, analysis, engine_time))
        for engine in (recognizing, observing):
            engine.add_done_callback(lambda _: answered.set())
        sounds = group.create_task(stages.observe_sounds(listening, analysis, engine_time, non_speech=options.non_speech))
    recognitions, language = recognizing.result()
    turns = await stages.resolve_turns(listening, analysis, observing.result(), recognitions, options.speakers, engine_time)
    return EngineOutputs(recognitions, turns, sounds.result(), language, engine_time)


async def store_playback(
    context: PipelineContext, job: ClaimedJob, pcm: PcmFile, folder: Path, after: asyncio.Event | None = None
) -> None:
    """Encode the playback copy (Ogg Opus) and store it with its waveform; with ``after`` once that is set."""
    if after is not None:
        await after.wait()
    target = folder / "playback.opus"
    await encode_playback(pcm.path, target)
    peaks = await asyncio.to_thread(peaks_of, pcm.blocks(BLOCK_SECS * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    await context.store.store_playback(job, target, peaks.tobytes())
    target.unlink()


async def compose(
    context: PipelineContext,
    job: ClaimedJob,
    analysis: SpeechAnalysis,
    outputs: EngineOutputs,
    recording: DecodedRecording,
    began: Seconds,
) -> Transcript:
    """The transcript of words, turns and events; ``began`` is the monotonic time at which the job was started."""
    words = [word for recognition in outputs.recognitions for word in recognition.words]
    speakers, turns = assembly.renumber(assign_speakers(words, outputs.turns), outputs.turns)
    if kinds := job.options.redaction.kinds:
        words, speakers = await asyncio.to_thread(redacted, words, speakers, kinds, outputs.language or UNKNOWN_LANGUAGE)
    punctuated = any(recognition.punctuated for recognition in outputs.recognitions)
    segments = readable(assembly.segments_of(words, speakers), punctuated=punctuated)
    events: tuple[SoundEvent, ...] = ()
    spoken = segments
    if job.options.non_speech:
        duration = analysis.pcm.duration_secs
        found = await context.listening.engines.detect_events(analysis.speech_for_pauses, words, duration, outputs.sounds)
        outputs.engine_time.add(found.engine_secs)
        events = assembly.attribute(found.value, segments)
        spoken = await asyncio.to_thread(marked, segments, analysis.pcm)
    return Transcript(
        text=assembly.text_of(spoken, events),
        segments=segments,
        events=events,
        language=outputs.language or UNKNOWN_LANGUAGE,
        num_speakers=len({*speakers, *(turn.speaker for turn in turns)}),
        num_chunks=len(outputs.recognitions),
        audio_duration_secs=analysis.pcm.duration_secs,
        processing_secs=round(time.monotonic() - began, 3),
        engine_revision=job.engine_revision,
        turns=turns,
        warnings=recording.warnings,
        audio_track=recording.audio_track,
        engine_secs=round(outputs.engine_time.total_secs, 3),
    )
