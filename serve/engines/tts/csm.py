"""CSM (Sesame) through transformers: 24 kHz, a frame of 80 ms at a time, in the voice of a prompt."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any, Final

from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import EngineChoice, EngineInfo, Samples, SynthesizerCapabilities
from schemas.errors import EngineFailure
from schemas.speech import Cue
from serve.engines.model_files import engine_revision, resolve, torch_device
from serve.engines.tts.csm_codec import MimiStream
from serve.engines.tts.generative_synthesizer import (
    PROMPT_SECS,
    GenerativeSynthesizer,
    Utterance,
    checked_kind,
    loaded,
    prompt_samples,
)
from serve.engines.tts.silence_trimming import silence
from serve.engines.tts.token_generation import Generations

TAGS: Final[Mapping[Cue, str]] = {"hesitate": "um..."}
"""CSM has no tags: a hesitation is written as a word, and the other cues are synthesised by `serve.engines.tts.cues`."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """CSM with the configured model, without loading it. Raises Unavailable."""
    capabilities = SynthesizerCapabilities(
        languages=("en",),
        cues=("sigh", "laugh", "gasp", "sniff", "cough", "hesitate", "breath"),
        temperature=True,
        matches_voices=True,
        prompt_secs=PROMPT_SECS,
    )
    revision = engine_revision("csm", version("transformers"), resolve(chosen), {"prompt_secs": PROMPT_SECS})
    return EngineInfo(chosen.slot, chosen.engine, chosen.model, revision, asdict(capabilities))


def build(chosen: EngineChoice) -> GenerativeSynthesizer:
    """CSM, loaded. Raises Unavailable for a folder with another model, and errors of loading."""
    files = resolve(chosen)
    checked_kind(chosen, files.path, "csm")
    return GenerativeSynthesizer(CsmModel(files.path, torch_device(chosen)), describe(chosen))


class CsmModel:
    """A `SpeechModel`. On a GPU its transformers work in bfloat16 and its codec in float32, on a CPU all in float32."""

    tags = TAGS

    def __init__(self, folder: Path, device: str) -> None:
        """Loads from ``folder``; errors of transformers pass through."""
        import torch
        from transformers import AutoProcessor, CsmForConditionalGeneration

        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self._processor = loaded(AutoProcessor, folder)
        self._model = loaded(CsmForConditionalGeneration, folder, dtype=dtype).to(device).eval()
        self._codec: Any = self._model.codec_model.float()
        self._generations = Generations()

    @property
    def num_parameters(self) -> int:
        return sum(weights.numel() for weights in self._model.parameters())

    def speak(self, utterance: Utterance) -> Generator[Samples, None, None]:
        """See `SpeechModel.speak`: a piece is a frame, 1920 samples."""
        inputs = self._inputs(utterance)
        options = self._options(utterance, inputs["input_ids"].shape[1])
        stream = MimiStream(self._codec)
        generate = partial(self._model.generate, **inputs, **options)
        with closing(self._generations.tokens(generate, utterance.seed)) as steps:
            for codes in steps:
                if codes is None:
                    yield silence(0.0)
                elif self._is_last(codes[0]):
                    return
                else:
                    yield stream.feed(codes[0])

    def _inputs(self, utterance: Utterance) -> Any:
        """Inputs of `generate`: the prompt's text and audio as the speaker's previous turn, then the text."""
        said: list[dict[str, Any]] = []
        if utterance.prompt is not None:
            sound = {"type": "audio", "path": prompt_samples(utterance.prompt)}
            said.append(_turn(utterance.speaker, utterance.prompt.text, sound))
        said.append(_turn(utterance.speaker, utterance.text))
        return self._processor.apply_chat_template(said, tokenize=True, return_dict=True).to(self._model.device)

    def _options(self, utterance: Utterance, num_positions: int) -> dict[str, Any]:
        frame_rate_hz = SPEECH_RATE_HZ / self._codec.config.frame_size
        most = min(ceil(utterance.max_secs * frame_rate_hz), self._model.config.max_position_embeddings - num_positions)
        if most <= 0:
            raise EngineFailure("the voice's prompt and the text are longer than the model can read")
        sampled = {"do_sample": utterance.temperature > 0, "temperature": utterance.temperature or 1.0}
        return {"max_new_tokens": most, **sampled, **{f"depth_decoder_{name}": value for name, value in sampled.items()}}

    def _is_last(self, codes: Any) -> bool:
        """Whether CSM has ended: all codebooks except the last have the end token."""
        return bool((codes[:-1] == self._model.config.codebook_eos_token_id).all())


def _turn(speaker: int, text: str, *more: dict[str, Any]) -> dict[str, Any]:
    return {"role": str(speaker), "content": [{"type": "text", "text": text}, *more]}
