"""The results of `fluxions bench quality` as numbers, as JSON and as a Markdown report with plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.quality import plots
from benchmarks.quality.corpus import Reference
from benchmarks.quality.events import EventCounts
from benchmarks.quality.local_pipeline import LocalResult
from benchmarks.quality.scores import SpeakerErrors, WordErrors, speaker_rate
from schemas.domain import Seconds, Word

COLLAR_SECS: Final = 0.25
_BINS: Final = 5


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording's scores; None where there is no reference for them."""

    reference: Reference
    duration_secs: Seconds
    heard: LocalResult
    words: WordErrors | None
    right: tuple[bool, ...]
    """Whether each recognised word is right; empty without reference words."""
    speakers: SpeakerErrors | None
    speakers_collar: SpeakerErrors | None
    speakers_segments: SpeakerErrors | None
    """Of the transcript's segments, which show one speaker at a time, and nobody where no word is."""
    num_speakers: int | None
    cp_words: WordErrors | None
    pauses: EventCounts | None
    hesitations: EventCounts | None

    @property
    def counted_right(self) -> bool:
        return self.num_speakers == self.heard.num_speakers


@dataclass(frozen=True, slots=True)
class Report:
    engines: str
    recordings: tuple[Recording, ...]
    left_out: tuple[str, ...]
    wer_by_noise: dict[str, float]

    @property
    def word_error_rate(self) -> float | None:
        return _rate([r.words for r in self.recordings if r.words])

    @property
    def cp_word_error_rate(self) -> float | None:
        return _rate([r.cp_words for r in self.recordings if r.cp_words])

    @property
    def diarization_error_rate(self) -> float | None:
        errors = [r.speakers for r in self.recordings if r.speakers]
        return speaker_rate(errors) if errors else None

    @property
    def diarization_error_rate_collar(self) -> float | None:
        errors = [r.speakers_collar for r in self.recordings if r.speakers_collar]
        return speaker_rate(errors) if errors else None

    @property
    def diarization_error_rate_segments(self) -> float | None:
        errors = [r.speakers_segments for r in self.recordings if r.speakers_segments]
        return speaker_rate(errors) if errors else None

    @property
    def counted_right(self) -> float | None:
        known = [r.counted_right for r in self.recordings if r.num_speakers is not None]
        return sum(known) / len(known) if known else None

    def reliability(self) -> list[tuple[float, float, int]]:
        """(mean confidence, share right, number of words), words sorted by confidence and cut into equal parts."""
        scored = sorted((w.confidence, ok) for w, ok in self._scored_words())
        size = max(1, -(-len(scored) // _BINS))
        parts = [scored[i : i + size] for i in range(0, len(scored), size)]
        return [(sum(c for c, _ in p) / len(p), sum(ok for _, ok in p) / len(p), len(p)) for p in parts]

    @property
    def calibration_error(self) -> float | None:
        """Mean distance of confidence from the share of right words, weighted by words; None without words."""
        bins = self.reliability()
        return sum(abs(c - right) * n for c, right, n in bins) / sum(n for *_, n in bins) if bins else None

    def _scored_words(self) -> list[tuple[Word, bool]]:
        return [pair for r in self.recordings for pair in zip(r.heard.words, r.right, strict=False)]

    def summary(self) -> dict[str, float | None]:
        return {
            "word error rate": self.word_error_rate,
            "diarization error rate, collar 0": self.diarization_error_rate,
            f"diarization error rate, collar ±{COLLAR_SECS} s": self.diarization_error_rate_collar,
            "diarization error rate of the transcript's segments, collar 0": self.diarization_error_rate_segments,
            "mean of the recordings' diarization error rates, collar 0": _mean(
                [r.speakers.rate for r in self.recordings if r.speakers]
            ),
            "share of recordings with the number of speakers right": self.counted_right,
            "cpWER": self.cp_word_error_rate,
            "expected calibration error of word confidence": self.calibration_error,
            **_shares("pause", [r.pauses for r in self.recordings if r.pauses]),
            **_shares("hesitation", [r.hesitations for r in self.recordings if r.hesitations]),
        }

    def rows(self) -> list[list[str]]:
        return [
            [
                r.reference.name,
                f"{r.duration_secs:.1f}",
                _shown(r.words),
                _shown(r.speakers),
                _shown(r.speakers_collar),
                _shown(r.speakers_segments),
                "" if r.num_speakers is None else f"{r.heard.num_speakers} of {r.num_speakers}",
                _shown(r.cp_words),
            ]
            for r in self.recordings
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "engines": self.engines,
            "summary": self.summary(),
            "recordings": [dict(zip(COLUMNS, row, strict=True)) for row in self.rows()],
            "left_out": list(self.left_out),
            "word_error_rate_by_noise": self.wer_by_noise,
        }

    def write(self, path: Path) -> None:
        """The Markdown report at ``path``, its pictures beside it as ``NAME-timeline.png`` and so on."""
        lines = ["# What the engines hear", "", f"Engines: {self.engines}.", "", "| measure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.3f} |" for name, value in self.summary().items() if value is not None]
        if self.left_out:
            lines += ["", f"Left out by the caller: {', '.join(self.left_out)}."]
        lines += ["", _line(COLUMNS), _line(["---"] * len(COLUMNS)), *(_line(row) for row in self.rows())]
        for title, name, draw in self._pictures():
            picture = path.with_name(f"{path.stem}-{name}.png")
            draw(picture)
            lines += ["", f"![{title}]({picture.name})"]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _pictures(self) -> list[tuple[str, str, Callable[[Path], None]]]:
        drawn: list[tuple[str, str, Callable[[Path], None]]] = []
        talks = [
            (r.reference.name, r.duration_secs, r.reference.turns, r.heard.turns)
            for r in self.recordings
            if r.reference.turns
        ]
        if talks:
            drawn.append(
                ("Speakers: reference in grey, below it what was found", "timeline", lambda p: plots.timelines(p, talks))
            )
        error = self.calibration_error
        if error is not None:
            bins = self.reliability()
            drawn.append(("Reliability of word confidence", "reliability", lambda p: plots.reliability(p, bins, error)))
        if self.wer_by_noise:
            drawn.append(("Word errors by signal-to-noise", "noise", lambda p: plots.errors_by_noise(p, self.wer_by_noise)))
        return drawn


COLUMNS: Final = ("recording", "s", "WER", "DER", f"DER ±{COLLAR_SECS}", "DER segments", "speakers", "cpWER")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(errors: WordErrors | SpeakerErrors | None) -> str:
    return "" if errors is None else f"{errors.rate:.2f}"


def _shares(tag: str, counts: Sequence[EventCounts]) -> dict[str, float | None]:
    """Precision and recall of ``[tag]`` over all recordings with references for it."""
    every = sum(counts, EventCounts(0, 0, 0))
    return {
        f"[{tag}] precision, of {every.found} found": every.precision,
        f"[{tag}] recall, of {every.reference} in the references": every.recall,
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rate(errors: Sequence[WordErrors]) -> float | None:
    return sum(e.wrong for e in errors) / max(1, sum(e.reference for e in errors)) if errors else None
