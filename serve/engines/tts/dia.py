"""Dia (Nari Labs) through transformers: 44.1 kHz by the codec DAC, cues as tags in the text, in the voice of a prompt."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any, Final

import numpy as np

from audio.resample import Resampler
from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import EngineChoice, EngineInfo, Samples, SynthesizerCapabilities
from schemas.speech import DEFAULT_TEMPERATURE, Cue, VoicePrompt
from serve.engines.model_files import ModelFiles, cannot_load, engine_revision, resolve, torch_device
from serve.engines.tts.dia_codec import DacStream
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

TAGS: Final[Mapping[Cue, str]] = {
    "sigh": "(sighs)",
    "laugh": "(laughs)",
    "gasp": "(gasps)",
    "sniff": "(sniffs)",
    "cough": "(coughs)",
    "hesitate": "um...",
}
"""The tags of the model card for cues; it has none for a hesitation, which is written as a word."""
_TEMPERATURE: Final = 1.8
"""The sampling temperature of the model card; the API's default corresponds to it, other values in proportion."""
_CODEC_FOLDER: Final = "audio_tokenizer"
_CODEC_NAMED_IN: Final = ("processor_config.json", "audio_tokenizer_config.json")


def describe(chosen: EngineChoice) -> EngineInfo:
    """Dia with the configured model and its codec, without loading them. Raises Unavailable."""
    capabilities = SynthesizerCapabilities(
        languages=("en",), cues=tuple(TAGS), temperature=True, matches_voices=True, prompt_secs=PROMPT_SECS
    )
    files = resolve(chosen)
    options = {"prompt_secs": PROMPT_SECS, "codec": _codec(chosen, files).digest, "tags": dict(TAGS)}
    revision = engine_revision("dia", version("transformers"), files, options)
    return EngineInfo(chosen.slot, chosen.engine, chosen.model, revision, asdict(capabilities))


def build(chosen: EngineChoice) -> GenerativeSynthesizer:
    """Dia, loaded. Raises Unavailable for a folder with another model, and errors of loading."""
    files = resolve(chosen)
    checked_kind(chosen, files.path, "dia")
    return GenerativeSynthesizer(DiaModel(files.path, _codec(chosen, files).path, torch_device(chosen)), describe(chosen))


def _codec(chosen: EngineChoice, files: ModelFiles) -> ModelFiles:
    """The codec, in the model's folder or a model that a file there names. Raises Unavailable."""
    inside = files.path / _CODEC_FOLDER
    if inside.is_dir():
        return resolve(replace(chosen, model=str(inside)))
    for name in _CODEC_NAMED_IN:
        if (files.path / name).is_file():
            found = json.loads((files.path / name).read_text("utf-8"))
            if named := found.get("audio_tokenizer", found).get("audio_tokenizer_name_or_path"):
                return resolve(replace(chosen, model=named))
    raise cannot_load(
        chosen, "nothing in it says which codec it speaks by", f"put a DAC at 44.1 kHz into its folder {_CODEC_FOLDER}"
    )


class DiaModel:
    """A `SpeechModel`. On a GPU its transformers work in bfloat16 and its codec in float32, on a CPU all in float32."""

    tags = TAGS

    def __init__(self, folder: Path, codec_folder: Path, device: str) -> None:
        """Loads model and codec from their folders; errors of transformers pass through."""
        import torch
        from transformers import DacModel, DiaFeatureExtractor, DiaForConditionalGeneration, DiaProcessor, DiaTokenizer

        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self._codec = loaded(DacModel, codec_folder).to(device).eval()
        # Not the processor's own loading: it looks for the codec on the hub, or where it was when it was saved.
        processor: Any = DiaProcessor
        self._processor = processor(
            loaded(DiaFeatureExtractor, folder), loaded(DiaTokenizer, folder), audio_tokenizer=self._codec
        )
        self._model = loaded(DiaForConditionalGeneration, folder, dtype=dtype).to(device).eval()
        self._generations = Generations()

    def speak(self, utterance: Utterance) -> Generator[Samples, None, None]:
        """See `SpeechModel.speak`: the first piece comes after 33 steps of 11.6 ms of audio each, later ones are longer."""
        inputs = self._inputs(utterance)
        generate = partial(self._model.generate, **inputs, **self._options(utterance, inputs))
        stream, resampler = DacStream(self._codec, self._model.config.delay_pattern), Resampler(SPEECH_RATE_HZ)
        with closing(self._generations.tokens(generate, utterance.seed)) as steps:
            for row in steps:
                sound = silence(0.0) if row is None else stream.feed(row)
                yield resampler.feed(sound, self._rate_hz) if sound.size else sound
        yield resampler.feed(stream.finish(), self._rate_hz)
        yield resampler.finish()

    @property
    def _rate_hz(self) -> int:
        return int(self._codec.config.sampling_rate)

    def _inputs(self, utterance: Utterance) -> dict[str, Any]:
        """Inputs of `generate`. The prompt's words and the new ones are one turn of one speaker, because Dia expects
        alternating speakers: a second ``[S1]`` after the first would be another speaker's turn."""
        prompt = utterance.prompt
        said = " ".join(filter(None, ("[S1]", prompt.text if prompt else None, utterance.text)))
        sound = {"audio": [self._at_codec_rate(prompt)], "sampling_rate": self._rate_hz} if prompt else {}
        inputs = self._processor(text=[said], text_kwargs={"padding": False}, return_tensors="pt", **sound)
        return dict(inputs.to(self._model.device))

    def _at_codec_rate(self, prompt: VoicePrompt) -> Samples:
        resampler = Resampler(self._rate_hz)
        return np.concatenate((resampler.feed(prompt_samples(prompt), SPEECH_RATE_HZ), resampler.finish()))

    def _options(self, utterance: Utterance, inputs: Mapping[str, Any]) -> dict[str, Any]:
        frame_rate_hz = self._rate_hz / self._codec.config.hop_length
        longest_delay = max(self._model.config.delay_pattern)
        most = ceil(utterance.max_secs * frame_rate_hz) + longest_delay
        left = self._model.config.decoder_config.max_position_embeddings - inputs["decoder_input_ids"].shape[1]
        temperature = utterance.temperature * _TEMPERATURE / DEFAULT_TEMPERATURE
        # The model does not know temperatures below 1.
        return {"max_new_tokens": min(most, left), "do_sample": temperature > 0, "temperature": max(1.0, temperature)}
