"""Trains the recognisers of the tests on synthesised speech: two NeMo models of under 400,000 weights, on one core.

    make test-models       writes tests/data/models/words_ctc.nemo and words_tdt.nemo

Both know twenty words. The CTC model writes lower case; the transducer, whose encoder starts from the CTC model's, writes
capitals and full stops. A word is only accepted about where the synthesiser says it is (an alignment-restricted loss:
Jay Mahadeokar and others, "Alignment Restricted Streaming Recurrent Neural Network Transducer", SLT 2021,
arXiv:2011.03072), so that the tests can hold the engine's word times against the synthesiser's own.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import jiwer
import numpy as np
import torch
from torch import Tensor

from scripts.tdt_loss import tdt_loss
from scripts.tiny_nemo import DURATIONS, ctc_model, tdt_model, train_tokenizer
from scripts.word_speech import SpokenUtterance, utterances

TARGET: Final = Path(__file__).resolve().parents[1] / "tests" / "data" / "models"
SEED: Final = 20
_FRAME_SECS: Final = 0.08
_BATCH: Final = 24
_RATE: Final = 2e-3
_OFF_PLACE: Final = -8.0
"""Added to the log-probability of a piece in a frame where it is not said: a penalty, so that no path is impossible."""

_NEAR_FRAMES: Final = 0.75
"""How far from its time a piece may be emitted."""


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    steps: int
    pieces: int
    written: Callable[[str], str]
    build: Callable[[Path], Any]


CTC: Final = Recipe("words_ctc", 1_400, 92, lambda word: word.lower().rstrip("."), ctc_model)
TDT: Final = Recipe("words_tdt", 700, 130, lambda word: word, tdt_model)
RENDERS: Final = 1_500


@dataclass(frozen=True, slots=True)
class Batch:
    """``features``: ``(batch, 80, frames)``. ``places`` and ``ends``: ``(batch, labels)``, encoder frames of each piece."""

    features: Tensor
    num_features: Tensor
    labels: Tensor
    num_labels: Tensor
    places: Tensor
    ends: Tensor


def main() -> None:
    torch.set_num_threads(1)
    TARGET.mkdir(parents=True, exist_ok=True)
    spoken = utterances(RENDERS, SEED)
    held_out = utterances(150, SEED + 1)
    encoder = None
    for recipe in (CTC, TDT):
        with tempfile.TemporaryDirectory() as scratch:
            model = train(recipe, spoken, Path(scratch), encoder)
            model.save_to(str(TARGET / f"{recipe.name}.nemo"))
        encoder = model.encoder.state_dict()
        report(recipe, model, held_out)


def train(recipe: Recipe, spoken: Sequence[SpokenUtterance], scratch: Path, encoder: dict[str, Tensor] | None) -> Any:
    """The model of ``recipe``, trained; its encoder starts from ``encoder`` where given."""
    random.seed(SEED)
    torch.manual_seed(SEED)
    texts = [" ".join(map(recipe.written, utterance.words)) for utterance in spoken]
    tokenizer = train_tokenizer(scratch / "tokenizer", [text for text in texts if text], recipe.pieces)
    model = recipe.build(scratch / "tokenizer")
    if encoder is not None:
        model.encoder.load_state_dict(encoder)
    model.preprocessor.featurizer.dither = 0.0
    by_length = sorted(spoken, key=lambda utterance: utterance.samples.size)
    groups = [by_length[i : i + _BATCH] for i in range(0, len(by_length), _BATCH)]
    batches = [collate(model, tokenizer, recipe, group) for group in groups]
    weights = sum(p.numel() for p in model.parameters())
    say(f"{recipe.name}: {weights} weights, {tokenizer.get_piece_size()} pieces")
    fit(model, batches, recipe)
    return model.eval()


def collate(model: Any, tokenizer: Any, recipe: Recipe, group: Sequence[SpokenUtterance]) -> Batch:
    lengths = torch.tensor([u.samples.size for u in group])
    sound = torch.zeros(len(group), int(lengths.max()))
    labels, places, ends = [], [], []
    for row, utterance in enumerate(group):
        sound[row, : utterance.samples.size] = torch.from_numpy(utterance.samples)
        pieces, frames = placed(tokenizer, recipe, utterance)
        labels.append(torch.tensor(pieces, dtype=torch.long))
        places.append(torch.tensor([first for first, _ in frames]))
        ends.append(torch.tensor([last for _, last in frames]))
    with torch.no_grad():
        features, num_features = model.preprocessor(input_signal=sound, length=lengths)
    num_labels = torch.tensor([len(row) for row in labels])
    rows = (torch.nn.utils.rnn.pad_sequence(part, batch_first=True) for part in (labels, places, ends))
    padded_labels, padded_places, padded_ends = rows
    return Batch(features, num_features, padded_labels, num_labels, padded_places, padded_ends)


def placed(tokenizer: Any, recipe: Recipe, utterance: SpokenUtterance) -> tuple[list[int], list[tuple[float, float]]]:
    """Pieces of the utterance and the frames each lasts: a word's pieces share its time, a full stop comes after it."""
    labels: list[int] = []
    frames: list[tuple[float, float]] = []
    for word, span in zip(utterance.words, utterance.spans, strict=True):
        pieces = tokenizer.encode(recipe.written(word))
        stop = tokenizer.id_to_piece(pieces[-1]) == "."
        start, end = span.start_secs / _FRAME_SECS, span.end_secs / _FRAME_SECS
        bounds = np.linspace(start, end, len(pieces) - stop + 1).tolist()
        labels += pieces
        frames += pairwise(bounds)
        frames += [(end + 1, end + 2)] * stop
    return labels, frames


def fit(model: Any, batches: Sequence[Batch], recipe: Recipe) -> None:
    """AdamW with a short warm-up and a cosine from 30 % of the steps on."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=1e-3, betas=(0.9, 0.98))
    loss_of = ctc_loss if recipe is CTC else transducer_loss
    model.train()
    started, losses, order = time.monotonic(), [], list(range(len(batches)))
    for step in range(recipe.steps):
        if step % len(batches) == 0:
            order = random.sample(range(len(batches)), len(batches))
        batch = batches[order[step % len(batches)]]
        done = step / recipe.steps
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1, (step + 1) / 40) * (0.5 * (1 + np.cos(np.pi * done)) if done > 0.3 else 1)
        masked = model.spec_augmentation(input_spec=batch.features, length=batch.num_features)
        encoded, num_frames = model.encoder(audio_signal=masked, length=batch.num_features)
        loss = loss_of(model, encoded, num_frames, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            say(f"{recipe.name} step {step + 1}: loss {np.mean(losses[-100:]):.3f}, {time.monotonic() - started:.0f} s")


def ctc_loss(model: Any, encoded: Tensor, num_frames: Tensor, batch: Batch) -> Tensor:
    log_probs = model.decoder(encoder_output=encoded)
    near = _near(batch.places, log_probs.shape[1])
    allowed = torch.zeros_like(log_probs, dtype=torch.bool)
    # Padding of the labels allows piece 0, which stands for unknown text and is never said.
    index = batch.labels[:, None, :].expand(-1, log_probs.shape[1], -1)
    allowed.scatter_reduce_(2, index, near, "amax")
    allowed[..., -1] = True
    restricted = log_probs + _OFF_PLACE * ~allowed
    losses = torch.nn.functional.ctc_loss(
        restricted.transpose(0, 1),
        batch.labels,
        num_frames,
        batch.num_labels,
        blank=log_probs.shape[-1] - 1,
        reduction="none",
    )
    return (losses / batch.num_labels.clamp(min=1)).mean()


def transducer_loss(model: Any, encoded: Tensor, num_frames: Tensor, batch: Batch) -> Tensor:
    decoded, num_labels, _ = model.decoder(targets=batch.labels, target_length=batch.num_labels)
    logits = model.joint(encoder_outputs=encoded, decoder_outputs=decoded)
    lasting = (batch.ends - batch.places).clamp(max=max(DURATIONS))[..., None]
    right_length = (torch.tensor(DURATIONS) - lasting).abs() <= _NEAR_FRAMES
    bias = _OFF_PLACE * (~_near(batch.places, logits.shape[1])[..., None] + 1.0 * ~right_length[:, None])
    losses = tdt_loss(logits, batch.labels, num_frames, num_labels, DURATIONS, bias, sigma=0.02)
    return (losses / batch.num_labels.clamp(min=1)).mean()


def _near(places: Tensor, num_frames: int) -> Tensor:
    """``(batch, frames, labels) bool``: whether each frame is where each label is said."""
    return (torch.arange(num_frames)[None, :, None] - places[:, None, :]).abs() <= _NEAR_FRAMES


def report(recipe: Recipe, model: Any, held_out: Sequence[SpokenUtterance]) -> None:
    spoken = [utterance for utterance in held_out if utterance.words]
    found = [h.text for h in model.transcribe([u.samples for u in held_out], batch_size=16, verbose=False)]
    wanted = [" ".join(map(recipe.written, u.words)) for u in held_out]
    wrong = sum(a != b for a, b in zip(wanted, found, strict=True))
    heard = [text for text, utterance in zip(found, held_out, strict=True) if utterance.words]
    rate = jiwer.wer([" ".join(map(recipe.written, u.words)) for u in spoken], heard)
    say(f"{recipe.name}: word error rate {rate:.4f}, {wrong} of {len(held_out)} held-out utterances not exact")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
