"""Kokoro as a Synthesizer: words by the model, cues by signal processing at the voice's pitch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import groupby
from typing import Final

import numpy as np

from schemas.engines import EngineInfo, Samples
from schemas.speech import Part, Passage, VoiceProfile
from serve.engines.tts.cues import render_cue
from serve.engines.tts.espeak import Espeak
from serve.engines.tts.espeak_synthesizer import PAUSE_AFTER_CUE_SECS, PAUSE_BEFORE_CUE_SECS
from serve.engines.tts.kokoro_model import Call, KokoroModel, Spoken
from serve.engines.tts.kokoro_phonemes import tokens
from serve.engines.tts.kokoro_script import Script, script_of
from serve.engines.tts.kokoro_sound import finished
from serve.engines.tts.kokoro_styles import StyleBook
from serve.engines.tts.silence_trimming import silence

_POLL_SECS: Final = 0.02
"""Interval at which a render that waits for the model can be stopped."""
_PAUSE_BETWEEN_PIECES_SECS: Final = 0.12


class KokoroSynthesizer:
    """Renders of several threads share the model; the audio of each depends on its own arguments only."""

    def __init__(self, model: KokoroModel, styles: StyleBook, info: EngineInfo) -> None:
        self.info: Final = info
        self._model = model
        self._styles = styles
        self._espeak = Espeak()

    def render(
        self, passage: Passage, voice: VoiceProfile, temperature: float, speed: float = 1.0
    ) -> Generator[Samples, None, None]:
        """See `Synthesizer.render`. The model does not sample, so ``temperature`` has no effect."""
        for index, (cue, parts) in enumerate(groupby(passage.parts, key=lambda part: part.cue)):
            if cue is None:
                yield from self._say(tuple(parts), voice, speed)
            else:
                yield silence(PAUSE_BEFORE_CUE_SECS if index else 0.0)
                for take, _ in enumerate(parts):
                    yield np.concatenate((render_cue(cue, voice, take), silence(PAUSE_AFTER_CUE_SECS)))
        if passage.pause_secs:
            yield silence(passage.pause_secs / speed)

    def close(self) -> None:
        """Ends the threads of the model."""
        self._model.close()

    def _say(self, parts: Sequence[Part], voice: VoiceProfile, speed: float) -> Generator[Samples, None, None]:
        for index, script in enumerate(script_of(self._espeak, parts, voice.language).pieces()):
            if index:
                yield silence(_PAUSE_BETWEEN_PIECES_SECS / speed)
            spoken = yield from _awaited(self._call(script, voice, speed))
            yield finished(spoken, script.emphasis, voice.equalizer_db)

    def _call(self, script: Script, voice: VoiceProfile, speed: float) -> Call:
        style = self._styles.row(voice, len(script.symbols))
        return self._model.call(tokens(script.symbols), style, script.pace * np.float32(speed))


def _awaited(call: Call) -> Generator[Samples, None, Spoken]:
    """Empty pieces until ``call`` has ended; closing it cancels the call."""
    try:
        while (spoken := call.wait(_POLL_SECS)) is None:
            yield silence(0.0)
        return spoken
    finally:
        call.cancel()
