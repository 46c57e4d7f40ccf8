"""Decodes Dia's rows of delayed tokens as a stream, with the same result as decoding all at once.

Dia writes codebook ``c`` of a frame ``delay[c]`` rows late. DAC (Kumar et al., arXiv:2306.06546) consists of convolutions
that look both ways, so frames are decoded once the frames after them that they depend on are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from schemas.engines import Samples

if TYPE_CHECKING:
    import torch

_REACH_FRAMES: Final = 10
"""How far the decoder looks to each side: kernels of 7, dilations to 9 and strides of 8, 8, 4 and 2 add up to no more."""
_FIRST_FRAMES, _MOST_FRAMES = 8, 64
"""Frames decoded at a time: few at first, for a short latency; later more, because the frames around them cost as well."""


class DacStream:
    """Decodes the rows of one rendering at the codec's rate, 512 samples a frame. Not thread-safe."""

    def __init__(self, codec: Any, delays: Sequence[int]) -> None:
        """``codec`` is a DacModel; ``delays`` has one for each codebook, in rows."""
        self._codec = codec
        self._delays = delays
        self._rows: list[torch.Tensor] = []
        self._frames: list[torch.Tensor] = []
        self._ended = False
        self._decoded = 0
        self._wanted = _FIRST_FRAMES

    def feed(self, row: torch.Tensor) -> Samples:
        """``(num_codebooks,)`` tokens of the next row to the samples that are ready, ``(num_samples,) float32``."""
        self._rows.append(row)
        start = len(self._rows) - 1 - max(self._delays)
        if start >= 0:
            self._add_frame(start)
        ready = len(self._frames) - _REACH_FRAMES - self._decoded
        if ready < self._wanted:
            return np.zeros(0, np.float32)
        self._wanted = min(_MOST_FRAMES, 2 * self._wanted)
        return self._decode(self._decoded + ready)

    def finish(self) -> Samples:
        """The audio of the remaining frames."""
        return self._decode(len(self._frames))

    def _add_frame(self, start: int) -> None:
        import torch

        frame = torch.stack([self._rows[start + delay][codebook] for codebook, delay in enumerate(self._delays)])
        most = self._codec.config.codebook_size - 1
        # A token beyond the codes ends the speech in the first codebook; elsewhere it must not raise.
        self._ended |= bool(frame[0] > most)
        if not self._ended:
            self._frames.append(frame.clamp(max=most))

    def _decode(self, end: int) -> Samples:
        """Decode the remaining frames up to ``end``, with the frames around them that they depend on."""
        import torch

        begin, self._decoded = self._decoded, end
        if begin == end:
            return np.zeros(0, np.float32)
        first, last = max(0, begin - _REACH_FRAMES), min(len(self._frames), end + _REACH_FRAMES)
        codes = torch.stack(self._frames[first:last], dim=-1).to(self._codec.device)
        hop = self._codec.config.hop_length
        with torch.inference_mode():
            sound = self._codec.decode(audio_codes=codes[None]).audio_values[0]
        return np.asarray(sound[(begin - first) * hop : (end - first) * hop].float().cpu().numpy(), np.float32)
