"""`fluxions bench verify`: how well the check of rendered speech tells good renders from planted defects.

Needs no server. With ``--train`` it first makes the acoustic model and the decision anew, from the synthesiser and the
dictionary alone, and writes them where the installed ones lie.
"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from serve.cli.output import note

if TYPE_CHECKING:
    from serve.tts.verify.decision import Decision
    from serve.tts.verify.measuring import Roc, Trial

TRAIN_RENDERS, TRAIN_SEED = 1_200, 7
_LONGEST_CHECK: Final = 0.99


@dataclass(frozen=True, slots=True)
class Report:
    """``cpu_secs``: mean, and 99th percentile, of a check on one core; ``audio_secs``: mean length of a render."""

    num_renders: int
    rocs: list[Roc]
    false_alarms: dict[str, tuple[int, int]]
    threshold: float
    cpu_secs: tuple[float, float]
    audio_secs: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def rows(self) -> list[list[str]]:
        return [
            [r.defect, str(r.count), f"{r.area:.3f}", f"{r.detected:.2f}", *(f"{share:.2f}" for share in r.detected_at)]
            for r in self.rocs
        ]

    def summary(self) -> list[str]:
        failed, good = (sum(pair[i] for pair in self.false_alarms.values()) for i in (0, 1))
        voices = ", ".join(f"{voice} {bad}/{total}" for voice, (bad, total) in self.false_alarms.items())
        mean, tail = (1000 * secs for secs in self.cpu_secs)
        return [
            f"{self.num_renders} renders of {self.audio_secs:.1f} s on average; a check takes {mean:.0f} ms of one core, "
            f"p99 {tail:.0f} ms",
            f"good renders that fail at the threshold of {self.threshold:.2f}: {failed} of {good} ({voices})",
        ]


def header() -> list[str]:
    from serve.tts.verify.measuring import FALSE_ALARM_RATES

    return ["defect", "renders", "AUC", "caught", *(f"at {rate:.0%}" for rate in FALSE_ALARM_RATES)]


def measure(per_sentence: int, seed: int, *, warped: bool, plot: Path | None) -> Report:
    """On sentences and voices that neither model nor decision has met. Raises EngineFailure."""
    from serve.tts.verify import measuring
    from serve.tts.verify.acoustics import load_model
    from serve.tts.verify.decision import load_decision

    decision = load_decision()
    trials = measuring.run(measuring.held_out_renders(per_sentence, seed, warped=warped), load_model())
    if plot is not None:
        _draw(trials, decision, plot)
    costs = [trial.cpu_secs for trial in trials]
    return Report(
        len(trials),
        measuring.rocs(trials, decision),
        measuring.false_alarms(trials, decision),
        decision.threshold,
        (float(np.mean(costs)), float(np.quantile(costs, _LONGEST_CHECK))),
        float(np.mean([trial.audio_secs for trial in trials])),
    )


def retrain() -> None:
    """Makes ``phones.npz`` and ``decision.json`` anew; two to three minutes on one core. Raises EngineFailure."""
    from serve.tts.verify import acoustics, decision, measuring
    from serve.tts.verify.corpus import DEFECTS, FITTING_VOICES, TRAINING_VOICES
    from serve.tts.verify.training import train

    acoustics.write_model(train(TRAIN_RENDERS, TRAIN_SEED, note), acoustics.MODEL_FILE)
    model = acoustics.read_model(acoustics.MODEL_FILE)
    trials = measuring.run(measuring.fitting_renders(), model)
    made = {
        "by": "fluxions bench verify --train",
        "acoustic_model": {"renders": TRAIN_RENDERS, "seed": TRAIN_SEED, "voices": len(TRAINING_VOICES)},
        "decision": {
            "renders": len(trials),
            "seed": measuring.FIT_SEED,
            "voices": list(FITTING_VOICES),
            "defects": list(DEFECTS),
            "false_alarms": decision.FALSE_ALARMS,
        },
    }
    decision.write_decision(measuring.fitted(trials, made), decision.DECISION_FILE)
    decision.load_decision.cache_clear()
    acoustics.load_model.cache_clear()
    note(f"wrote {acoustics.MODEL_FILE.name} and {decision.DECISION_FILE.name}, fitted on {len(trials)} renders")


def _draw(trials: list[Trial], decision: Decision, path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        note("no plot: matplotlib is not installed")
        return
    from matplotlib.figure import Figure

    from serve.tts.verify import measuring
    from serve.tts.verify.corpus import DEFECTS

    scores, kinds = measuring.probabilities(trials, decision), np.asarray([trial.defect for trial in trials])
    axes = (figure := Figure(figsize=(5, 5))).add_subplot(xlabel="good renders that fail", ylabel="defects caught")
    for defect in DEFECTS:
        axes.plot(*measuring.curve(scores[kinds == "none"], scores[kinds == defect]), label=defect)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
