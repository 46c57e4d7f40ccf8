"""Voice names of OpenAI's API, and the voice of this server for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.settings import Settings
from serve.engines.registry import choice

# Kokoro itself has voices named alloy, echo, fable, nova and onyx. The other names get voices of the same sex and a
# similar pitch.
_KOKORO: Final = {
    "alloy": "alloy",
    "ash": "eric",
    "ballad": "lewis",
    "cedar": "abraham",
    "coral": "bella",
    "echo": "echo",
    "fable": "fable",
    "marin": "maeve",
    "nova": "nova",
    "onyx": "onyx",
    "sage": "sarah",
    "shimmer": "sky",
    "verse": "liam",
}
_FIVE: Final = {
    "alloy": "isla",
    "ash": "marcus",
    "ballad": "harry",
    "cedar": "marcus",
    "coral": "maeve",
    "echo": "abraham",
    "fable": "harry",
    "marin": "maeve",
    "nova": "maeve",
    "onyx": "abraham",
    "sage": "isla",
    "shimmer": "isla",
    "verse": "marcus",
}
"""For engines with the five voices of the API contract."""


class VoiceNames:
    """`FLUXIONS_VOICE_ALIASES` over a table for the engine that serves."""

    def __init__(self, settings: Settings) -> None:
        usual = _KOKORO if choice(settings, "synthesizer").engine == "kokoro" else _FIVE
        self.aliases: Mapping[str, str] = {**usual, **settings.dropin.voice_aliases}
        """Voice by the name that clients ask for."""

    def voice(self, name: str) -> str:
        """The voice for ``name``; a name that is no alias is returned unchanged."""
        return self.aliases.get(name, name)
