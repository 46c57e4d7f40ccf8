"""Plots of a quality report, by matplotlib, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.quality.corpus import Spoken
from schemas.domain import Seconds, Turn

_DPI: Final = 110
_BAR: Final = 0.8


def _figure(width: float, height: float) -> Any:
    # The object-oriented interface needs no display and keeps no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def timelines(
    path: Path, recordings: Sequence[tuple[str, Seconds, Sequence[Spoken], Sequence[Turn]]], *, per_row: int = 3
) -> None:
    """Each recording's reference (above) and turns (below) on one time axis; colours mean nothing across recordings."""
    rows = -(-len(recordings) // per_row)
    figure = _figure(4.2 * per_row, 1.9 * rows)
    axes = figure.subplots(rows, per_row, squeeze=False)
    for axis in axes.flat[len(recordings) :]:
        axis.set_visible(False)
    for axis, (name, duration_secs, reference, turns) in zip(axes.flat, recordings, strict=False):
        truth = sorted({said.speaker for said in reference})
        guess = sorted({turn.speaker for turn in turns})
        lanes = [f"ref {speaker}" for speaker in truth] + [f"SPEAKER_{speaker}" for speaker in guess]
        for said in reference:
            lane = truth.index(said.speaker)
            axis.barh(lane, said.end_secs - said.start_secs, _BAR, said.start_secs, color="0.45")
        for turn in turns:
            lane = len(truth) + guess.index(turn.speaker)
            axis.barh(lane, turn.end_secs - turn.start_secs, _BAR, turn.start_secs, color=f"C{turn.speaker % 10}")
        axis.set(title=name, xlim=(0, duration_secs), yticks=range(len(lanes)), ylim=(len(lanes) - 0.5, -0.5))
        axis.set_yticklabels(lanes, fontsize=6)
        axis.tick_params(axis="x", labelsize=7)
        axis.title.set_fontsize(8)
    figure.supxlabel("seconds", fontsize=8)
    figure.savefig(path, dpi=_DPI)


def reliability(path: Path, bins: Sequence[tuple[float, float, int]], error: float) -> None:
    """``bins``: mean confidence, share of right words and number of words, each; ``error`` is the mean distance."""
    figure = _figure(4.2, 4.0)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axis.plot([b[0] for b in bins], [b[1] for b in bins], color="C0", linewidth=1)
    axis.scatter([b[0] for b in bins], [b[1] for b in bins], s=[12 + 2 * b[2] for b in bins], color="C0", alpha=0.7)
    for confidence, right, count in bins:
        axis.annotate(str(count), (confidence, right), textcoords="offset points", xytext=(6, -9), fontsize=7)
    axis.set(
        xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="share of words that are right",
        title=f"Word confidence (expected calibration error {error:.2f})",
    )  # fmt: skip
    axis.title.set_fontsize(9)
    figure.savefig(path, dpi=_DPI)


def errors_by_noise(path: Path, rates: Mapping[str, float]) -> None:
    """Word error rate by condition, in the order given: clean first, then falling signal-to-noise."""
    figure = _figure(4.6, 3.2)
    axis = figure.subplots()
    axis.plot(range(len(rates)), list(rates.values()), marker="o", color="C3")
    for place, rate in enumerate(rates.values()):
        axis.annotate(f"{rate:.2f}", (place, rate), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8)
    axis.set_xticks(range(len(rates)), list(rates))
    axis.set(ylim=(0, max(1.0, *rates.values()) * 1.1), xlabel="white noise under the recording", ylabel="word error rate")
    figure.savefig(path, dpi=_DPI)
