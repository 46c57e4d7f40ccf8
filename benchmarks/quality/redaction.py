"""Precision and recall of redaction on rendered speech: sentences with personal data and without, spoken by Kokoro's
voices, recognised by the profile's engine, and redacted as jobs are.

An item counts as found if a placeholder of its kind stands in its sentence, one for each item.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import soxr

from benchmarks.measure import Measure, Note
from benchmarks.quality.local_pipeline import LocalPipeline
from benchmarks.quality.redaction_sentences import Case, cases
from flows.transcription.redaction import redacted
from schemas.domain import SAMPLE_RATE_HZ, SPEECH_RATE_HZ, RecognizeOptions
from schemas.engines import Samples
from schemas.redaction import PII_KINDS, PLACEHOLDERS, PiiKind, placeholder
from schemas.settings import Settings
from schemas.speech import RenderRequest

VOICES: Final = ("maeve", "harry", "abraham")
_SHOWN_EACH: Final = 5


@dataclass(slots=True)
class Counts:
    """Items by kind: the number in the sentences, the found ones, and placeholders without an item."""

    items: Counter[PiiKind] = field(default_factory=Counter)
    found: Counter[PiiKind] = field(default_factory=Counter)
    wrong: Counter[PiiKind] = field(default_factory=Counter)
    hidden: int = 0
    """Items for which a placeholder of any kind stands."""

    def add(self, case: Case, words: Sequence[str]) -> None:
        """Count the placeholders in the redacted ``words`` of a case."""
        seen = Counter(kind for kind in PII_KINDS for word in words if word.startswith(placeholder(kind)))
        asked = Counter(case.kinds)
        self.items += asked
        self.hidden += min(seen.total(), asked.total())
        self.found += seen & asked
        self.wrong += seen - asked

    def summary(self) -> str:
        """The counts of all kinds in a few words."""
        return f"{self.found.total()} of {self.items.total()} items found, {self.wrong.total()} wrong"

    def measures(self) -> list[Measure]:
        """Precision and recall of all kinds, and the recall of each."""
        items, found, wrong = self.items.total(), self.found.total(), self.wrong.total()
        rows = [
            Measure("items", items, ""),
            Measure("recall", found / items if items else 0.0, ""),
            Measure("recall, of any kind", self.hidden / items if items else 0.0, ""),
            Measure("precision", found / (found + wrong) if found + wrong else 0.0, ""),
        ]
        rows += [
            Measure(f"recall of {kind} ({self.items[kind]} items, {self.wrong[kind]} wrong)", self.found[kind] / number, "")
            for kind, number in sorted(self.items.items())
        ]
        return rows


def measure(settings: Settings, *, count: int, seed: int, note: Note) -> list[Measure]:
    """Raises Unavailable for an engine that cannot be loaded."""
    counts, began = Counts(), time.monotonic()
    say = _speaker(settings)
    with LocalPipeline(settings) as pipeline:
        for number, case in enumerate(cases(count, seed)):
            words = pipeline.words(say(case.text, VOICES[number // 3 % len(VOICES)]), RecognizeOptions("en"))
            texts = [word.text for word in redacted(words, [0] * len(words), PII_KINDS, "en")[0]]
            counts.add(case, texts)
            plain = (word.rstrip(".,?!;:") for word in texts)
            if Counter(word for word in plain if word in PLACEHOLDERS) != Counter(placeholder(kind) for kind in case.kinds):
                note(f"{case.text}  ->  {' '.join(texts)}")
            if (number + 1) % _SHOWN_EACH == 0:
                note(f"{number + 1} of {count} sentences in {time.monotonic() - began:.0f} s: {counts.summary()}")
    return counts.measures()


def _speaker(settings: Settings) -> Callable[[str, str], Samples]:
    from serve.engines.registry import choice
    from serve.engines.tts.kokoro import build
    from serve.engines.tts.render_stream import rendered
    from serve.engines.tts.voices import find_voice

    synthesizer = build(choice(settings, "synthesizer"))

    def say(text: str, voice: str) -> Samples:
        request = RenderRequest(find_voice(voice, "kokoro"), text, verify=False)
        pcm = np.frombuffer(b"".join(chunk.pcm for chunk in rendered(synthesizer, request)), "<i2")
        samples = soxr.resample(pcm.astype(np.float32) / 32_768, SPEECH_RATE_HZ, SAMPLE_RATE_HZ)
        return np.concatenate(
            (np.zeros(SAMPLE_RATE_HZ // 2, np.float32), samples, np.zeros(SAMPLE_RATE_HZ // 2, np.float32))
        )

    return say
