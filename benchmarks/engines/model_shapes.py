"""Recognisers of production shape with random weights: FastConformer with a token-and-duration transducer, as Parakeet.

Random weights take as long as trained ones. Two biases give the decoder a trained one's pace, about six steps for a second
of audio: blank always wins, and each blank lasts two frames. No words come out, so assembling words is not measured.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Shape = Literal["small", "0.6b"]

_MODULES: Final = "nemo.collections.asr.modules."
_DURATIONS: Final = (0, 1, 2, 3, 4)
_BLANK_FRAMES: Final = 2


@dataclass(frozen=True, slots=True)
class _Size:
    features: int
    layers: int
    width: int
    heads: int
    channels: int
    predictor: int
    vocabulary: int


_SIZES: Final[dict[Shape, _Size]] = {
    "small": _Size(features=80, layers=16, width=176, heads=4, channels=176, predictor=320, vocabulary=1024),
    "0.6b": _Size(features=128, layers=24, width=1024, heads=8, channels=256, predictor=640, vocabulary=8192),
}
"""FastConformer small (14 million parameters) and parakeet-tdt-0.6b-v3."""


def build_tdt(folder: Path, shape: Shape) -> Path:
    """A ``.nemo`` file of ``shape`` in ``folder``. Takes as much memory as its weights twice: 5 GB for 0.6b."""
    import torch
    from nemo.collections.asr.models import EncDecRNNTBPEModel
    from omegaconf import OmegaConf

    size = _SIZES[shape]
    tokenizer = folder / "tokenizer"
    _write_tokenizer(tokenizer, size.vocabulary)
    torch.manual_seed(0)
    model = EncDecRNNTBPEModel(cfg=OmegaConf.create(_config(size, tokenizer)))
    last = model.joint.joint_net[-1]
    with torch.no_grad():
        last.bias[-len(_DURATIONS) - 1] = 100.0
        last.bias[-len(_DURATIONS) + _DURATIONS.index(_BLANK_FRAMES)] = 100.0
    file = folder / f"{shape}.nemo"
    model.save_to(str(file))
    return file


def _write_tokenizer(folder: Path, size: int) -> None:
    """A sentencepiece model of ``size`` pieces, each an invented word, in the form that NeMo needs."""
    import sentencepiece

    folder.mkdir(parents=True)
    words = ("".join(letters) for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=3))
    pieces = [f"▁{word}" for word in itertools.islice(words, size)]
    text = folder / "text.txt"
    text.write_text("abc\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=size,
        model_type="bpe",
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        unk_id=0,
        user_defined_symbols=pieces[: size - 5],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    names = (processor.id_to_piece(number) for number in range(processor.get_piece_size()))
    (folder / "vocab.txt").write_text("\n".join(names))


def _config(size: _Size, tokenizer: Path) -> dict[str, Any]:
    durations = list(_DURATIONS)
    return {
        "sample_rate": 16_000,
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": {
            "_target_": _MODULES + "AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16_000,
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": size.features,
            "n_fft": 512,
        },
        "encoder": {
            "_target_": _MODULES + "ConformerEncoder",
            "feat_in": size.features,
            "feat_out": -1,
            "n_layers": size.layers,
            "d_model": size.width,
            "use_bias": False,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": size.channels,
            "causal_downsampling": False,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": size.heads,
            "att_context_size": [-1, -1],
            "xscaling": False,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
        },
        "model_defaults": {
            "enc_hidden": size.width,
            "pred_hidden": size.predictor,
            "joint_hidden": size.predictor,
            "tdt_durations": durations,
            "num_tdt_durations": len(durations),
        },
        "decoder": {
            "_target_": _MODULES + "RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": size.predictor, "pred_rnn_layers": 2, "t_max": None, "dropout": 0.0},
        },
        "joint": {
            "_target_": _MODULES + "RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "fused_batch_size": 4,
            "num_extra_outputs": len(durations),
            "jointnet": {"joint_hidden": size.predictor, "activation": "relu", "dropout": 0.0},
        },
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
