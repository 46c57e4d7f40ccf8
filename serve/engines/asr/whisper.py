"""Whisper on CTranslate2: the embedded recogniser, and with a larger model the production one on CPU and GPU.

Base is bundled; FLUXIONS_ASR_MODEL takes another model of the catalogue, a folder, or a hub name such as
``Systran/faster-whisper-large-v3``. Weights are int8 on a CPU and float16 on a GPU.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from schemas.domain import AS_SPOKEN, SAMPLE_RATE_HZ, Recognition, RecognizeOptions, Seconds
from schemas.engines import EngineChoice, EngineInfo, RecognizerCapabilities, Samples
from serve.engines.asr.language import configured_language, with_language
from serve.engines.asr.whisper_confidence import calibration_of
from serve.engines.asr.whisper_files import WhisperFolder, read_folder
from serve.engines.asr.whisper_listener import OPTIONS, WhisperListener
from serve.engines.asr.whisper_model import WhisperModel, frames_for
from serve.engines.asr.whisper_prompt import check_options
from serve.engines.asr.windows import recognize_in_windows
from serve.engines.model_files import ModelFiles, cannot_load, engine_revision, resolve

WINDOW_SECS: Final = 30.0
_DRIVER: Final = Path("/proc/driver/nvidia/gpus")
_MAX_BATCH: Final = {"cpu": 8, "cuda": 16}
_COMPUTE_TYPES: Final = {"cpu": "int8", "cuda": "float16"}

LATE_SECS: Final = {"whisper-base": -0.043, "whisper-tiny.en": 0.104}
"""Delay of each model's attention after a word's start, s; measured by `benchmarks.quality.tuning.word_times`."""


def describe(chosen: EngineChoice) -> EngineInfo:
    """The model of the folder, without loading it. Raises Unavailable for other folders."""
    files = resolve(chosen)
    return _info(chosen, files, read_folder(chosen, files), _device(chosen))


def build(chosen: EngineChoice) -> WhisperRecognizer:
    """The recogniser, loaded and warm. Raises Unavailable."""
    files = resolve(chosen)
    folder, device = read_folder(chosen, files), _device(chosen)
    listener = WhisperListener(
        load_model(chosen),
        calibration_of(files.name),
        language=configured_language(chosen, folder.languages),
        late_secs=LATE_SECS.get(files.name, 0.0),
    )
    recognizer = WhisperRecognizer(
        listener, folder.languages, _info(chosen, files, folder, device), _workers(chosen, device)
    )
    recognizer.warm_up()
    return recognizer


def load_model(chosen: EngineChoice) -> WhisperModel:
    """The model alone. Raises Unavailable."""
    folder, device = read_folder(chosen, resolve(chosen)), _device(chosen)
    if device == "cuda":
        _check_gpu(chosen)
    return WhisperModel(folder, device, _COMPUTE_TYPES[device], _workers(chosen, device))


class WhisperRecognizer:
    """A `schemas.engines.Recognizer`. Safe to call from several threads; ``workers`` calls run at the same time."""

    def __init__(self, listener: WhisperListener, languages: Sequence[str], info: EngineInfo, workers: int = 1) -> None:
        self._listener, self._languages, self._info = listener, languages, info
        self.workers = workers

    @property
    def info(self) -> EngineInfo:
        return self._info

    def recognize(self, utterances: Sequence[Samples], options: RecognizeOptions = AS_SPOKEN) -> list[Recognition]:
        """One Recognition an utterance, in order, whatever its length.

        Raises EngineFailure for samples that are not finite, InvalidParameter for a language the model lacks, a task it
        cannot do, and hints of over 223 tokens.
        """
        check_options(options, self._languages)
        recognize_batch = partial(self._listener, options=options)
        return recognize_in_windows(utterances, recognize_batch, WINDOW_SECS, self._info.capabilities["max_batch"])

    def check(self, options: RecognizeOptions) -> None:
        """Raises InvalidParameter as `recognize` does."""
        check_options(options, self._languages)
        self._listener.check_prompt(options)

    def batch_key(self, duration_secs: Seconds) -> int:
        """Utterances with equal keys are decoded together; a batch of others takes as long as a batch for each key."""
        return frames_for(duration_secs)

    def warm_up(self) -> None:
        """Recognise a second of noise."""
        noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ, dtype=np.float32)
        self._listener([np.float32(0.1) * noise * np.hanning(noise.size).astype(np.float32)], AS_SPOKEN)

    def close(self) -> None:
        """Nothing to end: the model is freed with its owner."""


def _info(chosen: EngineChoice, files: ModelFiles, folder: WhisperFolder, device: str) -> EngineInfo:
    language = configured_language(chosen, folder.languages)
    capabilities = RecognizerCapabilities(
        languages=folder.languages,
        word_timestamps=True,
        word_confidence=True,
        punctuation=True,
        max_utterance_secs=WINDOW_SECS,
        max_batch=_MAX_BATCH[device],
        detects_language=folder.is_multilingual and language is None,
        takes_language=folder.is_multilingual,
        translates=folder.is_multilingual,
        takes_prompt=True,
    )
    options = with_language({**OPTIONS, "compute_type": _COMPUTE_TYPES[device]}, language)
    revision = engine_revision("whisper", importlib.metadata.version("ctranslate2"), files, options)
    return EngineInfo(chosen.slot, chosen.engine, files.name, revision, asdict(capabilities))


def _workers(chosen: EngineChoice, device: str) -> int:
    """Calls of the model that run at once: on a CPU one a core, which is half as fast again as one call on all cores."""
    return 1 if device == "cuda" else chosen.settings.model_threads or os.cpu_count() or 1


def _device(chosen: EngineChoice) -> str:
    """``cpu`` or ``cuda``, as FLUXIONS_DEVICE says; ``auto`` looks for NVIDIA's driver.

    The revision names the precision, so the answer must be the same in a process without access to the GPU.
    """
    device = chosen.settings.device
    if device != "auto":
        return device
    return "cuda" if _DRIVER.is_dir() and any(_DRIVER.iterdir()) else "cpu"


def _check_gpu(chosen: EngineChoice) -> None:
    """Raises Unavailable where CTranslate2 finds no GPU."""
    import ctranslate2

    if not ctranslate2.get_cuda_device_count():
        raise cannot_load(chosen, "CTranslate2 finds no GPU that it can use", "set FLUXIONS_DEVICE to cpu")
