"""Voice matching: the embedded synthesiser made to resemble a reference clip.

It does not clone. It measures the clip's pitch, range and pace, tries the engine's own voices at that pitch, moves the
resonances and the long-term spectrum of the nearest, and keeps what brings its voiceprint closest to the clip's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ
from schemas.engines import Samples, VoiceProfile
from serve.diarization.voiceprint import WINDOW_FRAMES, Voiceprint, mel_power, raise_volume
from serve.tts.chunks import passages
from serve.tts.embedded import EmbeddedSynthesizer
from serve.tts.pitch import Melody, melody, syllable_rate_hz
from serve.tts.reference import usable
from serve.tts.shaping import BANDS_HZ, band_levels_db

_WINDOW_HOP_FRAMES: Final = 80
_LONGEST_SECS: Final = 30.0
_BASES: Final = tuple(
    f"{accent}+{variant}"
    for accent in ("en-us", "en-gb-x-rp")
    for variant in ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "Andy", "Annie", "klatt2")
)
_FINALISTS: Final = 4
_FORMANT_SCALES: Final = (0.86, 0.91, 0.96, 1.04, 1.09, 1.14, 1.2)
_EQUALIZER_SHARES: Final = (0.4, 0.7, 1.0)
_EQUALIZER_LIMIT_DB: Final = 12.0
_DYNAMIC_DB: Final = 65.0
_PEAK: Final = 0.9
_SENTENCES: Final = (
    "The boy was there when the sun rose, and a large fish swam under the old bridge.",
    "Help her choose which of those yellow jackets to buy before the shop closes.",
)


@dataclass(frozen=True, slots=True)
class Match:
    """``similarity`` is the cosine between the voiceprints of clip and rendering, chosen for and so a little flattered."""

    voice: VoiceProfile
    similarity: float


class VoiceMatcher:
    """Holds the speaker encoder and the engine; a match takes some seconds on one core. Not thread-safe."""

    def __init__(self, synthesizer: EmbeddedSynthesizer) -> None:
        """Raises Unavailable where the encoder's weights are missing."""
        self._synthesizer = synthesizer
        self._voiceprint = Voiceprint()

    def match(self, reference: Samples, voice_id: str) -> Match:
        """The voice nearest to ``reference``, ``(num_samples,) float32`` at 24 kHz of one person.

        Raises InvalidAudio for a clip that is too short, silent, or without a voice in it.
        """
        reference = reference[: round(_LONGEST_SECS * SPEECH_RATE_HZ)]
        wanted = usable(reference)
        print_ = self.embed(reference)
        best = self._best_base(print_, wanted, voice_id)
        best = self._best(print_, [best, *self._rescaled(best.voice, wanted)])
        best = self._best(print_, [best, *self._ranged(best.voice)])
        best = self._equalized(print_, best, reference)
        return Match(self._paced(best.voice, reference), best.similarity)

    def embed(self, samples: Samples) -> NDArray[np.float32]:
        """``(256,) float32``, L2-normalised: the mean voiceprint of ``samples`` at 24 kHz, 1.6 s at a time."""
        mels = mel_power(raise_volume(np.asarray(soxr.resample(samples, SPEECH_RATE_HZ, SAMPLE_RATE_HZ), np.float32)))
        if len(mels) < WINDOW_FRAMES:
            mels = np.pad(mels, ((0, WINDOW_FRAMES - len(mels)), (0, 0)), mode="wrap")
        starts = range(0, len(mels) - WINDOW_FRAMES + 1, _WINDOW_HOP_FRAMES)
        mean = self._voiceprint.embed(np.stack([mels[i : i + WINDOW_FRAMES] for i in starts])).mean(axis=0)
        normalised: NDArray[np.float32] = mean / np.linalg.norm(mean)
        return normalised

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
        return Match(voice, float(print_ @ self.embed(self.say(voice, _SENTENCES[:num_sentences]))))

    def _best(self, print_: NDArray[np.float32], tried: Sequence[Match | VoiceProfile]) -> Match:
        scored = [t if isinstance(t, Match) else self._score(print_, t) for t in tried]
        return max(scored, key=_similarity)

    def _best_base(self, print_: NDArray[np.float32], wanted: Melody, voice_id: str) -> Match:
        """One sentence sorts out most of the engine's voices; the finalists are heard in full."""
        tuned = (self._tuned(VoiceProfile(voice_id=voice_id, base=base), wanted) for base in _BASES)
        heats = sorted((self._score(print_, voice, 1) for voice in tuned), key=_similarity, reverse=True)
        return self._best(print_, [match.voice for match in heats[:_FINALISTS]])

    def _tuned(self, voice: VoiceProfile, wanted: Melody) -> VoiceProfile:
        """``voice`` with its pitch moved to the wanted one. The engine's scale doubles the pitch in about 50 steps, so
        the second move makes good what the first one missed."""
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
        levels = band_levels_db(reference)
        difference = levels - band_levels_db(own)
        # A clip that was sampled at 16 kHz says nothing about the bands above 8 kHz.
        heard = levels > levels.max() - _DYNAMIC_DB
        difference = np.interp(np.arange(levels.size), np.flatnonzero(heard), difference[heard])
        smooth = np.convolve(np.pad(difference, 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
        smooth = np.clip(smooth - np.median(smooth), -_EQUALIZER_LIMIT_DB, _EQUALIZER_LIMIT_DB)
        tried = [
            self._leveled(replace(best.voice, equalizer_db=_rounded(share * smooth)), own) for share in _EQUALIZER_SHARES
        ]
        return self._best(print_, [best, *tried])

    def _leveled(self, voice: VoiceProfile, own: Samples) -> VoiceProfile:
        """``voice`` with its equaliser as loud as the voice was without it, and below clipping."""
        coloured = self.say(voice)
        gain = min(own.std() / coloured.std(), _PEAK / np.abs(coloured).max())
        return replace(voice, equalizer_db=_rounded(np.array(voice.equalizer_db) + 20 * np.log10(gain)))

    def _paced(self, voice: VoiceProfile, reference: Samples) -> VoiceProfile:
        """``voice`` at the pace of the clip, within what stays intelligible."""
        wanted, own = syllable_rate_hz(reference), syllable_rate_hz(self.say(voice))
        if not wanted or not own:
            return voice
        return replace(voice, rate_wpm=int(np.clip(round(voice.rate_wpm * wanted / own), 130, 220)))


def _similarity(match: Match) -> float:
    return match.similarity


def _rounded(gains_db: NDArray[np.float64]) -> tuple[float, ...]:
    assert len(gains_db) == len(BANDS_HZ)  # noqa: S101
    return tuple(round(float(gain), 2) for gain in gains_db)
