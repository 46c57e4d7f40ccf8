"""Small recognisers: the trained NeMo models converted to transformers checkpoints, and random ones."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer, decoders, models

MODELS = Path(__file__).parents[1] / "data" / "models"
CTC = MODELS / "words_ctc.nemo"
TDT = MODELS / "words_tdt.nemo"

_RENAMED = (
    (r"^encoder\.pre_encode\.conv\.", "encoder.subsampling.layers."),
    (r"^encoder\.pre_encode\.out\.", "encoder.subsampling.linear."),
    (r"\.conv\.batch_norm\.", ".conv.norm."),
    (r"^decoder\.decoder_layers\.0\.", "ctc_head."),
    (r"\.linear_([qkv])\.", r".\1_proj."),
    (r"\.linear_out\.", ".o_proj."),
    (r"\.linear_pos\.", ".relative_k_proj."),
    (r"\.pos_bias_([uv])$", r".bias_\1"),
    (r"^decoder\.prediction\.embed\.", "decoder.embedding."),
    (r"^decoder\.prediction\.dec_rnn\.lstm\.", "decoder.lstm."),
    (r"^joint\.pred\.", "decoder.decoder_projector."),
    (r"^joint\.enc\.", "encoder_projector."),
    (r"^joint\.joint_net\.2\.", "joint.head."),
)


def parakeet(nemo_file: Path, folder: Path) -> Path:
    """The FastConformer of ``nemo_file`` as a Parakeet checkpoint in ``folder``, CTC or TDT as the file is."""
    from transformers import ParakeetFeatureExtractor, ParakeetForCTC, ParakeetForTDT, ParakeetTokenizer
    from transformers.models.parakeet import ParakeetCTCConfig, ParakeetTDTConfig

    config, weights, pieces = _unpacked(nemo_file)
    blank = len(pieces)
    if "joint" in config:
        model: Any = ParakeetForTDT(
            ParakeetTDTConfig(
                vocab_size=blank + 1,
                decoder_hidden_size=config["model_defaults"]["pred_hidden"],
                num_decoder_layers=1,
                durations=config["model_defaults"]["tdt_durations"],
                blank_token_id=blank,
                pad_token_id=0,
                encoder_config=_encoder(config),
            )
        )
    else:
        ctc = ParakeetCTCConfig(vocab_size=blank + 1, pad_token_id=blank, encoder_config=_encoder(config))
        model = ParakeetForCTC(ctc)
    renamed = {_name(name): value for name, value in weights.items() if not name.startswith("preprocessor.")}
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not [name for name in missing if "inv_freq" not in name], missing
    assert not unexpected
    model.save_pretrained(folder)
    vocabulary = {piece: id_ for id_, piece in enumerate([*pieces, "<blank>"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.decoder = decoders.Metaspace()
    ParakeetTokenizer(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<blank>").save_pretrained(folder)
    ParakeetFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder


def whisper(folder: Path) -> Path:
    """A random Whisper of two layers for two languages."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    special += [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
    text = ["Ġ", *"abcdefghijklmnopqrstuvwxyz.,", *("Ġhello", "Ġworld", "Ġseven", "ĠStop", "Ġgo", "ing", "Ġleft", "Ġup")]
    ids = {piece: id_ for id_, piece in enumerate([*text, *special])}
    tokenizer = WhisperTokenizer(
        vocab={piece: ids[piece] for piece in text}, merges=[], additional_special_tokens=special[1:]
    )
    assert tokenizer.convert_tokens_to_ids("<|notimestamps|>") == ids["<|notimestamps|>"]
    torch.manual_seed(3)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(ids),
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_target_positions=64,
            init_std=0.4,
            pad_token_id=ids["<|endoftext|>"],
            bos_token_id=ids["<|endoftext|>"],
            eos_token_id=ids["<|endoftext|>"],
            decoder_start_token_id=ids["<|startoftranscript|>"],
        )
    )
    with torch.no_grad():
        # Random weights would often give a high probability of no speech.
        model.get_output_embeddings().weight[ids["<|nospeech|>"]] = 0
    settings = model.generation_config
    settings.lang_to_id = {"<|en|>": ids["<|en|>"], "<|de|>": ids["<|de|>"]}
    settings.task_to_id = {"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]}
    settings.no_timestamps_token_id = ids["<|notimestamps|>"]
    settings.is_multilingual = True
    settings.alignment_heads = [[1, 0], [1, 1]]
    settings.suppress_tokens = []
    settings.begin_suppress_tokens = [ids["<|endoftext|>"]]
    # Settings derived from the configuration would be derived again on loading.
    settings._from_model_config = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def moonshine(folder: Path) -> Path:
    """A random Moonshine of two layers."""
    from transformers import (
        MoonshineConfig,
        MoonshineForConditionalGeneration,
        PreTrainedTokenizerFast,
        Wav2Vec2FeatureExtractor,
    )

    text = ["<unk>", "<s>", "</s>", "▁hello", "▁world", "▁seven", "▁stop", "ping", "▁Go", ".", "ing", "▁"]
    tokenizer = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(text)}, merges=[], unk_token="<unk>"))
    tokenizer.decoder = decoders.Metaspace()
    torch.manual_seed(5)
    model = MoonshineForConditionalGeneration(
        MoonshineConfig(
            vocab_size=len(text),
            hidden_size=32,
            intermediate_size=64,
            encoder_num_hidden_layers=2,
            decoder_num_hidden_layers=2,
            encoder_num_attention_heads=2,
            decoder_num_attention_heads=2,
            initializer_range=0.4,
        )
    )
    with torch.no_grad():
        # Random weights would often end the text at once.
        model.get_output_embeddings().weight[text.index("</s>")] = 0
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    ).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)
    return folder


def _unpacked(nemo_file: Path) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Configuration, weights and pieces of a ``.nemo`` file."""
    found: dict[str, bytes] = {}
    with tarfile.open(nemo_file) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                found[member.name.rpartition("/")[2]] = stream.read()
    (pieces,) = [raw.decode().splitlines() for name, raw in found.items() if name.endswith("vocab.txt")]
    weights = torch.load(io.BytesIO(found["model_weights.ckpt"]), weights_only=True)
    return yaml.safe_load(found["model_config.yaml"]), weights, pieces


def _encoder(config: dict[str, Any]) -> dict[str, Any]:
    encoder = config["encoder"]
    return {
        "hidden_size": encoder["d_model"],
        "num_hidden_layers": encoder["n_layers"],
        "num_attention_heads": encoder["n_heads"],
        "intermediate_size": encoder["d_model"] * encoder["ff_expansion_factor"],
        "conv_kernel_size": encoder["conv_kernel_size"],
        "subsampling_conv_channels": encoder["subsampling_conv_channels"],
        "num_mel_bins": encoder["feat_in"],
        "scale_input": encoder["xscaling"],
    }


def _name(name: str) -> str:
    for old, new in _RENAMED:
        name = re.sub(old, new, name)
    return name
