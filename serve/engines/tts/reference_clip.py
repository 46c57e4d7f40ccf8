"""Checks reference clips for voice matching."""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from schemas.errors import InvalidAudio
from serve.engines.tts.pitch import Melody, melody

_MIN_SECS: Final = 1.0
_SILENT_DBFS: Final = -55.0
_MIN_VOICED_SHARE: Final = 0.08


def usable(reference: Samples) -> Melody:
    """The clip's melody. Raises InvalidAudio with the reason for a clip that no voice can be matched to."""
    secs = reference.size / SPEECH_RATE_HZ
    if secs < _MIN_SECS:
        raise InvalidAudio(f"the reference clip lasts {secs:.2f} s; give at least {_MIN_SECS:.0f} s", code="clip_too_short")
    level_dbfs = 20 * np.log10(max(float(np.sqrt(np.mean(np.square(reference, dtype=np.float64)))), 1e-9))
    if level_dbfs < _SILENT_DBFS:
        raise InvalidAudio("the reference clip is silent", code="silent_clip", param="audio")
    found = melody(reference)
    if found.voiced_share < _MIN_VOICED_SHARE:
        raise InvalidAudio("no voice was found in the reference clip", code="no_voice", param="audio")
    return found
