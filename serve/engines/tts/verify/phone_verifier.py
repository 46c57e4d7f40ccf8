"""The check of espeak-ng's speech: aligns the expected phones to the audio and decides. About 20 ms a sentence.

Whisper makes too many errors on this synthesiser's good speech (`docs/verification.md` has the measurement). This check
holds the GIL for a millisecond or two at a time, in numpy calls, so it runs in the process that renders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from schemas.errors import EngineFailure
from serve.engines.tts.verify.decision import Decision, read_decision
from serve.engines.tts.verify.phone_acoustics import load_model
from serve.engines.tts.verify.phone_alignment import ANY, Word
from serve.engines.tts.verify.phone_evidence import PHONE_FEATURES, PhoneEvidence, weigh_phones
from serve.engines.tts.verify.phone_lexicon import Lexicon
from serve.engines.tts.verify.pronunciation import words_of
from serve.engines.tts.verify.sound_end import BREAKS_OFF_DB
from serve.engines.tts.verify.verdict import UNJUDGED, Expected, Verdict

DECISION_FILE: Final = Path(__file__).with_name("phone_decision.json")
_MAX_SECS: Final = 60.0
_NAMED: Final = 5
"""Most words named among the reasons."""


class PhoneVerifier:
    """A `Verifier` for espeak-ng's English voices."""

    def __init__(self, decision: Decision | None = None) -> None:
        """Loads network and decision, some milliseconds; ``decision`` replaces the bundled one. Raises EngineFailure where
        espeak-ng does not start."""
        self._lexicon, self._model = Lexicon(), load_model()
        self._decision = decision or read_decision(DECISION_FILE, PHONE_FEATURES)

    def check(self, samples: Samples, expected: Expected) -> Verdict:
        """See `Verifier.check`. Where no word is expected, everything is ``ok`` with ``word_error_rate`` None. Raises
        EngineFailure over 60 s."""
        if samples.size > _MAX_SECS * SAMPLE_RATE_HZ:
            raise EngineFailure(f"a passage of {samples.size / SAMPLE_RATE_HZ:.0f} s is too long to be checked in one go")
        if not np.isfinite(samples).all():
            raise EngineFailure("the passage holds samples that are not finite numbers")
        words = pronounced(self._lexicon, expected)
        num_words = sum(word != ((ANY,),) for word in words)
        if not num_words:
            return UNJUDGED
        evidence = weigh_phones(samples, words, self._model)
        if evidence is None:
            return Verdict(False, 1.0, 1.0, ("the sound is too short for its words",))
        probability = float(self._decision.probability(evidence.features.vector()))
        if probability <= self._decision.threshold:
            return Verdict(True, min(1.0, evidence.num_errors / num_words), probability)
        rate = min(1.0, max(1, evidence.num_errors) / num_words)
        return Verdict(False, rate, probability, _reasons(evidence, len(words)))

    def evidence(self, samples: Samples, expected: Expected) -> PhoneEvidence | None:
        """The features and errors of a render; None where the audio is too short for its words."""
        return weigh_phones(samples, pronounced(self._lexicon, expected), self._model)


def pronounced(lexicon: Lexicon, expected: Expected) -> list[Word]:
    """Pronunciations of each expected word; a cue is any sound."""
    found: list[Word] = []
    for token in expected.words:
        found += [((ANY,),)] if token is None else [p for word in words_of(token) if (p := lexicon.pronunciations(word))]
    return found


def _reasons(evidence: PhoneEvidence, num_words: int) -> tuple[str, ...]:
    missing = [f"word {number + 1} of {num_words} is not heard" for number in evidence.missing[:_NAMED]]
    strays = [f"other speech at {secs:.2f} s" for secs in evidence.stray_secs[:_NAMED]]
    reasons = [*missing, *strays]
    if evidence.features.end_level_db > BREAKS_OFF_DB:
        reasons.append("the sound breaks off")
    return tuple(reasons) or (f"word {evidence.worst + 1} of {num_words} does not sound like itself",)
