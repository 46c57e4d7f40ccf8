"""Measure the diariser on a split of the simulated recordings, or write them as files.

    .venv/bin/python -m benchmarks.quality.simulation.measure VOICES SPLIT CACHE
    .venv/bin/python -m benchmarks.quality.simulation.measure VOICES SPLIT CACHE --write FOLDER

VOICES is what `render_voices` made, SPLIT is ``dev`` to choose settings with or ``test`` to measure on. What the encoder
hears is kept in CACHE, so that a change of anything after it is measured in seconds; use another folder after a change of
the simulation, of voice activity or of the windows. Written recordings, each with its ``.rttm``, are for `fluxions bench
quality`, which also scores the speakers of words.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from audio.pcm import to_int16
from audio.raw_pcm import RawFormat, wav_header
from benchmarks.quality.corpus import Spoken
from benchmarks.quality.local_pipeline import LocalPipeline
from benchmarks.quality.scores import SpeakerErrors, speaker_errors, speaker_rate
from benchmarks.quality.simulation.meeting import Meeting
from benchmarks.quality.simulation.recordings import Recipe, made, recipes
from benchmarks.quality.simulation.voice_bank import load_voices
from flows.transcription import stages
from flows.transcription.engine_time import EngineTime
from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, Turn
from schemas.engines import Diarizer, VoiceWindows
from schemas.settings import EngineSettings, Settings
from serve.engines.diarization.embedding_diarizer import EmbeddingDiarizer

SPLITS: Final = ("dev", "test")


@dataclass(frozen=True, slots=True)
class Observed:
    """A recording with the encoder's output, which does not depend on the counting and separation of voices."""

    kind: str
    turns: tuple[Spoken, ...]
    duration_secs: Seconds
    speech: tuple[Span, ...]
    windows: tuple[VoiceWindows, ...]

    @property
    def num_speakers(self) -> int:
        return len({turn.speaker for turn in self.turns})

    def errors(self, turns: Sequence[Turn], collar_secs: Seconds = 0.0) -> SpeakerErrors:
        return speaker_errors(self.turns, turns, self.duration_secs, collar_secs)


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a diariser on an `Observed`."""

    kind: str
    errors: SpeakerErrors
    found: int
    reference: int


def observed(voices: Path, split: str, cache: Path) -> list[Observed]:
    """All recordings of ``split``, heard now or read from ``cache``."""
    cache.mkdir(parents=True, exist_ok=True)
    wanted = [(recipe, cache / f"{split}-{recipe.name}.npz") for recipe in recipes()]
    missing = [(recipe, path) for recipe, path in wanted if not path.exists()]
    if missing:
        bank = load_voices(voices, "dev" if split == "dev" else "test")
        with LocalPipeline(Settings(engines=EngineSettings(device="cpu"))) as pipeline:
            for recipe, path in missing:
                _store(path, _observe(pipeline, recipe.kind, made(recipe, bank)))
    return [_stored(path, recipe) for recipe, path in wanted]


def scored(diarizer: Diarizer, recordings: Iterable[Observed]) -> list[Scored]:
    found = []
    for recording in recordings:
        turns = diarizer.resolve(recording.windows, recording.speech)
        number = len({turn.speaker for turn in turns})
        found.append(Scored(recording.kind, recording.errors(turns), number, recording.num_speakers))
    return found


def table(scores: Sequence[Scored]) -> str:
    """A Markdown table, a row for each kind and one for all."""
    lines = ["| recordings | error rate | missed | false | confused | number exact | counted too many, too few |"]
    lines.append("|---|---|---|---|---|---|---|")
    for kind in [*dict.fromkeys(s.kind for s in scores), None]:
        of = [s for s in scores if kind in (s.kind, None)]
        total = sum(s.errors.total for s in of)
        parts = [sum(getattr(s.errors, name) for s in of) / total for name in ("missed", "false_alarm", "confused")]
        exact, over = sum(s.found == s.reference for s in of), sum(s.found > s.reference for s in of)
        cells = [kind or "all", f"{speaker_rate([s.errors for s in of]):.3f}", *(f"{part:.3f}" for part in parts)]
        lines.append(f"| {' | '.join(cells)} | {exact} of {len(of)} | {over}, {len(of) - exact - over} |")
    return "\n".join(lines)


def _observe(pipeline: LocalPipeline, kind: str, meeting: Meeting) -> Observed:
    async def heard() -> Observed:
        analysis = await pipeline.analyzed(meeting.samples)
        windows = await stages.observe_voices(pipeline.context, analysis, EngineTime())
        return Observed(kind, meeting.turns, meeting.duration_secs, tuple(analysis.speech), tuple(windows))

    return pipeline.run(heard())


def _store(path: Path, one: Observed) -> None:
    np.savez(
        path,
        turns=np.array([(int(t.speaker), t.start_secs, t.end_secs) for t in one.turns]).reshape(-1, 3),
        duration=one.duration_secs,
        speech=np.array([(s.start_secs, s.end_secs) for s in one.speech]).reshape(-1, 2),
        centers=np.concatenate([np.zeros(0), *(w.centers_secs for w in one.windows)]),
        embeddings=np.concatenate([np.zeros((0, 256), np.float32), *(w.embeddings for w in one.windows)]),
        narrow=any(w.narrow for w in one.windows),
    )


def _stored(path: Path, recipe: Recipe) -> Observed:
    with np.load(path) as found:
        return Observed(
            recipe.kind,
            tuple(Spoken(str(int(who)), start, end) for who, start, end in found["turns"].tolist()),
            float(found["duration"]),
            tuple(Span(start, end) for start, end in found["speech"].tolist()),
            (VoiceWindows(found["centers"], found["embeddings"], narrow=bool(found["narrow"])),),
        )


def write(voices: Path, split: str, folder: Path) -> None:
    """Every recording as ``NAME.wav`` with its ``NAME.rttm``."""
    folder.mkdir(parents=True, exist_ok=True)
    bank = load_voices(voices, "dev" if split == "dev" else "test")
    for recipe in recipes():
        meeting = made(recipe, bank)
        pcm = to_int16(meeting.samples).tobytes()
        (folder / f"{recipe.name}.wav").write_bytes(wav_header(RawFormat("s16le", SAMPLE_RATE_HZ), len(pcm)) + pcm)
        lines = (
            f"SPEAKER {recipe.name} 1 {t.start_secs:.3f} {t.end_secs - t.start_secs:.3f} <NA> <NA> {t.speaker} <NA> <NA>\n"
            for t in meeting.turns
        )
        (folder / f"{recipe.name}.rttm").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voices", type=Path)
    parser.add_argument("split", choices=SPLITS)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    if asked.write:
        write(asked.voices, asked.split, asked.write)
    else:
        print(table(scored(EmbeddingDiarizer(), observed(asked.voices, asked.split, asked.cache))))


if __name__ == "__main__":
    main()
