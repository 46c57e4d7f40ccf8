"""The smallest FastConformer recognisers NeMo builds that still learn: CTC and token-and-duration transducer.

The shape is that of Parakeet (80 mels, depthwise subsampling by 8, relative positions) with three layers of 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

DURATIONS: Final = (0, 1, 2, 3, 4)
WIDTH: Final = 64
MODULES: Final = "nemo.collections.asr.modules."


def train_tokenizer(folder: Path, lines: Sequence[str], size: int) -> Any:
    """A sentencepiece BPE of at most ``size`` pieces, a full stop always one of its own, as NeMo wants its folder."""
    import sentencepiece

    folder.mkdir(parents=True)
    text = folder / "text.txt"
    text.write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=size,
        model_type="bpe",
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        unk_id=0,
        user_defined_symbols=["."] if any("." in line for line in lines) else [],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    (folder / "vocab.txt").write_text("\n".join(processor.id_to_piece(i) for i in range(processor.get_piece_size())))
    return processor


def ctc_model(tokenizer: Path) -> Any:
    from nemo.collections.asr.models import EncDecCTCModelBPE
    from omegaconf import OmegaConf

    decoder = {"_target_": MODULES + "ConvASRDecoder", "feat_in": None, "num_classes": -1, "vocabulary": []}
    return EncDecCTCModelBPE(
        cfg=OmegaConf.create({**shape(tokenizer), "decoder": decoder, "decoding": {"strategy": "greedy_batch"}})
    )


def tdt_model(tokenizer: Path) -> Any:
    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    durations = list(DURATIONS)
    config = {
        **shape(tokenizer),
        "model_defaults": {
            "enc_hidden": WIDTH,
            "pred_hidden": WIDTH,
            "joint_hidden": WIDTH,
            "tdt_durations": durations,
            "num_tdt_durations": len(durations),
        },
        "decoder": prediction_network(),
        "joint": {**joint_network(dropout=0.1), "num_extra_outputs": len(durations)},
        "decoding": {
            "strategy": "greedy_batch",
            "model_type": "tdt",
            "durations": durations,
            "greedy": {"max_symbols": 10},
        },
        "loss": {
            "loss_name": "tdt",
            "tdt_kwargs": {"durations": durations, "sigma": 0.02, "omega": 0.1, "fastemit_lambda": 0.0, "clamp": -1.0},
        },
    }
    return EncDecRNNTBPEModel(cfg=OmegaConf.create(config))


def prediction_network() -> dict[str, Any]:
    """The decoder of a transducer."""
    return {
        "_target_": MODULES + "RNNTDecoder",
        "normalization_mode": None,
        "random_state_sampling": False,
        "blank_as_pad": True,
        "prednet": {"pred_hidden": WIDTH, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.0},
    }


def joint_network(dropout: float) -> dict[str, Any]:
    """The joint network of a transducer."""
    return {
        "_target_": MODULES + "RNNTJoint",
        "log_softmax": None,
        "preserve_memory": False,
        "fuse_loss_wer": False,
        "fused_batch_size": 4,
        "jointnet": {"joint_hidden": WIDTH, "activation": "relu", "dropout": dropout},
    }


def shape(tokenizer: Path) -> dict[str, Any]:
    """What every model here has: features, encoder, augmentation, and the tokenizer in that folder."""
    return {
        "sample_rate": 16_000,
        "log_prediction": False,
        "ctc_reduction": "mean_volume",
        "skip_nan_grad": False,
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": {
            "_target_": MODULES + "AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16_000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": 80,
            "n_fft": 512,
            "frame_splicing": 1,
            "dither": 1e-5,
            "pad_to": 0,
        },
        "spec_augment": {
            "_target_": MODULES + "SpectrogramAugmentation",
            "freq_masks": 1,
            "time_masks": 2,
            "freq_width": 15,
            "time_width": 0.05,
        },
        "encoder": {
            "_target_": MODULES + "ConformerEncoder",
            "feat_in": 80,
            "feat_out": -1,
            "n_layers": 3,
            "d_model": WIDTH,
            "use_bias": True,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 32,
            "causal_downsampling": False,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": 4,
            "att_context_size": [-1, -1],
            "xscaling": False,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
            "dropout": 0.05,
            "dropout_pre_encoder": 0.05,
            "dropout_emb": 0.0,
            "dropout_att": 0.05,
        },
        "optim": {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.98], "weight_decay": 1e-3},
    }
