"""Turns the three request parameters for the number of speakers into one `SpeakerHint`."""

from __future__ import annotations

from typing import Final

from schemas.domain import SpeakerHint
from schemas.errors import InvalidParameter

MOST_SPEAKERS: Final = 100
"""Upper bound of each of the three numbers; the lower bound is 1."""


def speaker_hint(exactly: int | None, least: int | None, most: int | None) -> SpeakerHint:
    """The hint for ``num_speakers``, ``min_speakers`` and ``max_speakers``. Raises InvalidParameter for bounds that no
    number meets, and for an exact number together with bounds."""
    if exactly is not None:
        if least is not None or most is not None:
            raise InvalidParameter(
                "num_speakers says it all: leave min_speakers and max_speakers out", param="num_speakers"
            )
        return SpeakerHint(exactly, exactly)
    if most is not None and (least or 1) > most:
        raise InvalidParameter(f"min_speakers is {least} and max_speakers {most}: no number is both", param="min_speakers")
    return SpeakerHint(least or 1, most)
