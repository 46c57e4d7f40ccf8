"""Kokoro-82M (hexgrad, Apache-2.0) through ONNX Runtime: its description, and how it is loaded.

Model: StyleTTS 2 with an ISTFTNet decoder, 82 M parameters, int8 convolutions; 24 kHz mono. Weights are bundled
(`serve.engines.weights_catalog`), voices are package data (`serve.engines.tts.kokoro_styles`).
"""

from __future__ import annotations

import os
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Final

from schemas.engines import EngineChoice, EngineInfo, SynthesizerCapabilities
from schemas.errors import Unavailable
from serve.engines.model_files import cannot_load, engine_revision, resolve
from serve.engines.tts.kokoro_model import KokoroModel
from serve.engines.tts.kokoro_phonemes import ESPEAK_VOICES
from serve.engines.tts.kokoro_styles import STYLES_SHA256, StyleBook
from serve.engines.tts.kokoro_synthesizer import KokoroSynthesizer

_VERSION: Final = 1
"""Raised when a change alters the audio of the same text."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """Kokoro with the configured model, without loading it. Raises Unavailable."""
    capabilities = SynthesizerCapabilities(
        languages=tuple(ESPEAK_VOICES),
        cues=("sigh", "laugh", "gasp", "sniff", "cough", "hesitate", "breath"),
        temperature=False,
        matches_voices=True,
        speed=True,
        whole_passages=True,
    )
    options = {"styles": STYLES_SHA256, "phonemes": version("espeakng-loader"), "version": _VERSION}
    revision = engine_revision("kokoro", version("onnxruntime"), resolve(chosen), options)
    return EngineInfo(chosen.slot, chosen.engine, chosen.model, revision, asdict(capabilities))


def build(chosen: EngineChoice) -> KokoroSynthesizer:
    """Kokoro, loaded: 0.3 GB. Raises Unavailable for weights or styles that are missing or have another digest."""
    files = resolve(chosen)
    threads = chosen.settings.model_threads or os.cpu_count() or 1
    try:
        model = KokoroModel(_model_file(chosen, files.path), threads)
    except ValueError as error:
        raise cannot_load(chosen, str(error), f"name a folder with kokoro-v1.0.int8.onnx in {chosen.variable}") from error
    return KokoroSynthesizer(model, StyleBook(), describe(chosen))


def _model_file(chosen: EngineChoice, folder: Path) -> Path:
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1:
        what = "no .onnx file" if not found else f"{len(found)} .onnx files"
        problem: Unavailable = cannot_load(chosen, f"{folder} holds {what}", f"name a folder with one in {chosen.variable}")
        raise problem
    return found[0]
