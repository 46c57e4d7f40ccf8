"""Moonshine through transformers: words and confidences. It gives no times, so words are spread over the audio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds
from schemas.engines import Samples
from serve.engines.asr.estimated_word_times import spread
from serve.engines.asr.token_words import Token
from serve.engines.asr.transformers_parakeet import HubVocabulary

_TOKENS_PER_SEC: Final = 6.5
"""Most tokens a second, as the model's authors limit it, against loops."""

_PADDING: Final = SAMPLE_RATE_HZ // 2
"""Utterances are padded to multiples of this, alone and in batches. The model's first layer normalises over its whole
input, padding included, so only utterances of equal padded length share a batch."""


class Moonshine:
    """Recognises utterances of up to 30 s, those of one padded length together."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoFeatureExtractor, AutoTokenizer, MoonshineForConditionalGeneration

        self._features = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        self._vocabulary = HubVocabulary(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        model = MoonshineForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        self._model = model.to(device).eval()

    def __call__(self, utterances: Sequence[Samples]) -> list[Recognition]:
        alike: dict[int, list[int]] = {}
        for index, samples in enumerate(utterances):
            alike.setdefault(-(-samples.size // _PADDING), []).append(index)
        heard: dict[int, Recognition] = {}
        for steps, indices in alike.items():
            found = self._recognize([utterances[index] for index in indices], steps * _PADDING)
            heard.update(zip(indices, found, strict=True))
        return [heard[index] for index in range(len(utterances))]

    def _recognize(self, utterances: Sequence[Samples], num_samples: int) -> list[Recognition]:
        import torch

        with torch.inference_mode():
            found = self._features(
                list(utterances),
                sampling_rate=SAMPLE_RATE_HZ,
                padding="max_length",
                max_length=num_samples,
                return_attention_mask=True,
                return_tensors="pt",
            )
            made = self._model.generate(
                **{name: part.to(self._model.device) for name, part in found.items()},
                max_new_tokens=max(_most_tokens(samples) for samples in utterances),
                do_sample=False,
                num_beams=1,
                return_dict_in_generate=True,
                output_logits=True,
            )
            chances = torch.stack(made.logits, dim=1).float().softmax(-1)
            ids = made.sequences[:, -chances.shape[1] :]
            sure = chances.gather(-1, ids[..., None])[..., 0].cpu().numpy()
        return [
            self._recognition(samples, row[: _most_tokens(samples)], sure[index])
            for index, (samples, row) in enumerate(zip(utterances, ids.tolist(), strict=True))
        ]

    def _recognition(self, samples: Samples, ids: Sequence[int], sure: NDArray[np.float32]) -> Recognition:
        ends = self._model.generation_config.eos_token_id
        stop = next((place for place, id_ in enumerate(ids) if id_ in np.atleast_1d(ends)), len(ids))
        tokens = [Token(id_, place, place + 1, float(sure[place])) for place, id_ in enumerate(ids[:stop])]
        return Recognition(spread(tokens, self._vocabulary, samples))


def _most_tokens(samples: Samples) -> int:
    seconds: Seconds = samples.size / SAMPLE_RATE_HZ
    return max(2, round(seconds * _TOKENS_PER_SEC))
