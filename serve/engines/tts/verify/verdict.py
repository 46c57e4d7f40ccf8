"""The result of a check of rendered speech, and the protocol of checkers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from schemas.engines import Samples
from schemas.speech import Passage, VoiceProfile


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected content of a passage.

    ``words`` are in order, as written, with the punctuation attached to them; None for a cue. ``language`` is the voice's
    BCP 47 tag, lower-case.
    """

    words: tuple[str | None, ...]
    language: str = "en-us"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``score``: probability that the words were not spoken as written, 0 to 1; ``ok``: whether it is low enough.

    ``word_error_rate``: words missing, replaced or added, divided by expected words; None where nothing could be checked.
    ``reasons`` are for people, name words by their position and never quote them; empty when ``ok``.
    """

    ok: bool
    word_error_rate: float | None
    score: float
    reasons: tuple[str, ...] = ()


UNJUDGED = Verdict(True, None, 0.0)
"""The verdict on a passage without anything that can be checked."""


class Verifier(Protocol):
    """Safe to call from several threads."""

    def check(self, samples: Samples, expected: Expected) -> Verdict:
        """Whether ``(num_samples,) float32`` at 16 kHz mono contains the expected words.

        Raises EngineFailure, Unavailable.
        """
        ...


def expected_of(passage: Passage, voice: VoiceProfile) -> Expected:
    """The expected content of ``passage`` in ``voice``. A punctuation mark between spaces belongs to the word before it, or
    to the next if there is none."""
    found: list[str | None] = []
    opening = ""
    for part in passage.parts:
        if part.cue:
            found.append(None)
            continue
        for token in part.text.split():
            if any(character.isalnum() for character in token):
                found.append(opening + token)
                opening = ""
            elif found and found[-1] is not None:
                found[-1] = f"{found[-1]} {token}"
            else:
                opening += f"{token} "
    return Expected(tuple(found), voice.language)
