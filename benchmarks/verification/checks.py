"""The two checks of rendered speech for fitting and measuring: their features, decision files and programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from benchmarks.verification.evaluation import Weigh
from schemas.settings import Settings
from serve.engines.tts.verify.decision import undecided
from serve.engines.tts.verify.listening_evidence import LISTENING_DIRECTIONS, LISTENING_FEATURES
from serve.engines.tts.verify.phone_evidence import PHONE_DIRECTIONS, PHONE_FEATURES

Engine = Literal["kokoro", "espeak"]


@dataclass(frozen=True, slots=True)
class Check:
    """``directions``: the sign of the weight of each feature; ``false_alarms``: share of good renders that fail among those
    the threshold is chosen on."""

    directions: dict[str, int]
    decision_file: Path
    false_alarms: float
    build: Callable[[Settings], Weigh]

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.directions)


def check_of(engine: Engine) -> Check:
    """The check for an engine's speech."""
    return _CHECKS[engine]()


def _by_listening() -> Check:
    from serve.engines.bundled_weights import find_weights
    from serve.engines.tts.verify.whisper_verifier import DECISION_FILE, WhisperVerifier
    from serve.engines.weights_catalog import WHISPER_BASE

    def build(settings: Settings) -> Weigh:
        folder = partial(find_weights, WHISPER_BASE, settings.home / "cache")
        return WhisperVerifier(lambda: folder().folder, undecided(LISTENING_FEATURES)).evidence

    return Check(LISTENING_DIRECTIONS, DECISION_FILE, 0.02, build)


def _by_phones() -> Check:
    from serve.engines.tts.verify.phone_verifier import DECISION_FILE, PhoneVerifier

    return Check(PHONE_DIRECTIONS, DECISION_FILE, 0.02, lambda _settings: PhoneVerifier(undecided(PHONE_FEATURES)).evidence)


_CHECKS: Final[dict[Engine, Callable[[], Check]]] = {"kokoro": _by_listening, "espeak": _by_phones}
