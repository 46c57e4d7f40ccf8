"""Diarisation models of a few thousand weights of chance, built and saved as NeMo saves real ones."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

_PREPROCESSOR: dict[str, Any] = {
    "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "sample_rate": 16_000,
    "normalize": "per_feature",
    "window_size": 0.025,
    "window_stride": 0.01,
    "window": "hann",
    "features": 80,
    "n_fft": 512,
    "frame_splicing": 1,
    "dither": 1e-5,
}


def save_sortformer(path: Path, *, streaming: bool = False, seed: int = 0) -> Path:
    """A Sortformer of four speakers with one layer of each kind, 80 ms a frame."""
    width, narrow = 32, 24
    return _saved(
        "SortformerEncLabelModel",
        {
            "sample_rate": 16_000,
            "pil_weight": 0.5,
            "ats_weight": 0.5,
            "max_num_of_spks": 4,
            "streaming_mode": streaming,
            "model_defaults": {"fc_d_model": width, "tf_d_model": narrow},
            "preprocessor": _PREPROCESSOR,
            "sortformer_modules": {
                "_target_": "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
                "num_spks": 4,
                "dropout_rate": 0.0,
                "fc_d_model": width,
                "tf_d_model": narrow,
            },
            "encoder": {
                "_target_": "nemo.collections.asr.modules.ConformerEncoder",
                "feat_in": 80,
                "feat_out": -1,
                "n_layers": 1,
                "d_model": width,
                "subsampling": "dw_striding",
                "subsampling_factor": 8,
                "subsampling_conv_channels": 16,
                "causal_downsampling": False,
                "ff_expansion_factor": 2,
                "self_attention_model": "rel_pos",
                "n_heads": 2,
                "att_context_size": [-1, -1],
                "conv_kernel_size": 9,
                "conv_norm_type": "batch_norm",
                "pos_emb_max_len": 5000,
            },
            "transformer_encoder": {
                "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
                "num_layers": 1,
                "hidden_size": narrow,
                "inner_size": 48,
                "num_attention_heads": 2,
                "hidden_act": "relu",
                "pre_ln": False,
                "pre_ln_final_layer_norm": True,
            },
            "loss": {"_target_": "nemo.collections.asr.losses.bce_loss.BCELoss", "weight": None, "reduction": "mean"},
        },
        path,
        seed,
    )


def save_titanet(path: Path, *, seed: int = 0) -> Path:
    """A speaker-label model of TitaNet's kind (separable convolutions, squeeze and excitation, attentive pooling)."""
    block = {
        "repeat": 1,
        "kernel": [3],
        "stride": [1],
        "dilation": [1],
        "dropout": 0.0,
        "separable": True,
        "se": True,
        "se_context_size": -1,
    }
    return _saved(
        "EncDecSpeakerLabelModel",
        {
            "sample_rate": 16_000,
            "preprocessor": _PREPROCESSOR,
            "encoder": {
                "_target_": "nemo.collections.asr.modules.ConvASREncoder",
                "feat_in": 80,
                "activation": "relu",
                "conv_mask": True,
                "jasper": [{**block, "filters": 32, "residual": False}, {**block, "filters": 48, "residual": True}],
            },
            "decoder": {
                "_target_": "nemo.collections.asr.modules.SpeakerDecoder",
                "feat_in": 48,
                "num_classes": 8,
                "pool_mode": "attention",
                "emb_sizes": 24,
            },
            "loss": {"_target_": "nemo.collections.asr.losses.angularloss.AngularSoftmaxLoss", "scale": 30, "margin": 0.2},
        },
        path,
        seed,
    )


def _saved(kind: str, config: dict[str, Any], path: Path, seed: int) -> Path:
    logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
    import nemo.collections.asr.models as models
    import torch
    from nemo.utils import logging as nemo_logging
    from omegaconf import OmegaConf

    nemo_logging.setLevel(logging.ERROR)
    torch.manual_seed(seed)
    getattr(models, kind)(cfg=OmegaConf.create(config)).save_to(str(path))
    return path
