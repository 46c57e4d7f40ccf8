"""Time to the first audio of CSM with random weights, tiny or of the size of csm-1b.

A frame takes as long with random weights as with trained ones. The audio is meaningless, and a render runs to its limit.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np

from audio.pcm import to_int16
from benchmarks.measure import Measure
from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.speech import VoicePrompt

Shape = Literal["tiny", "1b"]

_SPECIAL: Final = ("<|begin_of_text|>", "<|end_of_text|>", "<|AUDIO|>", "<|audio_eos|>")
_TEMPLATE: Final = (
    "{% for turn in messages %}{{ '<|begin_of_text|>[' + turn['role'] + ']' }}"
    "{% for part in turn['content'] %}{% if part['type'] == 'text' %}{{ part['text'] + '<|end_of_text|>' }}"
    "{% else %}{{ '<|AUDIO|><|audio_eos|>' }}{% endif %}{% endfor %}{% endfor %}"
)
_TINY: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
"""The weights are larger than those of a new model, so that the output depends on the input."""
_TINY_CODEC: Final[dict[str, Any]] = {
    "hidden_size": 32,
    "num_filters": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "codebook_size": 128,
    "codebook_dim": 16,
    "num_quantizers": 4,
    "upsample_groups": 32,
    "vector_quantization_hidden_dimension": 16,
    "sliding_window": 50,
}
_TEXT: Final = "The old man walked slowly along the river in the morning."
_PROMPT_SECS: Final = 5.0
_FRAME_SECS: Final = 0.08
_LOUDNESS: Final = 0.1


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """Timings of one render in the voice of a prompt, after one that warmed the model up."""

    shape: Shape
    device: str
    num_parameters: int
    first_frame_secs: Seconds
    frame_secs: Seconds
    """Mean time of a later frame; each is 80 ms of audio."""
    audio_secs: Seconds
    load_secs: Seconds

    @property
    def rtfx(self) -> float:
        """Seconds of audio rendered in a second."""
        return _FRAME_SECS / self.frame_secs


def first_frame(shape: Shape, device: str, audio_secs: Seconds = 4.0, folder: Path | None = None) -> FirstFrame:
    """Builds a CSM of ``shape``, unless ``folder`` holds one, and renders on ``device`` (``cpu`` or ``cuda``)."""
    from serve.engines.tts.csm import CsmModel
    from serve.engines.tts.generative_synthesizer import Utterance

    if folder is None:
        with TemporaryDirectory(prefix="fluxions-csm-") as made:
            build_csm(Path(made), shape)
            return first_frame(shape, device, audio_secs, Path(made))
    began = time.perf_counter()
    model = CsmModel(folder, device)
    load_secs = time.perf_counter() - began
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(_PROMPT_SECS * SPEECH_RATE_HZ)).astype(np.float32)
    said = Utterance(_TEXT, VoicePrompt(to_int16(noise).tobytes(), _TEXT), 0, 0.9, audio_secs, 0)
    for _ in range(2):
        began = time.perf_counter()
        with closing(model.speak(said)) as pieces:
            arrived = [time.perf_counter() - began for piece in pieces if piece.size]
    frame_secs = (arrived[-1] - arrived[0]) / (len(arrived) - 1)
    return FirstFrame(shape, device, model.num_parameters, arrived[0], frame_secs, _FRAME_SECS * len(arrived), load_secs)


def measure(shape: Shape, device: str) -> list[Measure]:
    """`first_frame` as measures."""
    found = first_frame(shape, device)
    name = f"CSM, {shape} shape on {device}"
    return [
        Measure(f"{name}, first frame of speech, prompt of {_PROMPT_SECS:.0f} s", 1e3 * found.first_frame_secs, "ms"),
        Measure(f"{name}, each later frame of {1e3 * _FRAME_SECS:.0f} ms", 1e3 * found.frame_secs, "ms"),
        Measure(f"{name}, sound made", found.rtfx, "x realtime"),
    ]


def build_csm(folder: Path, shape: Shape, seed: int = 0) -> None:
    """A CSM checkpoint with random weights in ``folder``, in the files that transformers saves.

    Every code it can sample is in its codebooks, so every sample can be decoded.
    """
    import torch
    from transformers import CsmConfig, CsmForConditionalGeneration, CsmProcessor, EncodecFeatureExtractor, MimiConfig

    tokenizer = _tokenizer()
    bos, eos, audio, audio_eos = (tokenizer.convert_tokens_to_ids(token) for token in _SPECIAL)
    tiny = shape == "tiny"
    codec: Any = MimiConfig(**_TINY_CODEC if tiny else {})
    config = _make(
        CsmConfig,
        **_TINY | {"text_vocab_size": len(tokenizer)} if tiny else {},
        codec_config=codec.to_dict(),
        depth_decoder_config={
            **(_TINY | {"backbone_hidden_size": 32, "max_position_embeddings": 5} if tiny else {}),
            "num_codebooks": codec.num_quantizers,
            "vocab_size": codec.codebook_size,
        },
        num_codebooks=codec.num_quantizers,
        vocab_size=codec.codebook_size,
        codebook_pad_token_id=codec.codebook_size - 1,
        bos_token_id=bos,
        pad_token_id=eos,
        audio_token_id=audio,
        audio_eos_token_id=audio_eos,
    )
    torch.manual_seed(seed)
    model = _make(CsmForConditionalGeneration, config)
    _make_audible(model.codec_model)
    model.save_pretrained(folder)
    extractor = EncodecFeatureExtractor(feature_size=1, sampling_rate=SPEECH_RATE_HZ)
    _make(CsmProcessor, extractor, tokenizer, chat_template=_TEMPLATE).save_pretrained(folder)


def _make(kind: Any, *args: Any, **options: Any) -> Any:
    """An untyped call, because transformers types few of its constructors."""
    return kind(*args, **options)


def _tokenizer() -> Any:
    """Bytes and the special tokens of CSM."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL))
    bos, eos, audio, audio_eos = _SPECIAL
    more = {"audio_token": audio, "audio_eos_token": audio_eos}
    return _make(
        PreTrainedTokenizerFast,
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=eos,
        extra_special_tokens=more,
    )


def _make_audible(codec: Any) -> None:
    """Give codebooks and layer scales random values: they start near zero, and the codec's output would be silent."""
    import torch

    with torch.no_grad():
        for name, tensor in [*codec.named_parameters(), *codec.named_buffers()]:
            if name.endswith("embed_sum"):
                tensor.normal_()
            elif "layer_scale" in name:
                tensor.fill_(1.0)
        codes = torch.randint(codec.config.codebook_size, (1, codec.config.num_quantizers, 25))
        last = codec.decoder.decoder_seanet.layers[-1].conv
        gain = _LOUDNESS / codec.decode(codes).audio_values.std()
        last.weight.mul_(gain)
        last.bias.mul_(gain)
