"""Smart Turn v3.2 (Daily, BSD-2-Clause) through ONNX Runtime: tells the end of a turn from a pause.

Model: the encoder of Whisper tiny and a head that pools over time, 8 M parameters with int8 weights, trained on speech in
23 languages that was cut at the end of a turn or within it. Its input is the last 8 s.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import EngineInfo, Samples
from schemas.settings import Settings
from schemas.turn_taking import END_OF_TURN_SECS
from serve.engines.bundled_weights import find_weights
from serve.engines.end_of_turn.whisper_features import log_mel
from serve.engines.weights_catalog import SMART_TURN

_WINDOW: Final = round(END_OF_TURN_SECS * SAMPLE_RATE_HZ)
_VERSION: Final = 1
"""Incremented when results for the same audio change."""


def build(settings: Settings) -> SmartTurn:
    """The detector, loaded (40 MB). Raises Unavailable for weights that are missing or differ from the published ones."""
    found = find_weights(SMART_TURN, settings.home / "cache")
    return SmartTurn(found.folder / SMART_TURN.files[0].name, describe())


def describe() -> EngineInfo:
    """The detector, without loading it."""
    revision = f"smart-turn-{version('onnxruntime')}-{SMART_TURN.digest[:12]}-{_VERSION}"
    return EngineInfo("end_of_turn", "smart-turn", SMART_TURN.name, revision, {"window_secs": END_OF_TURN_SECS})


class SmartTurn:
    """A `schemas.turn_taking.EndOfTurnDetector`. A call uses one core and releases the GIL."""

    def __init__(self, file: Path, info: EngineInfo) -> None:
        import onnxruntime

        self.info = info
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def probability(self, samples: Samples) -> float:
        """See `EndOfTurnDetector.probability`."""
        if not samples.size:
            return 0.0
        heard = samples[-_WINDOW:]
        window = np.zeros(_WINDOW, np.float32)
        window[_WINDOW - heard.size :] = heard
        (found,) = self._session.run(None, {"input_features": log_mel(window)[None]})
        return float(found[0].item())
