"""The check by recognition: Whisper recognises the passage, and the result is compared with the text."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from schemas.errors import EngineFailure
from serve.engines.tts.text.normalization import read_aloud
from serve.engines.tts.verify.decision import Decision, read_decision
from serve.engines.tts.verify.listening import MAX_SECS, WhisperListener
from serve.engines.tts.verify.listening_evidence import LISTENING_FEATURES, ListeningEvidence, weigh_listening
from serve.engines.tts.verify.pronunciation import ESPEAK_VOICES, Pronouncer, bare, compare, espeak_voice
from serve.engines.tts.verify.sound_end import BREAKS_OFF_DB
from serve.engines.tts.verify.verdict import UNJUDGED, Expected, Verdict

DECISION_FILE: Final = Path(__file__).with_name("whisper_decision.json")
LANGUAGES: Final = tuple(language for language in ESPEAK_VOICES if language != "hi")
"""First subtags of the languages that it checks. Whisper base writes Hindi in Urdu's script, so that good renders fail."""
_TITLE: Final = re.compile(r"\b(?:Mr|Mrs|Ms|Dr)\b(?!\.)")
"""Whisper sometimes omits the full stop by which the normaliser recognises a title."""
_NAMED: Final = 5
"""Most words named among the reasons."""


class WhisperVerifier:
    """A `Verifier` for synthesisers whose speech Whisper recognises. See `check` for passages that always pass."""

    def __init__(self, folder: Callable[[], Path], decision: Decision | None = None) -> None:
        """``folder`` finds the model's files; it is called, and the model loaded, at the first check.

        ``decision`` replaces the bundled one.
        """
        self._folder, self._loading = folder, threading.Lock()
        self._listener: WhisperListener | None = None
        self._decision = decision or read_decision(DECISION_FILE, LISTENING_FEATURES)
        self._pronouncer = lru_cache(maxsize=None)(Pronouncer)

    def check(self, samples: Samples, expected: Expected) -> Verdict:
        """See `Verifier.check`.

        A passage of another language than `LANGUAGES`, over `MAX_SECS`, or without a word is ``ok`` with
        ``word_error_rate`` None. Raises EngineFailure, and the errors of ``folder``.
        """
        if not np.isfinite(samples).all():
            raise EngineFailure("the passage holds samples that are not finite numbers")
        if expected.language.partition("-")[0] not in LANGUAGES or samples.size > MAX_SECS * SAMPLE_RATE_HZ:
            return UNJUDGED
        evidence = self.evidence(samples, expected)
        if evidence is None:
            return UNJUDGED
        probability = float(self._decision.probability(evidence.features.vector()))
        num_words = sum(word is not None for word in expected.words)
        if probability <= self._decision.threshold:
            return Verdict(True, min(1.0, evidence.num_errors / num_words), probability)
        rate = min(1.0, max(1, evidence.num_errors) / num_words)
        return Verdict(False, rate, probability, _reasons(evidence, expected))

    def evidence(self, samples: Samples, expected: Expected) -> ListeningEvidence | None:
        """The features and errors of a render; None where no word can be compared. Raises as `check`."""
        voice = espeak_voice(expected.language)
        if voice is None:
            return None
        pronouncer = self._pronouncer(voice)
        phones = [None if word is None else pronouncer.phones(bare(word)) for word in expected.words]
        words = [word for word, found in zip(expected.words, phones, strict=True) if word is not None and found]
        if not words:
            return None
        listening = self._loaded().listen(samples, words, expected.language.partition("-")[0])
        written_out = (_TITLE.sub(r"\g<0>.", text) for text in (listening.heard, listening.spelt) if text)
        texts = [read_aloud(text, expected.language) for text in written_out]
        heard = [[pronouncer.phones(bare(word)) for word in text.split()] for text in texts] or [[]]
        comparison = min((compare(phones, one) for one in heard), key=lambda found: found.total)
        written = {bare(word) for word in listening.heard.split()}
        as_written = np.asarray([word is not None and bare(word) in written for word in expected.words])
        return weigh_listening(samples, listening, comparison, as_written)

    def _loaded(self) -> WhisperListener:
        with self._loading:
            if self._listener is None:
                self._listener = WhisperListener(self._folder())
            return self._listener


def _reasons(evidence: ListeningEvidence, expected: Expected) -> tuple[str, ...]:
    """Reasons for people; positions count words without cues."""
    places = np.cumsum([word is not None for word in expected.words])
    total = int(places[-1])
    reasons = [f"word {places[n]} of {total} is not heard" for n in evidence.missing[:_NAMED]]
    reasons += [f"word {places[n]} of {total} sounds like another" for n in evidence.wrong[:_NAMED]]
    reasons += [
        f"other speech before word {places[n]} of {total}" if n < len(places) else "other speech after the last word"
        for n in evidence.added_before[:_NAMED]
    ]
    if evidence.features.end_level_db > BREAKS_OFF_DB:
        reasons.append("the sound breaks off")
    return tuple(reasons) or (f"word {places[evidence.worst]} of {total} is unlikely as it sounds",)
