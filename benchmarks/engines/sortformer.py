"""Speed of Sortformer by length of audio, with random weights, of tiny or of the published shape.

Random weights take as long as trained ones; the speakers found are meaningless.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from audio.pcm import to_float
from benchmarks.fixtures import speech
from benchmarks.measure import Measure
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span
from schemas.settings import Settings
from serve.engines.registry import build_diarizer
from serve.engines.self_test import gpu_memory_mib, memory_mib

Shape = Literal["tiny", "published"]

PREPROCESSOR: Final[dict[str, Any]] = {
    "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "sample_rate": SAMPLE_RATE_HZ,
    "normalize": "per_feature",
    "window_size": 0.025,
    "window_stride": 0.01,
    "window": "hann",
    "features": 80,
    "n_fft": 512,
    "frame_splicing": 1,
    "dither": 1e-5,
}
_NUM_SPEAKERS: Final = 4
_SIZES: Final[dict[Shape, dict[str, Any]]] = {
    "tiny": {
        "encoder": {"n_layers": 1, "d_model": 32, "subsampling_conv_channels": 16, "ff_expansion_factor": 2, "n_heads": 2},
        "transformer": {"num_layers": 1, "hidden_size": 24, "inner_size": 48, "num_attention_heads": 2},
    },
    "published": {
        "encoder": {
            "n_layers": 17,
            "d_model": 512,
            "subsampling_conv_channels": 256,
            "ff_expansion_factor": 4,
            "n_heads": 8,
        },
        "transformer": {"num_layers": 18, "hidden_size": 192, "inner_size": 768, "num_attention_heads": 8},
    },
}
"""Tiny for tests; published is that of diar_sortformer_4spk-v1, 117 million parameters (arXiv:2409.06656)."""
_LENGTHS_SECS: Final[tuple[Seconds, ...]] = (30.0, 90.0, 300.0)
"""Two that are processed whole, and one that is streamed in chunks."""


def measure(settings: Settings, shape: Shape) -> list[Measure]:
    """Times real time by length, and memory. Raises Unavailable where NeMo is not installed.

    Runs in a child process, because memory that this process frees meanwhile would falsify the measurement.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure, settings, shape).result()


def _measure(settings: Settings, shape: Shape) -> list[Measure]:
    before = memory_mib()
    with TemporaryDirectory(prefix="fluxions-sortformer-") as folder:
        chosen = {
            "diarizer_engine": "sortformer",
            "diarizer_model": str(build_sortformer(Path(folder, f"{shape}.nemo"), shape)),
        }
        engines = settings.engines.model_copy(update=chosen)
        diarizer = build_diarizer(settings.model_copy(update={"engines": engines}))
    found = []
    for length_secs in _LENGTHS_SECS:
        samples = to_float(speech(length_secs, seed=4))
        began = time.monotonic()
        diarizer.observe(samples, [Span(0.0, length_secs)])
        rtfx = length_secs / (time.monotonic() - began)
        found.append(Measure(f"Sortformer, {shape} shape, {length_secs:.0f} s of sound", rtfx, "x realtime"))
    found.append(Measure("memory, model and work", memory_mib() - before, "MiB"))
    if (gpu := gpu_memory_mib()) is not None:
        found.append(Measure("GPU memory", gpu, "MiB"))
    return found


def build_sortformer(path: Path, shape: Shape, *, streaming: bool = False, seed: int = 0) -> Path:
    """A Sortformer of four speakers as NeMo saves one, 80 ms a frame."""
    size = _SIZES[shape]
    width, narrow = size["encoder"]["d_model"], size["transformer"]["hidden_size"]
    config = {
        "sample_rate": SAMPLE_RATE_HZ,
        "pil_weight": 0.5,
        "ats_weight": 0.5,
        "max_num_of_spks": _NUM_SPEAKERS,
        "streaming_mode": streaming,
        "model_defaults": {"fc_d_model": width, "tf_d_model": narrow},
        "preprocessor": PREPROCESSOR,
        "sortformer_modules": {
            "_target_": "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
            "num_spks": _NUM_SPEAKERS,
            "dropout_rate": 0.0,
            "fc_d_model": width,
            "tf_d_model": narrow,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": 80,
            "feat_out": -1,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "causal_downsampling": False,
            "self_attention_model": "rel_pos",
            "att_context_size": [-1, -1],
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
            "pos_emb_max_len": 5000,
            **size["encoder"],
        },
        "transformer_encoder": {
            "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
            "hidden_act": "relu",
            "pre_ln": False,
            "pre_ln_final_layer_norm": True,
            **size["transformer"],
        },
        "loss": {"_target_": "nemo.collections.asr.losses.bce_loss.BCELoss", "weight": None, "reduction": "mean"},
    }
    return save_nemo("SortformerEncLabelModel", config, path, seed)


def save_nemo(kind: str, config: dict[str, Any], path: Path, seed: int) -> Path:
    """A model of ``kind``, a class of NeMo's ASR models, with random weights."""
    # NeMo's telemetry warns at every import that it is off.
    logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
    import nemo.collections.asr.models as models
    import torch
    from nemo.utils import logging as nemo_logging
    from omegaconf import OmegaConf

    nemo_logging.setLevel(logging.ERROR)
    torch.manual_seed(seed)
    getattr(models, kind)(cfg=OmegaConf.create(config)).save_to(str(path))
    return path
