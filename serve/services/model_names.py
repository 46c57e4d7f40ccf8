"""Model names of other vendors, and the slot that answers to each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.domain import Slot
from schemas.errors import NotFound
from schemas.settings import Settings
from schemas.speech_engines import SlotStatus
from serve.engines.registry import SLOTS, choice

_KNOWN: Final[dict[str, Slot]] = {
    "whisper-1": "recognizer",
    "gpt-4o-transcribe": "recognizer",
    "gpt-4o-mini-transcribe": "recognizer",
    "gpt-4o-transcribe-diarize": "recognizer",
    "gpt-transcribe": "recognizer",
    "gpt-live-transcribe": "recognizer",
    "gpt-realtime-whisper": "recognizer",
    "tts-1": "synthesizer",
    "tts-1-hd": "synthesizer",
    "gpt-4o-mini-tts": "synthesizer",
}


class ModelNames:
    """`FLUXIONS_MODEL_ALIASES` over the names of OpenAI's models, and `FLUXIONS_UNKNOWN_MODELS` for all others."""

    def __init__(self, settings: Settings) -> None:
        self._aliases: dict[str, Slot] = {**_KNOWN, **settings.dropin.model_aliases}
        self._serves_unknown = settings.dropin.unknown_models == "serve"
        self._models: dict[Slot, str] = {slot: _model(settings, slot) for slot in SLOTS}

    def serving(self, name: str, slot: Slot) -> str:
        """The model of ``slot``, which answers to ``name``.

        Raises NotFound for the name of a model of another slot, and for an unknown name if FLUXIONS_UNKNOWN_MODELS
        refuses unknown names.
        """
        meant = self.slot(name)
        if meant is None and not self._serves_unknown:
            raise NotFound(
                f"there is no model {name[:80]!r} here; GET /v1/models lists them", code="model_not_found", param="model"
            )
        if meant not in (None, slot):
            verb = "transcribe" if slot == "recognizer" else "speak"
            raise NotFound(f"the model {name[:80]!r} does not {verb}", code="model_not_found", param="model")
        return self._models[slot]

    def own(self, slot: Slot) -> str:
        """The model of a slot."""
        return self._models[slot]

    def slot(self, name: str) -> Slot | None:
        """The slot that a name stands for: as an alias, or as the model's own name. None for an unknown one."""
        own: Slot | None = next((slot for slot, model in self._models.items() if model == name), None)
        return self._aliases.get(name) or own

    def find(self, name: str, slots: Sequence[SlotStatus]) -> SlotStatus:
        """The slot of ``slots`` whose model has this name or answers to it. Raises NotFound."""
        alias = self.slot(name)
        named = next((one for one in slots if (one.model or one.engine) == name), None)
        found = named or next((one for one in slots if one.slot == alias), None)
        if found is None:
            raise NotFound(
                f"there is no model {name[:80]!r}; GET /v1/models lists them", code="model_not_found", param="model"
            )
        return found


def _model(settings: Settings, slot: Slot) -> str:
    chosen = choice(settings, slot)
    return chosen.model or chosen.engine
