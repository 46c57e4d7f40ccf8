"""Kokoro's built-in voices: id, style, language, pitch, and the text of the preview.

The first five have the ids of the API contract and of the espeak engine. The others are named after their style; the part
after the dot is the beginning of the SHA-256 of the style's published float32 file.
"""

from __future__ import annotations

from typing import Final

from schemas.speech import VoiceProfile

_LANGUAGES: Final = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr", "h": "hi", "i": "it", "p": "pt-br"}
"""By the first letter of a style's name; the second is ``f`` for a woman's voice, ``m`` for a man's."""

_VOICES: Final[tuple[tuple[str, str, float], ...]] = (
    ("af_heart", "maeve.h736bab09a", 191.3),
    ("am_michael", "abraham.h736bab09a", 106.0),
    ("bm_george", "harry.h736bab09a", 137.4),
    ("bf_emma", "isla.h52c1d7e40", 174.3),
    ("am_fenrir", "marcus.h9ae3046bd", 137.4),
    ("af_alloy", "alloy.hc4a6b8760", 139.8),
    ("af_aoede", "aoede.h4a004c334", 176.5),
    ("af_bella", "bella.hf69d83620", 193.2),
    ("af_jessica", "jessica.ha240a5e3c", 197.1),
    ("af_kore", "kore.h9be5221b6", 144.5),
    ("af_nicole", "nicole.hcd2191ab3", 142.6),
    ("af_nova", "nova.h18778272c", 157.7),
    ("af_river", "river.h00a2bcf82", 176.2),
    ("af_sarah", "sarah.h4409fbc12", 190.8),
    ("af_sky", "sky.h4435255c9", 151.6),
    ("am_adam", "adam.h162b035ed", 115.7),
    ("am_echo", "echo.h3968b92c3", 103.9),
    ("am_eric", "eric.he8b5be17e", 150.8),
    ("am_liam", "liam.h52403be32", 117.3),
    ("am_onyx", "onyx.hda5d135b4", 83.3),
    ("am_puck", "puck.hfcf73c989", 106.0),
    ("am_santa", "santa.h61150cf72", 165.5),
    ("bf_alice", "alice.h08afa6ba2", 212.9),
    ("bf_isabella", "isabella.h3754352c4", 196.6),
    ("bf_lily", "lily.h5e0ee32eb", 190.5),
    ("bm_daniel", "daniel.h6b3194bbc", 122.5),
    ("bm_fable", "fable.hf88908319", 116.9),
    ("bm_lewis", "lewis.hb8f671cef", 90.3),
    ("ef_dora", "dora.hf66ec66bd", 174.5),
    ("em_alex", "alex.h27809e9ea", 132.3),
    ("em_santa", "santa-es.had43b774e", 134.8),
    ("ff_siwis", "siwis.ha35f5675a", 202.4),
    ("hf_alpha", "alpha.h040be6a44", 200.5),
    ("hf_beta", "beta.hcd83ae0bb", 176.8),
    ("hm_omega", "omega.hb02d9222d", 125.1),
    ("hm_psi", "psi.h644daf88b", 131.2),
    ("if_sara", "sara.h409b69248", 214.0),
    ("im_nicola", "nicola.hbc578e510", 86.0),
    ("pf_dora", "dora-pt.h3da7b5b2d", 170.6),
    ("pm_alex", "alex-pt.h0175c753f", 133.8),
    ("pm_santa", "santa-pt.h8b012db31", 135.2),
)
"""Style, id, and median pitch of the preview, Hz, by `serve.engines.tts.pitch.melody`."""

_PREVIEWS: Final = {
    "maeve": "I just, I want you to know how proud I am of you, and of everything you have done this year.",
    "abraham": "I've finished analysing the document you uploaded, and three of its figures need your attention.",
    "harry": "Hello, this is Harry. I'm calling you about the table you booked for Friday evening.",
    "isla": "Mind the step there, it's been raining since the morning and the stones are slippery.",
    "marcus": "So I said to him, you want it by Tuesday, you order it by Monday. It's not that hard!",
}
_INTRODUCTIONS: Final = {
    "af": "Hi, I'm {name}. Tell me what you would like to hear, and I'll read it to you.",
    "am": "Hello, I'm {name}. Give me a page, a letter or a joke, and I'll read it out.",
    "bf": "Hello, my name is {name}. Shall I read you something before the kettle boils?",
    "bm": "Good evening, my name is {name}. I should be glad to read you whatever you like.",
    "ef": "Hola, soy {name}. Dime qué quieres oír y te lo leo con mucho gusto.",
    "em": "Hola, soy {name}. Dime qué quieres oír y te lo leo con mucho gusto.",
    "ff": "Bonjour, je suis {name}. Dites-moi ce que vous voulez entendre, et je vous le lirai.",
    "if": "Ciao, sono {name}. Dimmi che cosa vuoi sentire e te lo leggo volentieri.",
    "im": "Ciao, sono {name}. Dimmi che cosa vuoi sentire e te lo leggo volentieri.",
    "pf": "Olá, eu sou a {name}. Diga o que você quer ouvir, e eu leio com prazer.",
    "pm": "Olá, eu sou o {name}. Diga o que você quer ouvir, e eu leio com prazer.",
    "hf": "नमस्ते, मैं {name} हूँ। बताइए आप क्या सुनना चाहते हैं, मैं पढ़कर सुनाती हूँ।",
    "hm": "नमस्ते, मैं {name} हूँ। बताइए आप क्या सुनना चाहते हैं, मैं पढ़कर सुनाता हूँ।",
}
_HINDI_NAMES: Final = {"alpha": "अल्फ़ा", "beta": "बीटा", "omega": "ओमेगा", "psi": "साई"}


def _voice(number: int, style: str, voice_id: str, f0_hz: float) -> VoiceProfile:
    name = voice_id.partition(".")[0]
    spoken_name = _HINDI_NAMES.get(name) or name.partition("-")[0].capitalize()
    return VoiceProfile(
        voice_id=voice_id,
        base="",
        speaker=number,
        f0_hz=f0_hz,
        language=_LANGUAGES[style[0]],
        style=((style, 1.0),),
        preview_text=_PREVIEWS.get(name) or _INTRODUCTIONS[style[:2]].format(name=spoken_name),
    )


KOKORO_VOICES: Final = tuple(_voice(number, *row) for number, row in enumerate(_VOICES))
