"""Random NeMo recognisers of kinds without a trained test model: their output has the form of real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scripts.tiny_nemo import MODULES, WIDTH, joint_network, prediction_network, shape, train_tokenizer

_LINES = [
    "hello seven stop left.",
    "nine two go right. down four world.",
    "zero one three. yes no up.",
    "five six eight go.",
]

_CANARY_SLOTS = {
    "decodercontext": "",
    "emotion": "<|emo:undefined|>",
    "source_lang": "<|en|>",
    "target_lang": "<|en|>",
    "pnc": "<|pnc|>",
    "itn": "<|noitn|>",
    "timestamp": "<|notimestamp|>",
    "diarize": "<|nodiarize|>",
}


def rnnt(folder: Path) -> Path:
    from nemo.collections.asr.models import EncDecRNNTBPEModel

    return _saved(EncDecRNNTBPEModel, _transducer(_tokenizer(folder)), folder)


def hybrid(folder: Path) -> Path:
    from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel

    decoder = {"_target_": MODULES + "ConvASRDecoder", "feat_in": None, "num_classes": -1, "vocabulary": []}
    aux = {"ctc_loss_weight": 0.3, "use_cer": False, "ctc_reduction": "mean_batch", "decoder": decoder}
    config = {**_transducer(_tokenizer(folder)), "aux_ctc": {**aux, "decoding": {"strategy": "greedy_batch"}}}
    return _saved(EncDecHybridRNNTCTCBPEModel, config, folder)


def characters(folder: Path) -> Path:
    from nemo.collections.asr.models import EncDecCTCModel

    labels = [" ", *"abcdefghijklmnopqrstuvwxyz'"]
    decoder = {"_target_": MODULES + "ConvASRDecoder", "feat_in": WIDTH, "num_classes": len(labels), "vocabulary": labels}
    config = {**shape(folder), "labels": labels, "decoder": decoder, "decoding": {"strategy": "greedy"}}
    del config["tokenizer"]
    return _saved(EncDecCTCModel, config, folder)


def canary(folder: Path) -> Path:
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer

    special = ["en", "de", "transcribe", "translate", "pnc", "nopnc", "itn", "noitn", "timestamp", "notimestamp"]
    special += ["diarize", "nodiarize", "startofcontext", "emo:undefined", *map(str, range(40))]
    CanaryTokenizer.build_special_tokenizer(special, folder / "special")
    english = _tokenizer(folder)
    decoder = {"hidden_size": WIDTH, "inner_size": 2 * WIDTH, "num_layers": 1, "num_attention_heads": 2}
    config = {
        **shape(english),
        "restore_timestamps_model": False,
        "prompt_format": "canary2",
        "prompt_defaults": [{"role": "user", "slots": _CANARY_SLOTS}],
        "tokenizer": {
            "type": "agg",
            "langs": {
                "spl_tokens": {"dir": str(folder / "special"), "type": "bpe"},
                "de": {"dir": str(english), "type": "bpe"},
                "en": {"dir": str(english), "type": "bpe"},
            },
            "custom_tokenizer": {
                "_target_": "nemo.collections.common.tokenizers.canary_tokenizer.CanaryTokenizer",
                "tokenizers": None,
            },
        },
        "model_defaults": {"asr_enc_hidden": WIDTH, "lm_enc_hidden": WIDTH, "lm_dec_hidden": WIDTH},
        "transf_decoder": {
            "_target_": MODULES + "transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "encoder": False,
            "pre_ln_final_layer_norm": True,
            "config_dict": {**decoder, "max_sequence_length": 64, "pre_ln": True, "vocab_size": None},
        },
        "head": {
            "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier",
            "num_layers": 1,
            "hidden_size": WIDTH,
            "num_classes": None,
            "activation": "relu",
            "log_softmax": True,
            "use_transformer_init": True,
        },
        "decoding": {"strategy": "greedy", "greedy": {"temperature": 1.0, "n_samples": 1, "max_generation_delta": 20}},
        "loss": {
            "_target_": "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss",
            "label_smoothing": 0.0,
            "pad_id": None,
        },
    }
    return _saved(EncDecMultiTaskModel, config, folder)


KINDS: dict[str, Callable[[Path], Path]] = {"rnnt": rnnt, "hybrid": hybrid, "characters": characters, "canary": canary}


def _tokenizer(folder: Path) -> Path:
    train_tokenizer(folder / "tokenizer", _LINES, 60)
    return folder / "tokenizer"


def _transducer(tokenizer: Path) -> dict[str, Any]:
    return {
        **shape(tokenizer),
        "model_defaults": {"enc_hidden": WIDTH, "pred_hidden": WIDTH, "joint_hidden": WIDTH},
        "decoder": prediction_network(),
        "joint": joint_network(dropout=0.0),
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 3}},
        "loss": {"loss_name": "default"},
    }


def _saved(model_class: Any, config: dict[str, Any], folder: Path) -> Path:
    from omegaconf import OmegaConf

    torch.manual_seed(7)
    model = model_class(cfg=OmegaConf.create(config))
    # Random output layers would give the same label, mostly the blank, for all input.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(("joint.joint_net", "decoder.decoder_layers", "log_softmax.mlp", "encoder.pre_encode")):
                weight *= 8
    file = folder / "model.nemo"
    model.save_to(str(file))
    return file
