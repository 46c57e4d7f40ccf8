"""The embedded check: expected phones searched in the sound, the evidence weighed. About 20 ms a sentence on one core.

It holds the interpreter for a millisecond or two at a time, in numpy calls that are each far shorter, so it runs where the
rendering runs and needs no process of its own.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from schemas.errors import EngineFailure
from serve.tts.verify.acoustics import load_model
from serve.tts.verify.alignment import ANY, Word
from serve.tts.verify.decision import load_decision
from serve.tts.verify.evidence import Evidence, weigh
from serve.tts.verify.lexicon import Lexicon, load_lexicon
from serve.tts.verify.verdict import Expected, Verdict

_MAX_SECS: Final = 60.0
_NAMED: Final = 5
"""Words at most named among the reasons."""


class PhoneVerifier:
    """A `Verifier` for the embedded synthesiser's voices. What it does not know it lets pass: see `check`."""

    def __init__(self) -> None:
        """Loads lexicon, network and decision, 0.3 s the first time in a process."""
        self._lexicon, self._model, self._decision = load_lexicon(), load_model(), load_decision()

    def check(self, samples: Samples, words: Expected) -> Verdict:
        """See `Verifier.check`. A word outside the lexicon is satisfied by any speech; where no word is inside it, or
        none is expected, everything is ``ok`` with ``word_error_rate`` None. Raises EngineFailure over 60 s."""
        if samples.size > _MAX_SECS * SAMPLE_RATE_HZ:
            raise EngineFailure(f"a passage of {samples.size / SAMPLE_RATE_HZ:.0f} s is too long to be checked in one go")
        if not np.isfinite(samples).all():
            raise EngineFailure("the passage holds samples that are not finite numbers")
        pronounced = [_pronounced(self._lexicon, word) for word in words]
        if not any(variants and variants != ((ANY,),) for variants in pronounced):
            return Verdict(True, None, 0.0)
        evidence = weigh(self._model.scores(samples), pronounced, self._model)
        if evidence is None:
            return Verdict(False, 1.0, 1.0, ("the sound is too short for its words",))
        probability = float(self._decision.probability(evidence.features.vector()))
        num_words = sum(word is not None for word in words)
        if probability <= self._decision.threshold:
            return Verdict(True, min(1.0, evidence.num_errors / num_words), probability)
        rate = min(1.0, max(1, evidence.num_errors) / num_words)
        return Verdict(False, rate, probability, _reasons(evidence, len(words)))

    def close(self) -> None:
        """It has started nothing."""


def _pronounced(lexicon: Lexicon, word: str | None) -> Word:
    return ((ANY,),) if word is None else lexicon.pronunciations(word)


def _reasons(evidence: Evidence, num_words: int) -> tuple[str, ...]:
    if not evidence.missing and not evidence.stray_secs:
        return (f"word {evidence.worst + 1} of {num_words} does not sound like itself",)
    missing = [f"word {number + 1} of {num_words} is not heard" for number in evidence.missing[:_NAMED]]
    return (*missing, *(f"other speech at {secs:.2f} s" for secs in evidence.stray_secs[:_NAMED]))
