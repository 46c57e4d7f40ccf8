"""Voice matching with espeak-ng: adapts pitch, resonances and spectrum of the most similar voice to the clip's.

It measures the clip's pitch, range and rate, tries the engine's own voices at that pitch, changes the resonances and the
long-term spectrum of the most similar one, and keeps the changes that raise the similarity of voiceprints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.speech import VoiceProfile
from serve.engines.tts.espeak_synthesizer import EmbeddedSynthesizer
from serve.engines.tts.passages import passages
from serve.engines.tts.pitch import Melody, melody, syllable_rate_hz
from serve.engines.tts.reference_clip import usable
from serve.engines.tts.voice_matching import (
    LONGEST_SECS,
    Match,
    Progress,
    SpeakerEncoder,
    rounded,
    spectrum_difference_db,
    with_equal_level,
)

_BASES: Final = tuple(
    f"{accent}+{variant}"
    for accent in ("en-us", "en-gb-x-rp")
    for variant in ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "Andy", "Annie", "klatt2")
)
_FINALISTS: Final = 4
_FORMANT_SCALES: Final = (0.86, 0.91, 0.96, 1.04, 1.09, 1.14, 1.2)
_EQUALIZER_SHARES: Final = (0.4, 0.7, 1.0)
_EQUALIZER_LIMIT_DB: Final = 12.0
_SENTENCES: Final = (
    "The boy was there when the sun rose, and a large fish swam under the old bridge.",
    "Help her choose which of those yellow jackets to buy before the shop closes.",
)


class EspeakMatcher:
    """A match takes some seconds on one core. See `VoiceMatcher`."""

    def __init__(self, synthesizer: EmbeddedSynthesizer) -> None:
        """Raises Unavailable where the speaker encoder's weights are missing."""
        self._synthesizer = synthesizer
        self._encoder = SpeakerEncoder()

    def match(self, reference: Samples, voice_id: str, progress: Progress | None = None) -> Match:
        """See `VoiceMatcher.match`."""
        reference = reference[: round(LONGEST_SECS * SPEECH_RATE_HZ)]
        wanted = usable(reference)
        print_ = self._encoder.embed(reference)
        best = self._best_base(print_, wanted, voice_id)
        _report(progress, 0.6, best)
        best = self._best(print_, [best, *self._rescaled(best.voice, wanted)])
        best = self._best(print_, [best, *self._ranged(best.voice)])
        _report(progress, 0.9, best)
        best = self._equalized(print_, best, reference)
        _report(progress, 1.0, best)
        return Match(self._paced(best.voice, reference), best.similarity)

    def say(self, voice: VoiceProfile, sentences: Sequence[str] = _SENTENCES) -> Samples:
        """The trial sentences in one voice, ``(num_samples,) float32`` at 24 kHz."""
        pieces = [
            piece
            for sentence in sentences
            for passage in passages(sentence)
            for piece in self._synthesizer.render(passage, voice, 0.0)
        ]
        return np.concatenate(pieces)

    def _score(self, print_: NDArray[np.float32], voice: VoiceProfile, num_sentences: int = len(_SENTENCES)) -> Match:
        return Match(voice, float(print_ @ self._encoder.embed(self.say(voice, _SENTENCES[:num_sentences]))))

    def _best(self, print_: NDArray[np.float32], tried: Sequence[Match | VoiceProfile]) -> Match:
        scored = [t if isinstance(t, Match) else self._score(print_, t) for t in tried]
        return max(scored, key=_similarity)

    def _best_base(self, print_: NDArray[np.float32], wanted: Melody, voice_id: str) -> Match:
        """The most similar voice: all are compared on one sentence, the best ones on all sentences."""
        tuned = (self._tuned(VoiceProfile(voice_id=voice_id, base=base), wanted) for base in _BASES)
        heats = sorted((self._score(print_, voice, 1) for voice in tuned), key=_similarity, reverse=True)
        return self._best(print_, [match.voice for match in heats[:_FINALISTS]])

    def _tuned(self, voice: VoiceProfile, wanted: Melody) -> VoiceProfile:
        """``voice`` with its pitch changed to the wanted one. The engine's scale doubles the pitch in about 50 steps; a
        second change corrects the error of the first."""
        for _ in range(2):
            heard = melody(self.say(voice, _SENTENCES[:1]))
            if not heard.median_hz:
                return voice
            steps = 50 * np.log2(wanted.median_hz / heard.median_hz)
            pitch = int(np.clip(round(voice.pitch + steps), 0, 99))
            voice = replace(voice, pitch=pitch, f0_hz=round(wanted.median_hz, 1))
        return voice

    def _rescaled(self, voice: VoiceProfile, wanted: Melody) -> list[VoiceProfile]:
        return [self._tuned(replace(voice, formant_scale=scale), wanted) for scale in _FORMANT_SCALES]

    def _ranged(self, voice: VoiceProfile) -> list[VoiceProfile]:
        return [replace(voice, pitch_range=pitch_range) for pitch_range in (20, 35, 65, 80)]

    def _equalized(self, print_: NDArray[np.float32], best: Match, reference: Samples) -> Match:
        own = self.say(best.voice)
        gains_db = spectrum_difference_db(reference, own, _EQUALIZER_LIMIT_DB)
        tried = [self._leveled(best.voice, share * gains_db, own) for share in _EQUALIZER_SHARES]
        return self._best(print_, [best, *tried])

    def _leveled(self, voice: VoiceProfile, gains_db: NDArray[np.float64], own: Samples) -> VoiceProfile:
        """``voice`` with its equaliser as loud as the voice was without it, and below clipping."""
        colored = self.say(replace(voice, equalizer_db=rounded(gains_db)))
        return replace(voice, equalizer_db=with_equal_level(gains_db, own, colored))

    def _paced(self, voice: VoiceProfile, reference: Samples) -> VoiceProfile:
        """``voice`` at the rate of the clip, within intelligible bounds."""
        wanted, own = syllable_rate_hz(reference), syllable_rate_hz(self.say(voice))
        if not wanted or not own:
            return voice
        return replace(voice, rate_wpm=int(np.clip(round(voice.rate_wpm * wanted / own), 130, 220)))


def _similarity(match: Match) -> float:
    return match.similarity


def _report(progress: Progress | None, done: float, best: Match) -> None:
    if progress is not None:
        progress(done, best.similarity)
