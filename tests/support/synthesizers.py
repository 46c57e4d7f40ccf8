"""Minimal checkpoints of synthesisers with random weights, saved like real ones."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from audio.pcm import to_int16
from benchmarks.engines.csm import build_csm
from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import EngineChoice, Samples
from schemas.settings import EngineSettings
from schemas.speech import VoicePrompt

_LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}
_CROSS: dict[str, Any] = {
    "cross_num_attention_heads": 2,
    "cross_head_dim": 16,
    "cross_num_key_value_heads": 2,
    "cross_hidden_size": 32,
    "vocab_size": 1028,
    "num_channels": 9,
}


@cache
def tiny_csm() -> Path:
    """A CSM of 230,000 weights, 4 codebooks of 128 codes, and real ones' frames of 80 ms."""
    _settle()
    folder = _folder("csm")
    build_csm(folder, "tiny")
    return folder


@cache
def tiny_dia() -> Path:
    """A Dia of 400,000 weights with the real one's delays and guidance, and its codec beside it in the folder."""
    import torch
    from transformers import (
        DacConfig,
        DacModel,
        DiaConfig,
        DiaFeatureExtractor,
        DiaForConditionalGeneration,
        DiaProcessor,
        DiaTokenizer,
    )

    _settle()
    folder = _folder("dia")
    torch.manual_seed(0)
    codec: Any = DacModel(DacConfig(encoder_hidden_size=8, decoder_hidden_size=64, sampling_rate=44_100))
    # DAC's initial kernels are so small that its output would be silence.
    for weights in codec.decoder.parameters():
        if weights.ndim == 3:
            torch.nn.init.normal_(weights, std=(weights.shape[1] * weights.shape[2]) ** -0.5)
    codec.save_pretrained(folder / "audio_tokenizer")
    processor: Any = DiaProcessor
    extractor = DiaFeatureExtractor(feature_size=1, sampling_rate=44_100, hop_length=512)
    processor(extractor, DiaTokenizer(), codec).save_pretrained(folder)
    model: Any = DiaForConditionalGeneration(
        DiaConfig(encoder_config={**_LAYERS, "vocab_size": 256}, decoder_config={**_LAYERS, **_CROSS})
    )
    options = {"pad_token_id": 1025, "eos_token_id": 1024, "bos_token_id": 1026, "decoder_start_token_id": 1026}
    sampling = {"guidance_scale": 3.0, "temperature": 1.8, "top_k": 45, "top_p": 0.95, "do_sample": True}
    model.generation_config.update(**options, **sampling, max_length=3072, _from_model_config=False)
    model.save_pretrained(folder)
    return folder


def chosen(engine: str, model: Path | str) -> EngineChoice:
    settings = EngineSettings(tts_engine=engine, tts_model=str(model), device="cpu")
    return EngineChoice("synthesizer", engine, str(model), settings, "FLUXIONS_TTS_MODEL", _folder("cache"))


def prompt(secs: float = 1.0, text: str = "He was not an ill disposed young man.") -> VoicePrompt:
    """A voice prompt: a tone with overtones, at 24 kHz."""
    return VoicePrompt(to_int16(tone(secs)).tobytes(), text)


def tone(secs: float) -> Samples:
    """``(num_samples,) float32`` at 24 kHz."""
    times = np.arange(round(secs * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    sound = sum(np.sin(2 * np.pi * 120 * k * times) / k for k in range(1, 9))
    return np.asarray(0.1 * sound, np.float32)


def _folder(name: str) -> Path:
    folder = mkdtemp(prefix=f"fluxions-tests-{name}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _settle() -> None:
    """Run small models on one thread, which is faster than two."""
    import torch

    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
