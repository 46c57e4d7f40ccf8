"""Rendered turns with a pause within a sentence, like a hesitating speaker's, for measuring the detection of turn ends.

Kokoro renders each sentence as a whole, so that its intonation continues across the pause. The pause is put between two
words by the model's own durations. Settings are chosen on a first set of sentences and voices and measured on a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import Samples
from schemas.settings import EngineSettings, Settings
from schemas.speech import VoiceProfile
from serve.engines.model_files import resolve
from serve.engines.registry import choice
from serve.engines.tts.espeak import Espeak
from serve.engines.tts.kokoro_model import FRAME_SAMPLES, KokoroModel
from serve.engines.tts.kokoro_phonemes import phonemes, tokens
from serve.engines.tts.kokoro_script import script_of
from serve.engines.tts.kokoro_styles import StyleBook
from serve.engines.tts.text.markup import parts_of
from serve.engines.tts.voices import find_voice

PAUSE_SECS: Final = (0.1, 1.0)
_BEFORE_SECS: Final[Seconds] = 0.5
AFTER_SECS: Final[Seconds] = 9.0
"""Silence after a turn: longer than any detector waits."""
_NOISE: Final = 2e-3


@dataclass(frozen=True, slots=True)
class TurnSet:
    """Sentences, each in two parts between which its speaker hesitates, and the voices that say them."""

    sentences: tuple[tuple[str, str], ...]
    voices: tuple[str, ...]
    seed: int


CHOSEN_ON: Final = TurnSet(
    (
        ("The morning was bright and the harbour", "was full of small boats."),
        ("She asked him twice whether the letter", "had come and he shook his head."),
        ("Nobody in the village remembered when", "the old mill had last been used."),
        ("We walked along the river until", "the road turned towards the hills."),
        ("How long does it take to drive from", "here to the nearest station?"),
        ("The committee will meet again on Thursday", "to settle the remaining questions."),
        ("I'd like to book a table for", "two people tomorrow evening."),
        ("Can you tell me if the last train", "has already left?"),
        ("My sister called this morning because", "her car would not start."),
        ("Please move the meeting with Anna", "to Friday afternoon."),
        ("I was wondering what the weather", "will be like at the weekend."),
        ("Could you send the invoice to", "the office in Madrid?"),
        ("The children wanted to stay in the garden", "until it got dark."),
        ("He said that he had never seen", "such a large dog before."),
        ("What's the cheapest way to get", "to the airport from here?"),
        ("They closed the old bridge after", "the flood last winter."),
    ),
    ("maeve", "abraham", "isla", "bella", "liam", "daniel"),
    7,
)
"""Thresholds were chosen on turns of this set."""
HELD_BACK: Final = TurnSet(
    (
        ("Do you know which of these shops", "sells fresh bread?"),
        ("The train to Hamburg was late, so we", "waited in the cafe."),
        ("I need to change the password for", "my second account."),
        ("Tell me a story about a dragon that", "was afraid of fire."),
        ("My brother wants to learn Italian before", "he moves to Rome."),
        ("Turn on the lights in the kitchen", "and close the blinds."),
        ("If the parcel does not come today", "I will call the shop tomorrow."),
        ("What happened to the woman who", "lived in the house on the corner?"),
    ),
    ("harry", "jessica", "onyx", "isabella", "puck", "river"),
    11,
)
"""Other sentences in other voices, for measuring."""


@dataclass(frozen=True, slots=True)
class HesitantTurn:
    """``samples``: ``(num_samples,) float32`` at 24 kHz, with room noise. Its first part ends at ``pause_at_secs``, its
    speech at ``end_secs``."""

    samples: Samples
    pause_at_secs: Seconds
    pause_secs: Seconds
    end_secs: Seconds


class HesitantSpeaker:
    """Kokoro, loaded. Raises Unavailable without its weights."""

    def __init__(self, settings: Settings) -> None:
        chosen = choice(settings.model_copy(update={"engines": EngineSettings(tts_engine="kokoro")}), "synthesizer")
        (file,) = resolve(chosen).path.glob("*.onnx")
        self._model = KokoroModel(file, threads=1)
        self._styles, self._espeak = StyleBook(), Espeak()

    def turns(self, turns: TurnSet, num_turns: int) -> Iterator[HesitantTurn]:
        """The first ``num_turns``: each sentence in the first voice, then in the second, and so on."""
        random = np.random.default_rng(turns.seed)
        for number in range(num_turns):
            before, after = turns.sentences[number % len(turns.sentences)]
            name = turns.voices[number // len(turns.sentences) % len(turns.voices)]
            parts = self._parts(before, after, find_voice(name, "kokoro"))
            yield _hesitant(*parts, random.uniform(*PAUSE_SECS), random)

    def close(self) -> None:
        """End the model's threads."""
        self._model.close()

    def _parts(self, before: str, after: str, voice: VoiceProfile) -> tuple[Samples, Samples]:
        script = script_of(self._espeak, parts_of(f"{before} {after}", voice.language), voice.language)
        call = self._model.call(tokens(script.symbols), self._styles.row(voice, len(script.symbols)), script.pace)
        while (spoken := call.wait(1.0)) is None:
            pass
        # espeak-ng may write the words of the whole sentence a little differently.
        expected = len(phonemes(self._espeak, before, voice.language))
        space = min(
            (place for place, symbol in enumerate(script.symbols) if symbol == " "), key=lambda place: abs(place - expected)
        )
        # The first duration is that of the silence before the first symbol.
        ends = np.cumsum(spoken.durations) * FRAME_SAMPLES
        middle = int(ends[space] + ends[space + 1]) // 2
        return spoken.samples[:middle], spoken.samples[middle:]


def _hesitant(before: Samples, after: Samples, pause_secs: Seconds, random: np.random.Generator) -> HesitantTurn:
    before, after = _trimmed(before), _trimmed(after)
    speech = np.concatenate((_silence(_BEFORE_SECS), before, _silence(pause_secs), after))
    whole = np.concatenate((speech, _silence(AFTER_SECS)))
    noisy = whole + random.normal(0.0, _NOISE, whole.size)
    pause_at_secs = _BEFORE_SECS + before.size / SPEECH_RATE_HZ
    return HesitantTurn(noisy.astype(np.float32), pause_at_secs, pause_secs, speech.size / SPEECH_RATE_HZ)


def _silence(secs: Seconds) -> Samples:
    return np.zeros(round(secs * SPEECH_RATE_HZ), np.float32)


def _trimmed(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[loud[0] : loud[-1] + 1]
