"""Voices of the renders for fitting and for measuring, and their variations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from schemas.speech import VoiceProfile

Split = Literal["fitting", "measuring"]

_ESPEAK: Final[dict[Split, tuple[str, ...]]] = {
    "fitting": (
        "en-us+m8", "en-us+f4", "en-us+aunty", "en-us+david", "en-us+adam", "en-gb-x-rp+m2", "en-gb-x-rp+f1",
        "en-gb-scotland+m3",
    ),
    "measuring": (
        "en-us+f2", "en-us+m3", "en-us+Andy", "en-us+linda", "en-us+Gene", "en-gb-x-rp+f4", "en-gb-x-rp+m3",
        "en-us-nyc+m1", "en-gb-scotland+f4",
    ),
}  # fmt: skip
"""The phone model was trained on none of them; two of those for measuring are bases of built-in voices."""

_KOKORO: Final[dict[Split, tuple[str, ...]]] = {
    "fitting": (
        "af_alloy", "af_bella", "af_jessica", "af_nicole", "af_river", "af_sky", "am_echo", "am_fenrir", "am_michael",
        "am_puck", "bf_alice", "bf_isabella", "bm_daniel", "bm_george",
    ),
    "measuring": (
        "af_aoede", "af_heart", "af_kore", "af_nova", "af_sarah", "am_adam", "am_eric", "am_liam", "am_onyx", "am_santa",
        "bf_emma", "bf_lily", "bm_fable", "bm_lewis",
    ),
}  # fmt: skip

_KOKORO_OTHERS: Final[dict[str, tuple[str, ...]]] = {
    "es": ("ef_dora", "em_alex", "em_santa"),
    "fr": ("ff_siwis",),
    "it": ("if_sara", "im_nicola"),
    "pt": ("pf_dora", "pm_alex", "pm_santa"),
    "hi": ("hf_alpha", "hf_beta", "hm_omega", "hm_psi"),
}
_TAGS: Final = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr", "i": "it", "p": "pt-br", "h": "hi"}
"""Languages of Kokoro's styles, by the first letter of their names."""

LANGUAGES: Final = {"kokoro": ("en", *_KOKORO_OTHERS), "espeak": ("en",)}


@dataclass(frozen=True, slots=True)
class Style:
    """A voice and its speed."""

    voice: VoiceProfile
    speed: float = 1.0

    def varied(self, random: np.random.Generator) -> Style:
        """Kokoro at another speed; espeak-ng at another rate, pitch and vocal tract length."""
        if self.voice.style:
            return replace(self, speed=round(float(random.uniform(0.9, 1.15)), 2))
        voice = replace(
            self.voice,
            rate_wpm=int(random.integers(140, 200)),
            pitch=int(random.integers(25, 76)),
            formant_scale=round(float(random.uniform(0.95, 1.05)), 3),
        )
        return replace(self, voice=voice)


def styles(engine: str, language: str, split: Split) -> tuple[Style, ...]:
    """The voices of one split; all voices of a language other than English are for measuring."""
    if engine == "espeak":
        return tuple(Style(VoiceProfile(voice_id=name, base=name)) for name in _ESPEAK[split])
    names = _KOKORO[split] if language == "en" else _KOKORO_OTHERS[language]
    return tuple(
        Style(VoiceProfile(voice_id=name, base="", language=_TAGS[name[0]], style=((name, 1.0),))) for name in names
    )
