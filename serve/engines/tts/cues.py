"""Synthesises the cues from noise, a glottal source and resonances, at the pitch of the voice.

A source-filter model (Fant 1960; Klatt 1980, doi:10.1121/1.383940): voiced parts are a falling-spectrum pulse train with
jitter through vocal-tract resonances, breath is noise through the same ones. The tract's length follows the voice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import Samples
from schemas.speech import Cue, VoiceProfile
from serve.engines.tts.silence_trimming import fade_in, fade_out

Signal = NDArray[np.float64]

_BREATH: Final = ((500.0, 250.0), (1500.0, 300.0), (2500.0, 400.0))
_OPEN_VOWEL: Final = ((750.0, 90.0), (1250.0, 110.0), (2550.0, 160.0), (3600.0, 250.0))
_MIDDLE_VOWEL: Final = ((560.0, 80.0), (1250.0, 110.0), (2450.0, 170.0), (3500.0, 260.0))
_HUM: Final = ((270.0, 70.0), (1050.0, 250.0), (2250.0, 350.0))
"""Resonances as (centre, bandwidth) in Hz for a male tract."""
_MALE_F0_HZ: Final = 115.0
_JITTER_STEP: Final = SPEECH_RATE_HZ // 50
_PEAK_DBFS: Final[dict[Cue, float]] = {
    "sigh": -10,
    "laugh": -5,
    "gasp": -10,
    "sniff": -13,
    "cough": -5,
    "hesitate": -8,
    "breath": -16,
}


def render_cue(cue: Cue, voice: VoiceProfile, take: int = 0) -> Samples:
    """``(num_samples,) float32`` at 24 kHz, silent at both ends. Another ``take`` is a variation."""
    sound = _CUES[cue](_Tract(voice, np.random.default_rng((take, *cue.encode()))))
    peak = 10 ** (_PEAK_DBFS[cue] / 20)
    return fade_out(fade_in(np.asarray(sound * (peak / np.abs(sound).max()), np.float32)))


class _Tract:
    """A vocal tract: the voice's pitch, the scale of its resonances, and a random generator."""

    def __init__(self, voice: VoiceProfile, chance: np.random.Generator) -> None:
        self.f0_hz = voice.f0_hz
        # Resonances rise more slowly than pitch: women's are about 15 % above men's at twice the pitch.
        self.scale = float(np.clip((voice.f0_hz / _MALE_F0_HZ) ** 0.22, 0.9, 1.35))
        self.chance = chance

    def noise(self, secs: Seconds) -> Signal:
        return self.chance.standard_normal(round(secs * SPEECH_RATE_HZ))

    def voiced(self, secs: Seconds, pitch: Sequence[float]) -> Signal:
        """A pulse train that glides through the pitches, given relative to the voice's own, evenly spaced in time."""
        size = round(secs * SPEECH_RATE_HZ)
        contour = np.interp(np.linspace(0, 1, size), np.linspace(0, 1, len(pitch)), pitch) * self.f0_hz
        knots = np.arange(0, size + _JITTER_STEP, _JITTER_STEP)
        wander = np.interp(np.arange(size), knots, 0.012 * self.chance.standard_normal(knots.size))
        phase = np.cumsum(contour * (1 + wander)) / SPEECH_RATE_HZ
        pulses = np.diff(np.floor(phase), prepend=0.0)
        # Two real poles give the glottis its 12 dB an octave, of which the lips' radiation takes back 6.
        source: Signal = lfilter([1.0, -1.0], [1.0, -1.88, 0.8836], pulses)
        source += 0.03 * np.abs(source).max() * self.noise(secs)
        return source

    def shaped(self, source: Signal, resonances: Sequence[tuple[float, float]]) -> Signal:
        """The resonances in series, as in a tract."""
        for centre_hz, width_hz in resonances:
            radius = np.exp(-np.pi * width_hz * self.scale / SPEECH_RATE_HZ)
            angle = 2 * np.pi * min(centre_hz * self.scale, 11_000) / SPEECH_RATE_HZ
            feedback = [1.0, -2 * radius * np.cos(angle), radius**2]
            source = lfilter([sum(feedback)], feedback, source)
        return source


def _sigh(tract: _Tract) -> Signal:
    """A long breath out that darkens as it goes, with a trace of voice at its start."""
    secs = 1.0
    breath = tract.noise(secs)
    bright = tract.shaped(breath, ((700, 300), (1700, 400), (2700, 500)))
    dark = tract.shaped(breath, ((420, 250), (1100, 350)))
    mix = np.linspace(0, 1, breath.size)
    blown: Signal = (1 - mix) * bright / bright.std() + mix * dark / dark.std()
    voice = tract.shaped(tract.voiced(secs, (0.95, 0.75, 0.6)), _MIDDLE_VOWEL)
    voice *= _envelope(voice.size, ((0, 0), (0.12, 1), (0.35, 0), (1, 0))) / voice.std()
    blown += 0.25 * voice
    blown *= _envelope(breath.size, ((0, 0), (0.12, 1), (0.4, 0.6), (1, 0)))
    return blown


def _gasp(tract: _Tract) -> Signal:
    """A sharp breath in: bright, swelling, cut off by the closing glottis."""
    breath = tract.shaped(tract.noise(0.42), ((1150, 350), (2100, 400), (3400, 600)))
    return _band(breath, 700, 9000) * _envelope(breath.size, ((0, 0), (0.25, 0.35), (0.8, 1), (0.95, 0.8), (1, 0)))


def _breath(tract: _Tract) -> Signal:
    """A quiet breath in through the mouth, as between two sentences."""
    breath = tract.shaped(tract.noise(0.45), _BREATH)
    return _band(breath, 400, 7000) * _envelope(breath.size, ((0, 0), (0.35, 0.7), (0.7, 1), (1, 0)))


def _sniff(tract: _Tract) -> Signal:
    """Two short, high hisses through the nose."""
    bursts = [_band(tract.noise(secs), 3500, 9500) for secs in (0.14, 0.18)]
    shaped = [b * _envelope(b.size, ((0, 0), (0.3, 0.6), (0.75, 1), (1, 0))) for b in bursts]
    return np.concatenate((shaped[0], np.zeros(round(0.09 * SPEECH_RATE_HZ)), 1.2 * shaped[1]))


def _cough(tract: _Tract) -> Signal:
    """Two bursts of the glottis, each an explosion of breath that ends in a short rough voice."""
    coughs: list[Signal] = []
    for secs, level in ((0.26, 1.0), (0.22, 0.7)):
        blast = tract.shaped(tract.noise(secs), ((800, 250), (1600, 300), (2800, 400)))
        blast *= _envelope(blast.size, ((0, 0), (0.04, 1), (0.25, 0.45), (0.6, 0.12), (1, 0))) / blast.std()
        voice = tract.shaped(tract.voiced(secs, (1.25, 1.1, 0.8)), _OPEN_VOWEL)
        voice *= _envelope(voice.size, ((0, 0), (0.15, 0.2), (0.3, 1), (0.8, 0.4), (1, 0))) / voice.std()
        coughs += [level * (blast + 0.5 * voice), np.zeros(round(0.11 * SPEECH_RATE_HZ))]
    return np.concatenate(coughs[:-1])


def _laugh(tract: _Tract) -> Signal:
    """Five syllables of "ha", each a breath and a falling vowel, the row of them falling and fading."""
    syllables: list[Signal] = []
    for index in range(5):
        height, level = 1.55 - 0.1 * index, 0.86**index
        breath = tract.shaped(tract.noise(0.06), _BREATH)
        breath *= 0.18 * _envelope(breath.size, ((0, 0), (0.5, 1), (1, 0.5))) / breath.std()
        vowel = tract.shaped(tract.voiced(0.115, (height, height * 1.04, height * 0.88)), _OPEN_VOWEL)
        vowel *= _envelope(vowel.size, ((0, 0), (0.12, 1), (0.6, 0.8), (1, 0))) / vowel.std()
        syllables += [level * breath, level * vowel]
    return np.concatenate(syllables)


def _hesitate(tract: _Tract) -> Signal:
    """A drawn-out "uhm" on a low, level pitch."""
    source = tract.voiced(0.62, (0.92, 0.9, 0.86, 0.8))
    vowel, hum = tract.shaped(source, _MIDDLE_VOWEL), tract.shaped(source, _HUM)
    closing = _envelope(source.size, ((0, 0), (0.5, 0), (0.65, 1), (1, 1)))
    said: Signal = (1 - closing) * vowel / vowel.std() + 0.55 * closing * hum / hum.std()
    said *= _envelope(said.size, ((0, 0), (0.07, 1), (0.75, 0.8), (1, 0)))
    return said


def _envelope(size: int, points: Sequence[tuple[float, float]]) -> Signal:
    times, levels = zip(*points, strict=True)
    envelope: Signal = np.interp(np.linspace(0, 1, size), times, levels)
    return envelope


def _band(signal: Signal, low_hz: float, high_hz: float) -> Signal:
    filtered: Signal = sosfilt(butter(4, (low_hz, high_hz), "bandpass", fs=SPEECH_RATE_HZ, output="sos"), signal)
    return filtered


_CUES: Final[dict[Cue, Callable[[_Tract], Signal]]] = {
    "sigh": _sigh,
    "laugh": _laugh,
    "gasp": _gasp,
    "sniff": _sniff,
    "cough": _cough,
    "hesitate": _hesitate,
    "breath": _breath,
}
