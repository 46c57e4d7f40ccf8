"""Kokoro's styles: those of its 41 voices, and mixtures of them with an offset.

A style is a table of 510 rows of 256 numbers; row ``n - 1`` is for a passage of ``n`` tokens. ``kokoro.npz`` has the voices
of hexgrad's Kokoro-82M (Apache-2.0), rounded to float16, which changes values by at most 0.002.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.engines import Samples
from schemas.errors import InvalidParameter, Unavailable
from schemas.speech import VoiceProfile

Style = NDArray[np.float16]

STYLES_PATH: Final = Path(__file__).with_name("kokoro.npz")
STYLES_SHA256: Final = "85634d130f7c484af8638430ac3f98754452b21753f7084c03c262450e2ac774"
STYLE_SHAPE: Final = (510, 256)
_MAX_WEIGHT: Final = 4.0
_MAX_MIXED: Final = 64


class StyleBook:
    """All styles, checked against the digest. Safe to call from several threads."""

    def __init__(self, path: Path = STYLES_PATH) -> None:
        """Reads 8 MB. Raises Unavailable for a file that is missing or has another digest."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _unusable(f"{path} cannot be read ({error.strerror})") from error
        found = hashlib.sha256(content).hexdigest()
        if found != STYLES_SHA256:
            raise _unusable(f"{path} has the SHA-256 {found}, expected {STYLES_SHA256}")
        with np.load(path, allow_pickle=False) as archive:
            self._styles: dict[str, Style] = {name: archive[name] for name in archive.files}
        self._mixed: dict[str, tuple[VoiceProfile, NDArray[np.float32]]] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the voices."""
        return tuple(self._styles)

    def style(self, name: str) -> NDArray[np.float32]:
        """``(510, 256) float32`` of one voice. Raises KeyError."""
        return self._styles[name].astype(np.float32)

    def row(self, voice: VoiceProfile, num_tokens: int) -> Samples:
        """``(256,) float32``: the style of ``voice`` for a passage of ``num_tokens`` tokens.

        Raises InvalidParameter for a voice without a style, or with one that this engine lacks.
        """
        with self._lock:
            kept = self._mixed.get(voice.voice_id)
            if kept is None or kept[0] != voice:
                if len(self._mixed) >= _MAX_MIXED:
                    self._mixed.clear()
                kept = self._mixed[voice.voice_id] = voice, self._mix(voice)
        row: Samples = kept[1][min(num_tokens, STYLE_SHAPE[0]) - 1]
        return row

    def _mix(self, voice: VoiceProfile) -> NDArray[np.float32]:
        if not voice.style:
            raise _refused("has no Kokoro style; it was made for another synthesiser", "clone its clip again")
        mixed = np.zeros(STYLE_SHAPE, np.float32)
        for name, weight in voice.style:
            if name not in self._styles:
                raise _refused(f"names the style {name[:40]!r}, which there is not", "clone its clip again")
            if not -_MAX_WEIGHT <= weight <= _MAX_WEIGHT:
                raise _refused(f"gives the style {name} the weight {weight}", "weights lie between -4 and 4")
            mixed += np.float32(weight) * self._styles[name]
        if voice.style_offset:
            offset = np.array(voice.style_offset, np.float32)
            if offset.shape != STYLE_SHAPE[1:] or not np.isfinite(offset).all():
                raise _refused(f"has a style offset of {offset.size} numbers", f"{STYLE_SHAPE[1]} finite ones are needed")
            mixed += offset
        return mixed


def _refused(what: str, remedy: str) -> InvalidParameter:
    return InvalidParameter(f"the voice {what}: {remedy}", code="unusable_style", param="voice")


def _unusable(what: str) -> Unavailable:
    return Unavailable(
        f"the voice styles of Kokoro cannot be used: {what}; check the file out again, or install the platform anew",
        code="model_unavailable",
        param="kokoro.npz",
    )
