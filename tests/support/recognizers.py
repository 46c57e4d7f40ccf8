"""The product's own recogniser, loaded once for all tests of a process."""

from __future__ import annotations

from functools import cache

from schemas.engines import Recognizer
from schemas.settings import EngineSettings, Settings
from serve.engines.registry import build_recognizer


@cache
def whisper(model: str = "") -> Recognizer:
    """Whisper on CTranslate2 with Whisper base, or with the ``model`` that FLUXIONS_ASR_MODEL would name."""
    return build_recognizer(Settings(engines=EngineSettings(asr_engine="whisper", asr_model=model, device="cpu")))
