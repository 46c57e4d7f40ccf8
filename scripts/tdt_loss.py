"""The loss of a token-and-duration transducer in plain torch, exact and fast enough on a CPU.

Hainan Xu and others, "Efficient Sequence Transduction by Jointly Predicting Tokens and Durations", ICML 2023
(arXiv:2304.06795), equations 4 to 7. At frame ``t`` with ``u`` labels emitted, the model emits a label or a blank and
says how many frames to skip: a label 0 or more, a blank at least 1. NeMo's own implementations of it need CUDA.

Every step goes from the diagonal ``t + u`` to a later one, so all states of a diagonal are computed at once: the loop
runs over ``T + U`` diagonals instead of ``T * U`` states.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_NEVER = -1e30


def tdt_loss(
    logits: Tensor,
    labels: Tensor,
    num_frames: Tensor,
    num_labels: Tensor,
    durations: Sequence[int],
    bias: Tensor,
    sigma: float,
) -> Tensor:
    """``(batch,)`` negative log-likelihoods.

    ``logits``: ``(batch, T, U + 1, V + 1 + D)``, blank at ``V``, then one for each of the ``D`` ``durations``.
    ``labels``: ``(batch, U)``. ``bias``: ``(batch, T, U, D)``, added to the log-probability of label ``u`` at frame ``t``
    with each duration.
    ``sigma`` is taken from every token's log-probability, so that long skips are preferred (section 3.3).
    """
    batch, frames, states, width = logits.shape
    blank = width - len(durations) - 1
    token = logits[..., : blank + 1].log_softmax(-1) - sigma
    skip = logits[..., blank + 1 :].log_softmax(-1)
    wanted = labels[:, None, :, None].expand(batch, frames, states - 1, 1)
    label = token[:, :, :-1].gather(-1, wanted) + skip[:, :, :-1] + bias
    emit = _skewed(torch.nn.functional.pad(label, (0, 0, 0, 1), value=_NEVER))
    rest = _skewed(token[..., blank][..., None] + skip)

    alpha = [torch.full((batch, states), _NEVER)]
    alpha[0][:, 0] = 0.0
    for diagonal in range(1, frames + states):
        arriving = []
        for index, duration in enumerate(durations):
            if 0 < duration <= diagonal:
                before = diagonal - duration
                arriving.append(alpha[before] + rest[before, ..., index])
            if duration + 1 <= diagonal:
                before = diagonal - duration - 1
                moved = alpha[before] + emit[before, ..., index]
                arriving.append(torch.nn.functional.pad(moved[:, :-1], (1, 0), value=_NEVER))
        alpha.append(torch.logsumexp(torch.stack(arriving), 0) if arriving else torch.full((batch, states), _NEVER))
    return torch.stack([_ending(alpha, rest, row, num_frames, num_labels, durations) for row in range(batch)])


def _skewed(values: Tensor) -> Tensor:
    """``(batch, T, U + 1, D)`` as ``(T + U + 1, batch, U + 1, D)``: entry ``[t + u, :, u]``; never where no frame is."""
    batch, frames, states, depth = values.shape
    skewed = values.new_full((frames + states, batch, states, depth), _NEVER)
    for state in range(states):
        skewed[state : state + frames, :, state] = values[:, :, state].transpose(0, 1)
    return skewed


def _ending(
    alpha: list[Tensor], rest: Tensor, row: int, num_frames: Tensor, num_labels: Tensor, durations: Sequence[int]
) -> Tensor:
    """All labels emitted, and a last blank that reaches the end exactly."""
    last, state = int(num_frames[row]), int(num_labels[row])
    ways = [
        alpha[last - duration + state][row, state] + rest[last - duration + state, row, state, index]
        for index, duration in enumerate(durations)
        if 0 < duration <= last
    ]
    return -torch.logsumexp(torch.stack(ways), 0)
