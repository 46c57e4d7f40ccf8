"""The stages from a recording to a transcript; worker, block flow and quality benchmark compose them.

Engines are used through `schemas.speech_engines.ListeningEngines`, wherever they run. Times are seconds from the start of
the recording unless a docstring says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from audio.level import leveled
from audio.pcm import PcmFile
from audio.segmentation import speech_for_diarization, speech_for_pauses
from audio.speech_windows import Window, speech_windows
from audio.telephone_band import narrow_band
from flows.transcription.context import ListeningContext, SpeechAnalysis
from flows.transcription.engine_time import EngineTime
from flows.transcription.language_choice import LanguageChoice, choose_language, most_votes
from flows.transcription.spans import block_spans, clip_spans, union
from flows.transcription.window_pace import WindowPace
from flows.transcription.window_transcript import WindowTranscript
from schemas.domain import (
    Lane,
    Recognition,
    RecognizeOptions,
    Seconds,
    Segment,
    SoundEvent,
    Span,
    SpeakerHint,
    Turn,
)
from schemas.engines import EngineInfo, VoiceWindows

CONFIDENT: Final = 0.5
"""Confidence from which a word counts as speech even where voice activity detection found none."""


async def analyze_speech(context: ListeningContext, pcm: PcmFile, folder: Path) -> SpeechAnalysis:
    """Find speech, and the windows to recognise; a very quiet recording gets a louder copy in ``folder``."""
    return await asyncio.to_thread(_analyze_speech, context, pcm, folder)


def _analyze_speech(context: ListeningContext, pcm: PcmFile, folder: Path) -> SpeechAnalysis:
    audible = leveled(pcm, folder / "leveled.s16")
    duration = audible.duration_secs
    probabilities = context.voice_activity.probabilities(audible)
    return SpeechAnalysis(
        pcm=audible,
        speech=speech_for_diarization(probabilities, duration, narrow=narrow_band(audible)),
        speech_for_pauses=speech_for_pauses(probabilities, duration),
        windows=speech_windows(probabilities, duration, context.window_max_secs),
        probabilities=probabilities,
    )


async def recognize_window(
    context: ListeningContext,
    pcm: PcmFile,
    window: Window,
    options: RecognizeOptions,
    engine_time: EngineTime,
    *,
    offset_secs: Seconds = 0.0,
    lane: Lane | None = None,
    in_flight: AbstractAsyncContextManager[Any] | None = None,
) -> Recognition:
    """Words of one window, counted from the start of its span. Times of the window count from ``offset_secs``;
    ``lane`` and ``in_flight`` replace those of the context."""
    async with in_flight or context.in_flight:
        recognition = await context.engines.recognize(window.read(pcm, offset_secs), lane or context.lane, options)
    engine_time.add(recognition.engine_secs)
    return window.restore_silences(recognition)


async def recognize(
    context: ListeningContext,
    analysis: SpeechAnalysis,
    options: RecognizeOptions,
    engine_time: EngineTime,
    progress: Callable[[float], None],
    heard: Callable[[list[tuple[Segment, ...]]], None] | None = None,
) -> tuple[list[Recognition], str | None]:
    """One recognition a window, each word in one of them only, and the language of all.

    ``progress`` is called with the share that is done, ``heard`` with the segments of each window from the first on whose
    words are final. Raises InvalidParameter for a language the recogniser lacks.
    """
    windows = analysis.windows
    transcript = WindowTranscript([window.span for window in windows])
    pace = WindowPace(len(windows), context.windows_at_once)
    done = 0

    async def recognize_one(number: int, hints: RecognizeOptions) -> Recognition:
        nonlocal done
        async with pace.place():
            recognition = await recognize_window(context, analysis.pcm, windows[number], hints, engine_time)
        done += 1
        progress(min(1.0, done / len(windows)))
        return recognition

    async def sample(numbers: Sequence[int]) -> list[Recognition]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(recognize_one(number, options)) for number in numbers]
        return [task.result() for task in tasks]

    def add(found: Mapping[int, Recognition]) -> None:
        for number, recognition in found.items():
            transcript.add(number, recognition)
        if heard is not None:
            heard(transcript.settled())

    async def add_one(number: int, hints: RecognizeOptions) -> None:
        add({number: await recognize_one(number, hints)})

    choice = LanguageChoice(options.language)
    if await detects_language(context, options):
        choice = await choose_language(windows, sample)
    add(choice.usable)
    async with asyncio.TaskGroup() as group:
        for number in range(len(windows)):  # in order, because followers get the text in order
            if number not in choice.usable:
                group.create_task(add_one(number, in_language(options, choice.language)))
    found = transcript.whole()
    return found, choice.language or language_of(found, windows)


async def detects_language(context: ListeningContext, options: RecognizeOptions) -> bool:
    """Whether the language of a recording must be detected: the client gave none, and the recogniser can detect it."""
    return options.language is None and bool((await context.recognizer()).capabilities["detects_language"])


def in_language(options: RecognizeOptions, language: str | None) -> RecognizeOptions:
    """The same options with ``language``, if that is known."""
    return RecognizeOptions(language or options.language, options.prompt, options.keyterms, options.task)


def language_of(recognitions: Sequence[Recognition], windows: Sequence[Window]) -> str | None:
    """The language that the recogniser reports where none was chosen; None where nothing was said."""
    return most_votes((w.duration_secs, r) for w, r in zip(windows, recognitions, strict=True))[0]


async def observe_voices(
    context: ListeningContext, analysis: SpeechAnalysis, engine_time: EngineTime
) -> list[VoiceWindows]:
    """Speaker features of every block with speech."""
    found = []
    speech = speech_to_observe(analysis)
    for block in block_spans(analysis.pcm.duration_secs):
        inside = clip_spans(speech, block)
        if inside:
            pcm = analysis.pcm.read_bytes(block)
            observed = await context.engines.observe(pcm, inside, block.start_secs, context.lane)
            engine_time.add(observed.engine_secs)
            found.append(observed.value)
    return found


def speech_to_observe(analysis: SpeechAnalysis) -> list[Span]:
    """All intervals that may hold speech: words may be found where the probability of speech is low."""
    return union([*analysis.speech, *(piece for window in analysis.windows for piece in window.pieces)])


async def resolve_turns(
    context: ListeningContext,
    analysis: SpeechAnalysis,
    voices: Sequence[VoiceWindows],
    recognitions: Sequence[Recognition],
    hint: SpeakerHint,
    engine_time: EngineTime,
) -> list[Turn]:
    """Turns of all speakers, in detected speech and where words were recognised. No turns without speech."""
    words = [Span(w.start_secs, w.end_secs) for r in recognitions for w in r.words if w.confidence >= CONFIDENT]
    speech = union([*analysis.speech, *words])
    if not voices or not speech:
        return []
    resolved = await context.engines.resolve(voices, speech, hint)
    engine_time.add(resolved.engine_secs)
    return resolved.value


async def acoustic_detector(context: ListeningContext, *, non_speech: bool) -> EngineInfo | None:
    """The event detector, if events are requested and it analyses audio; None otherwise."""
    info = await context.engines.event_detector() if non_speech else None
    return info if info is not None and info.capabilities["acoustic"] else None


async def observe_sounds(
    context: ListeningContext, analysis: SpeechAnalysis, engine_time: EngineTime, *, non_speech: bool
) -> list[SoundEvent]:
    """Sound events in the audio, block by block; none without an `acoustic_detector`."""
    found: list[SoundEvent] = []
    if await acoustic_detector(context, non_speech=non_speech):
        for block in block_spans(analysis.pcm.duration_secs):
            pcm = analysis.pcm.read_bytes(block)
            observed = await context.engines.observe_events(pcm, block.start_secs, context.lane)
            engine_time.add(observed.engine_secs)
            found += observed.value
    return found
