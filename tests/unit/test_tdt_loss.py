"""The loss of a token-and-duration transducer against the sum over all its paths, followed one by one."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from scripts.tdt_loss import tdt_loss

pytestmark = pytest.mark.unit

VOCABULARY = 3
FRAMES, LABELS = (6, 4, 5, 3), (3, 2, 0, 3)
"""Of each row of the batch: the longest, one shorter both ways, one of blanks only, one with as many labels as frames."""


def made(durations: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and bias of chance, padded to the longest row."""
    random = torch.Generator().manual_seed(seed)
    frames, states = max(FRAMES), max(LABELS) + 1
    logits = torch.randn(len(FRAMES), frames, states, VOCABULARY + 1 + len(durations), generator=random)
    labels = torch.randint(VOCABULARY, (len(FRAMES), states - 1), generator=random)
    bias = torch.randn(len(FRAMES), frames, states - 1, len(durations), generator=random)
    return logits.requires_grad_(), labels, bias


def followed(
    logits: Tensor, labels: Tensor, num_frames: int, num_labels: int, durations: tuple[int, ...], bias: Tensor, sigma: float
) -> Tensor:
    """The loss of one row by the definition: every path from the first frame to the blank that reaches the end."""
    token = (logits[..., : VOCABULARY + 1].log_softmax(-1) - sigma).exp()
    skip = logits[..., VOCABULARY + 1 :].softmax(-1)

    @cache
    def rest(frame: int, emitted: int) -> Tensor:
        """The probability of all that may follow here."""
        found = torch.zeros((), dtype=logits.dtype)
        for index, duration in enumerate(durations):
            there, chance = frame + duration, skip[frame, emitted, index]
            if duration and there < num_frames:
                found = found + token[frame, emitted, VOCABULARY] * chance * rest(there, emitted)
            if duration and (there, emitted) == (num_frames, num_labels):
                found = found + token[frame, emitted, VOCABULARY] * chance
            if emitted < num_labels and there < num_frames:
                label = token[frame, emitted, labels[emitted]] * bias[frame, emitted, index].exp()
                found = found + label * chance * rest(there, emitted + 1)
        return found

    return -rest(0, 0).log()


@pytest.mark.parametrize("durations", [(0, 1), (0, 1, 2, 3, 4), (1, 2), (0, 1, 3)])
@pytest.mark.parametrize("sigma", [0.0, 0.05])
def test_losses_and_gradients_are_those_of_all_paths(durations: tuple[int, ...], sigma: float) -> None:
    logits, labels, bias = made(durations, seed=len(durations))
    least = [LABELS[row] * min(durations) + 1 for row in range(len(FRAMES))]
    rows = [row for row in range(len(FRAMES)) if least[row] <= FRAMES[row]]
    losses = tdt_loss(logits, labels, torch.tensor(FRAMES), torch.tensor(LABELS), durations, bias, sigma)[rows]
    exact = logits.detach().double().requires_grad_()
    expected = torch.stack(
        [followed(exact[r], labels[r], FRAMES[r], LABELS[r], durations, bias[r].double(), sigma) for r in rows]
    )
    torch.testing.assert_close(losses.double(), expected, rtol=1e-5, atol=1e-5)
    losses.sum().backward()
    expected.sum().backward()
    assert logits.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)


def test_padding_of_a_row_does_not_count() -> None:
    durations = (0, 1, 2)
    logits, labels, bias = made(durations, seed=9)
    counts = torch.tensor(FRAMES), torch.tensor(LABELS)
    before = tdt_loss(logits, labels, *counts, durations, bias, sigma=0.0)
    changed, others = logits.detach().clone(), labels.clone()
    for row, (frames, states) in enumerate(zip(FRAMES, LABELS, strict=True)):
        changed[row, frames:] = 7.0
        changed[row, :, states + 1 :] = -7.0
        others[row, states:] = 0
    torch.testing.assert_close(tdt_loss(changed, others, *counts, durations, bias, sigma=0.0), before)


def test_labels_that_do_not_fit_into_the_frames_are_all_but_impossible() -> None:
    logits, labels, bias = made((1, 2), seed=2)
    loss = tdt_loss(logits, labels, torch.tensor(FRAMES), torch.tensor(LABELS), (1, 2), bias, sigma=0.0)
    assert loss[3] > 1e6  # three labels of a frame each, and a blank, in three frames
    assert (loss[:3] < 100).all()
