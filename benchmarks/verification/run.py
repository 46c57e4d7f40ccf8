"""`fluxions bench verify`: how well the check of rendered speech separates good renders from planted faults.

Needs no server. `retrain` fits the decision, and for espeak-ng the phone model, on renders of other voices and sentences
than those measured, and replaces the installed files.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.verification.checks import Engine, check_of
from schemas.settings import Settings

if TYPE_CHECKING:
    from benchmarks.measure import Note
    from benchmarks.verification.evaluation import Roc, Trial
    from schemas.engines import Synthesizer
    from serve.engines.tts.verify.decision import Decision

TRAIN_RENDERS, TRAIN_SEED = 1_200, 7
FIT_SEED: Final = 11
FIT_PER_SENTENCE: Final[dict[Engine, int]] = {"kokoro": 1, "espeak": 4}
_LONGEST_CHECK: Final = 0.99


@dataclass(frozen=True, slots=True)
class Report:
    """``cpu_secs``: mean, and 99th percentile, of a check on one core; ``audio_secs``: mean length of a render."""

    engine: Engine
    language: str
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
    from benchmarks.verification.evaluation import FALSE_ALARM_RATES

    return ["fault", "renders", "AUC", "caught", *(f"at {rate:.0%}" for rate in FALSE_ALARM_RATES)]


def measure(
    settings: Settings, engine: Engine, language: str, per_sentence: int, seed: int, note: Note, *, plot: Path | None
) -> Report:
    """Measure the check on sentences and voices that neither model nor decision was fitted on. Raises EngineFailure,
    Unavailable, and InvalidParameter for a language the engine does not speak."""
    from benchmarks.verification import evaluation
    from benchmarks.verification.speaking import LANGUAGES
    from schemas.errors import InvalidParameter
    from serve.engines.tts.verify.decision import read_decision

    if language not in LANGUAGES[engine]:
        raise InvalidParameter(
            f"--language is {language!r}; {engine} is measured in {', '.join(LANGUAGES[engine])}", param="language"
        )
    check = check_of(engine)
    decision = read_decision(check.decision_file, check.features)
    trials = _trials(settings, engine, language, "measuring", per_sentence, seed, note)
    if plot is not None:
        _draw(trials, decision, plot, note)
    costs = [trial.cpu_secs for trial in trials]
    return Report(
        engine,
        language,
        len(trials),
        evaluation.rocs(trials, decision),
        evaluation.false_alarms(trials, decision),
        decision.threshold,
        (float(np.mean(costs)), float(np.quantile(costs, _LONGEST_CHECK))),
        float(np.mean([trial.audio_secs for trial in trials])),
    )


def retrain(settings: Settings, engine: Engine, note: Note) -> None:
    """Fits the decision, and for espeak-ng first the phone model. Raises EngineFailure, Unavailable."""
    from benchmarks.verification import evaluation
    from benchmarks.verification.planted_renders import DEFECTS
    from benchmarks.verification.speaking import styles
    from serve.engines.tts.verify.decision import write_decision

    made: dict[str, Any] = {"by": f"fluxions bench verify --engine {engine} --train"}
    if engine == "espeak":
        made["acoustic_model"] = _retrain_phone_model(note)
    check = check_of(engine)
    trials = _trials(settings, engine, "en", "fitting", FIT_PER_SENTENCE[engine], FIT_SEED, note)
    made["decision"] = {
        "renders": len(trials),
        "seed": FIT_SEED,
        "voices": [style.voice.voice_id for style in styles(engine, "en", "fitting")],
        "faults": list(DEFECTS),
        "false_alarms": check.false_alarms,
    }
    write_decision(evaluation.fitted(trials, check.directions, check.false_alarms, made), check.decision_file)
    note(f"wrote {check.decision_file.name}, fitted on {len(trials)} renders")


def _retrain_phone_model(note: Note) -> dict[str, Any]:
    """Two to three minutes on one core."""
    from benchmarks.verification.phone_training import train
    from benchmarks.verification.phone_training_speech import VOICES
    from serve.engines.tts.verify import phone_acoustics

    phone_acoustics.write_model(train(TRAIN_RENDERS, TRAIN_SEED, note), phone_acoustics.MODEL_FILE)
    phone_acoustics.load_model.cache_clear()
    note(f"wrote {phone_acoustics.MODEL_FILE.name}")
    return {"renders": TRAIN_RENDERS, "seed": TRAIN_SEED, "voices": len(VOICES)}


def _trials(
    settings: Settings, engine: Engine, language: str, split: Any, per_sentence: int, seed: int, note: Note
) -> list[Trial]:
    from benchmarks.verification import evaluation
    from benchmarks.verification.planted_renders import planted_renders

    check, began = check_of(engine), time.monotonic()
    renders = planted_renders(_synthesizer(settings, engine), engine, language, split, per_sentence, seed)
    trials = evaluation.run(renders, check.build(settings), len(check.features))
    note(f"{len(trials)} renders made and weighed in {time.monotonic() - began:.0f} s")
    return trials


def _synthesizer(settings: Settings, engine: Engine) -> Synthesizer:
    from serve.engines.registry import build_synthesizer

    chosen = settings.engines.model_copy(update={"tts_engine": engine, "tts_model": ""})
    return build_synthesizer(settings.model_copy(update={"engines": chosen}))


def _draw(trials: list[Trial], decision: Decision, path: Path, note: Note) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        note("no plot: matplotlib is not installed")
        return
    from matplotlib.figure import Figure

    from benchmarks.verification import evaluation
    from benchmarks.verification.planted_renders import DEFECTS

    scores, kinds = evaluation.probabilities(trials, decision), np.asarray([trial.defect for trial in trials])
    axes = (figure := Figure(figsize=(5, 5))).add_subplot(xlabel="good renders that fail", ylabel="faults caught")
    for defect in DEFECTS:
        if (kinds == defect).any():
            axes.plot(*evaluation.curve(scores[kinds == "none"], scores[kinds == defect]), label=defect)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
