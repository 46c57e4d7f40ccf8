"""Decodes Mimi's frames one by one, with the same result as decoding all at once.

Mimi (Kyutai, arXiv:2410.00037) decodes 12.5 frames a second: an upsampling convolution, a transformer that attends ten
seconds back, and a convolutional decoder. All are causal, so a frame's audio depends on earlier frames only: the
transformer keeps its keys and values, and the convolutions receive the few previous inputs that they need again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from schemas.engines import Samples

if TYPE_CHECKING:
    import torch

_LATENTS_BACK: Final = 8
"""How far the convolutional decoder looks back: kernels of 7 and 3 and strides of 8, 6, 5 and 4 add up to no more."""


class MimiStream:
    """Decodes the frames of one rendering. Not thread-safe; several may share one ``codec``, a MimiModel."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec
        self._frame_samples: int = codec.config.frame_size
        self._last: torch.Tensor | None = None
        self._latents: torch.Tensor | None = None
        self._past: Any = None

    def feed(self, codes: torch.Tensor) -> Samples:
        """``(num_codebooks,)`` codes of the next frame to ``(1920,) float32`` at 24 kHz."""
        import torch

        decoder = self._codec.decoder
        with torch.inference_mode():
            # The model has a few more codes than the codec, for its own use; one of them in a frame must not fail.
            known = codes.clamp(max=self._codec.config.codebook_size - 1).to(self._codec.device)
            embedded = self._codec.quantizer.decode(known[None, :, None])
            pair = embedded if self._last is None else torch.cat((self._last, embedded), -1)
            self._last = embedded
            raised = decoder.upsample(pair)[..., -decoder.upsample.conv.stride[0] :]
            attended = decoder.decoder_transformer(raised.transpose(1, 2), past_key_values=self._past, use_cache=True)
            self._past = attended.past_key_values
            latents = attended.last_hidden_state.transpose(1, 2)
            if self._latents is not None:
                latents = torch.cat((self._latents, latents), -1)
            self._latents = latents[..., -_LATENTS_BACK:]
            sound = decoder.decoder_seanet(latents)[0, 0, -self._frame_samples :]
        return np.asarray(sound.float().cpu().numpy(), np.float32)
