"""A long recording in progress: computes the results of its blocks and collects them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from audio.speech_windows import Window
from clients.operator import ClaimedJob
from flows.progress import Reporter
from flows.transcription import blocks as stored_as
from flows.transcription import stages
from flows.transcription.block_transcript import BlockTranscript
from flows.transcription.blocks import Block, decrypt, encrypt
from flows.transcription.context import PipelineContext, SpeechAnalysis
from flows.transcription.engine_time import EngineTime
from flows.transcription.language_choice import LanguageChoice, choose_language
from flows.transcription.window_pace import WindowPace
from schemas import wire
from schemas.domain import Recognition, SoundEvent
from schemas.engines import VoiceWindows

Part: TypeAlias = Literal["language", "words", "voices", "sounds"]
"""Result of a task: the language of the whole recording, or words, speaker features or sound events of one block."""


@dataclass
class LongRecording:
    """Created and changed in the worker's event loop.

    `compute` returns JSON, encrypted with a key derived from the audio; `add` takes such results, from this run of the
    flow or an earlier one.
    """

    context: PipelineContext
    job: ClaimedJob
    analysis: SpeechAnalysis
    reporter: Reporter
    blocks: list[Block]
    language_key: str | None
    """Cache key of the choice of language; None where the language is given."""
    loop: asyncio.AbstractEventLoop
    """The worker's event loop."""
    engine_time: EngineTime = field(default_factory=EngineTime)
    choice: LanguageChoice = field(init=False)
    transcript: BlockTranscript = field(init=False)
    voices: dict[int, VoiceWindows] = field(default_factory=dict)
    """Speaker features of finished blocks by number; times count from the start of the recording."""
    sounds: dict[int, list[SoundEvent]] = field(default_factory=dict)
    recognized: set[int] = field(default_factory=set)
    """Blocks whose words are finished."""
    computed: set[tuple[Part, int]] = field(default_factory=set)
    """Results that were computed in this run and not found in the cache."""
    pace: WindowPace = field(init=False)
    """Counts its requests to recognisers apart from those of short recordings, which use another lane."""

    def __post_init__(self) -> None:
        self.choice = LanguageChoice(self.job.options.recognize.language)
        self.transcript = BlockTranscript(self.blocks)
        self.pace = WindowPace(len(self.analysis.windows), self.context.listening.windows_at_once)

    async def compute(self, part: Part, number: int) -> str:
        """One kind of result of block ``number``, encrypted. Raises EngineFailure, Unavailable, InvalidParameter."""
        match part:
            case "language":
                found: Any = await self._language()
            case "words":
                found = stored_as.words_to_json(await self._words(self.blocks[number]))
            case "voices":
                found = stored_as.voices_to_json(await self._voices(self.blocks[number]))
            case "sounds":
                found = wire.events_to_json(await self._sounds(self.blocks[number]))
        self.computed.add((part, number))
        return encrypt(found, self._content_key(part, number))

    def add(self, part: Part, number: int, result: str) -> None:
        """Add a result of `compute`. Raises cryptography.fernet.InvalidToken for a result of other audio."""
        found = decrypt(result, self._content_key(part, number))
        match part:
            case "language":
                usable = {int(n): wire.recognition_from_json(one) for n, one in found["heard"].items()}
                self.choice = LanguageChoice(found["language"], usable)
            case "words":
                self.transcript.add(number, stored_as.words_from_json(found))
                self.recognized.add(number)
                self._report()
            case "voices":
                self.voices[number] = stored_as.voices_from_json(found).shifted(self.blocks[number].span.start_secs)
            case "sounds":
                at = self.blocks[number].span.start_secs
                self.sounds[number] = [
                    replace(e, start_secs=e.start_secs + at, end_secs=e.end_secs + at) for e in wire.events_from_json(found)
                ]

    def _content_key(self, part: Part, number: int) -> bytes:
        return stored_as.recording_content_key(self.blocks) if part == "language" else self.blocks[number].content_key

    async def _language(self) -> dict[str, Any]:
        choice = await choose_language(
            self.analysis.windows,
            lambda numbers: asyncio.gather(*(self._recognize(self.analysis.windows[n], 0.0, None) for n in numbers)),
        )
        usable = {str(n): wire.recognition_to_json(one) for n, one in choice.usable.items()}
        return {"language": choice.language, "heard": usable}

    async def _words(self, block: Block) -> list[Recognition]:
        """Words of every window of a block; those that were sampled for the choice of language are reused."""
        first = sum(len(before.windows) for before in self.blocks[: block.number])
        found = {n: r for n in range(len(block.windows)) if (r := self.choice.usable.get(first + n)) is not None}
        at, language = block.span.start_secs, self.choice.language

        async def recognize_one(number: int) -> None:
            found[number] = await self._recognize(block.windows[number], at, language)
            self._add_window(block.number, number, found[number])

        for number, recognition in found.items():
            self._add_window(block.number, number, recognition)
        async with asyncio.TaskGroup() as group:
            for number in range(len(block.windows)):  # in order, because followers get the text in order
                if number not in found:
                    group.create_task(recognize_one(number))
        return [found[n] for n in range(len(block.windows))]

    def _add_window(self, block: int, window: int, recognition: Recognition) -> None:
        self.transcript.add_window(block, window, recognition)
        self._report_text()

    def _report_text(self) -> None:
        """Report the words so far, except where they are to be redacted: that is known at the end only."""
        if not self.job.options.redaction.kinds:
            self.reporter.blocks(self.transcript.settled())

    async def _recognize(self, window: Window, offset_secs: float, language: str | None) -> Recognition:
        options = stages.in_language(self.job.options.recognize, language)
        return await stages.recognize_window(
            self.context.listening,
            self.analysis.pcm,
            window,
            options,
            self.engine_time,
            offset_secs=offset_secs,
            lane="archive",
            in_flight=self.pace.place(),
        )

    async def _voices(self, block: Block) -> VoiceWindows:
        pcm = self.analysis.pcm.read_bytes(block.span)
        observed = await self.context.listening.engines.observe(pcm, block.speech, 0.0, "archive")
        self.engine_time.add(observed.engine_secs)
        return observed.value

    async def _sounds(self, block: Block) -> list[SoundEvent]:
        pcm = self.analysis.pcm.read_bytes(block.span)
        observed = await self.context.listening.engines.observe_events(pcm, 0.0, "archive")
        self.engine_time.add(observed.engine_secs)
        return observed.value

    def _report(self) -> None:
        whole = self.analysis.pcm.duration_secs
        done = {n: self.blocks[n].span.duration_secs for n in self.recognized}
        stored = sum(secs for n, secs in done.items() if ("words", n) not in self.computed)
        self.reporter.done(sum(done.values()) / whole, stored / whole)
        self._report_text()
