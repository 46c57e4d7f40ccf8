"""A Synthesizer over a generative speech model: prepares text and cues, uses prompts as voices, trims the audio."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from audio.pcm import to_float, to_int16
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import EngineChoice, EngineInfo, Samples
from schemas.errors import EngineFailure
from schemas.speech import DEFAULT_TEMPERATURE, Cue, Part, Passage, VoiceProfile, VoicePrompt
from serve.engines.model_files import cannot_load
from serve.engines.tts.cues import render_cue
from serve.engines.tts.silence_trimming import Trimmer, silence
from serve.engines.tts.token_generation import longest_secs

PROMPT_SECS: Final = 10.0
"""Longest prompt: enough for a voice, because a model's context is short."""
_CUE_PAUSE_SECS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Utterance:
    """One request to a model. ``temperature`` is on the API's scale; 0 takes the most probable token."""

    text: str
    prompt: VoicePrompt | None
    speaker: int
    temperature: float
    max_secs: Seconds
    seed: int


class SpeechModel(Protocol):
    """A model that generates speech."""

    @property
    def tags(self) -> Mapping[Cue, str]:
        """Cues that the model can render, and its tags for them."""
        ...

    def speak(self, utterance: Utterance) -> Generator[Samples, None, None]:
        """Pieces of ``(num_samples,) float32`` at 24 kHz as they are rendered, empty ones while it waits for its turn.

        Closing it stops the model. Safe to call from several threads. Raises EngineFailure.
        """
        ...


class GenerativeSynthesizer:
    """A `SpeechModel` behind the Synthesizer protocol.

    A cloned voice is its prompt. A model has no built-in voices and would use another voice for each sentence. So it
    renders the prompt of a built-in voice itself: the preview text, with a fixed speaker and seed, once a replica.
    """

    def __init__(self, model: SpeechModel, info: EngineInfo) -> None:
        self.info: Final = info
        self._model = model
        self._seeds = random.Random()  # noqa: S311
        self._made: dict[str, VoicePrompt] = {}

    def render(
        self, passage: Passage, voice: VoiceProfile, temperature: float, speed: float = 1.0
    ) -> Generator[Samples, None, None]:
        """See `Synthesizer.render`; these models have one speed, so ``speed`` is always 1.

        Renders differ each time, except with a temperature of 0.
        """
        prompt = voice.prompt or (yield from self._own_prompt(voice))
        for index, stretch in enumerate(stretches(passage.parts, self._model.tags)):
            if stretch.cue:
                pause = silence(_CUE_PAUSE_SECS)
                yield np.concatenate((pause, render_cue(stretch.cue, voice, index), pause))
            else:
                text, seed = stretch.text, self._seeds.getrandbits(32)
                said = Utterance(text, prompt, voice.speaker, temperature, longest_secs(text), seed)
                yield from trimmed(self._model.speak(said))
        if passage.pause_secs:
            yield silence(passage.pause_secs)

    def close(self) -> None:
        """Does nothing: nothing outlives a render."""

    def _own_prompt(self, voice: VoiceProfile) -> Generator[Samples, None, VoicePrompt]:
        if voice.voice_id not in self._made:
            text, seed = voice.preview_text, zlib.crc32(voice.voice_id.encode())
            max_secs = min(longest_secs(text), PROMPT_SECS)
            pieces: list[Samples] = [silence(0.0)]
            said = Utterance(text, None, voice.speaker, DEFAULT_TEMPERATURE, max_secs, seed)
            for piece in trimmed(self._model.speak(said)):
                pieces.append(piece)
                yield silence(0.0)
            sound = np.concatenate(pieces)
            if not sound.size:
                raise EngineFailure("the model gave no sound for a built-in voice")
            self._made[voice.voice_id] = VoicePrompt(to_int16(sound).tobytes(), text)
        return self._made[voice.voice_id]


def stretches(parts: Sequence[Part], tags: Mapping[Cue, str]) -> list[Part]:
    """``parts`` as texts for one request each, with the cues of ``tags`` written into them, and other cues between them.

    Marks for emphasis and drawn-out words are not passed to the model.
    """
    found: list[Part] = []
    for by_itself, run in groupby(parts, key=lambda part: part.cue is not None and part.cue not in tags):
        if by_itself:
            found += run
        else:
            found.append(Part(" ".join(tags[part.cue] if part.cue else part.text for part in run)))
    return found


def trimmed(pieces: Generator[Samples, None, None]) -> Generator[Samples, None, None]:
    """``pieces`` at 24 kHz without the silence around them. Closing it closes them."""
    trimmer = Trimmer(SPEECH_RATE_HZ)
    with closing(pieces):
        for piece in pieces:
            yield trimmer.feed(piece)
    yield trimmer.finish()


def checked_kind(chosen: EngineChoice, folder: Path, kind: str) -> None:
    """Raises Unavailable unless the folder's ``config.json`` names a model of that kind."""
    try:
        found = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError) as error:
        raise cannot_load(chosen, "it has no config.json that can be read", "copy or download it again") from error
    if found != kind:
        raise cannot_load(chosen, f"it is a model of type {found!r}, not {kind}", f"name such a model in {chosen.variable}")


def loaded(kind: Any, folder: Path, **options: Any) -> Any:
    """``kind``, a class of transformers, loaded from ``folder``, never from the hub. An untyped call."""
    return kind.from_pretrained(folder, local_files_only=True, **options)


def prompt_samples(prompt: VoicePrompt) -> Samples:
    """``(num_samples,) float32`` at 24 kHz."""
    return to_float(np.frombuffer(prompt.pcm, "<i2"))
