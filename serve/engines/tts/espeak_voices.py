"""The built-in voices of the espeak engine, and its description."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Final

from schemas.engines import EngineInfo, SynthesizerCapabilities
from schemas.speech import VoiceProfile

# American bases only, because the check of renders was trained on American pronunciations.
ESPEAK_VOICES: Final[tuple[VoiceProfile, ...]] = (
    VoiceProfile(
        voice_id="maeve.h736bab09a",
        base="en-us+f2",
        rate_wpm=165,
        f0_hz=190,
        preview_text="I just, I want you to know how proud I am of you, and of everything you have done this year.",
    ),
    VoiceProfile(
        voice_id="abraham.h736bab09a",
        speaker=1,
        base="en-us+klatt4",
        rate_wpm=142,
        pitch=30,
        f0_hz=85,
        preview_text="I've finished analysing the document you uploaded, and three of its figures need your attention.",
    ),
    VoiceProfile(
        voice_id="harry.h736bab09a",
        speaker=2,
        base="en-us+m6",
        rate_wpm=182,
        pitch=64,
        pitch_range=70,
        f0_hz=122,
        preview_text="Hello, this is Harry. I'm calling you about the table you booked for Friday evening.",
    ),
    VoiceProfile(
        voice_id="isla.h52c1d7e40",
        speaker=3,
        base="en-us+f5",
        rate_wpm=175,
        pitch=65,
        pitch_range=70,
        f0_hz=252,
        preview_text="Mind the step there, it's been raining since the morning and the stones are slippery.",
    ),
    VoiceProfile(
        voice_id="marcus.h9ae3046bd",
        speaker=4,
        base="en-us+m5",
        rate_wpm=182,
        pitch=45,
        f0_hz=98,
        preview_text="So I said to him, you want it by Tuesday, you order it by Monday. It's not that hard!",
    ),
)


def describe() -> EngineInfo:
    """espeak-ng with its voices, without loading it."""
    loader = version("espeakng-loader")
    return EngineInfo(
        slot="synthesizer",
        engine="espeak-ng",
        model="formant synthesis with cues and voice matching by signal processing",
        revision=f"espeak-{loader}-2",
        capabilities=capabilities_json(),
    )


def capabilities_json() -> dict[str, object]:
    return asdict(
        SynthesizerCapabilities(
            languages=("en-us",),
            cues=("sigh", "laugh", "gasp", "sniff", "cough", "hesitate", "breath"),
            temperature=False,
            matches_voices=True,
            speed=True,
        )
    )
