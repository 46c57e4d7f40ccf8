"""A speaker model of a few thousand random weights, built and saved by NeMo."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines.sortformer import PREPROCESSOR, save_nemo


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
    return save_nemo(
        "EncDecSpeakerLabelModel",
        {
            "sample_rate": 16_000,
            "preprocessor": PREPROCESSOR,
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
