"""Compare how many windows the diariser embeds in long blocks, and what that costs in accuracy.

    .venv/bin/python -m benchmarks.quality.tuning.skipped_windows CACHE --voices VOICES --split dev
    .venv/bin/python -m benchmarks.quality.tuning.skipped_windows CACHE --folder ../shared/audio/meetings

Settings are chosen on the split ``dev`` of `benchmarks.quality.simulation` and confirmed on ``test`` and on recordings of a
folder with references. Every recording is treated like a long block, whatever its length. Each window is embedded once and
kept in CACHE. Speech is found by voice activity alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.corpus import Spoken, read_corpus
from benchmarks.quality.local_pipeline import LocalPipeline, decode_all
from benchmarks.quality.scores import SpeakerErrors, speaker_errors, speaker_rate
from benchmarks.quality.simulation.recordings import made, recipes
from benchmarks.quality.simulation.voice_bank import load_voices
from flows.transcription.spans import block_spans, clip_spans
from flows.transcription.stages import speech_to_observe
from schemas.domain import Span
from schemas.engines import Samples, VoiceWindows
from schemas.settings import EngineSettings, Settings
from serve.engines.asr.deployment import samples_from_pcm
from serve.engines.diarization.embedding_diarizer import EmbeddingDiarizer
from serve.engines.diarization.overlap_probe import OverlapProbe
from serve.engines.diarization.speaker_counting import Embeddings
from serve.engines.diarization.window_choice import Choose, Embed, Indices, embedded
from serve.engines.diarization.window_turns import turns_of_windows

SETTINGS: Final = (
    (1, -1.0),
    (2, -1.0),
    (3, -1.0),
    *((4, alike) for alike in (-1.0, 0.6, 0.65, 0.7, 0.75, 0.8)),
    (6, 0.75),
    (6, 0.8),
)
"""Strides, and cosines below which the middle is embedded, too; none is below -1."""
_ROW: Final = "turns", "duration", "speech", "centers", "embeddings", "counts"


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording with every window embedded. ``counts``: ``(num_spans, 2)``, block and number of windows of each span."""

    kind: str
    turns: NDArray[np.float64]
    duration: NDArray[np.float64]
    speech: NDArray[np.float64]
    centers: NDArray[np.float64]
    embeddings: Embeddings
    counts: NDArray[np.int64]

    @property
    def num_speakers(self) -> int:
        return len(np.unique(self.turns[:, 0]))

    def chosen(self, choose: Choose) -> tuple[VoiceWindows, int]:
        """The windows as ``choose`` has them embedded, and how many it had."""
        asked, found, begin = 0, [self.embeddings[:0]], 0
        for block in np.unique(self.counts[:, 0]):
            counts = self.counts[self.counts[:, 0] == block, 1].tolist()
            windows = self.embeddings[begin : begin + sum(counts)]
            begin += sum(counts)

            def embed(wanted: Indices, windows: Embeddings = windows) -> Embeddings:
                nonlocal asked
                asked += len(wanted)
                return windows[wanted]

            found.append(choose(counts, embed))
        return VoiceWindows(self.centers, np.concatenate(found)), asked


class WholeObserver:
    """Observes recordings as the worker does, but embeds every window."""

    def __init__(self, pipeline: LocalPipeline) -> None:
        self._pipeline = pipeline
        self._diarizer = EmbeddingDiarizer(self._every)
        self._counts: list[list[int]] = []

    def heard(self, kind: str, samples: Samples, turns: Sequence[Spoken]) -> Heard:
        """Turns of one speaker over all speech if there are none."""
        analysis = self._pipeline.run(self._pipeline.analyzed(samples))
        duration, speech = analysis.pcm.duration_secs, speech_to_observe(analysis)
        self._counts, windows = [], []
        for block in block_spans(duration):
            heard = samples_from_pcm(analysis.pcm.read_bytes(block))
            windows.append(self._diarizer.observe(heard, clip_spans(speech, block), block.start_secs))
        who = {name: number for number, name in enumerate(sorted({turn.speaker for turn in turns}))}
        said = [(who[t.speaker], t.start_secs, t.end_secs) for t in turns]
        return Heard(
            kind,
            np.array(said or [(0, s.start_secs, s.end_secs) for s in analysis.speech]).reshape(-1, 3),
            np.array(duration),
            np.array([(s.start_secs, s.end_secs) for s in analysis.speech]).reshape(-1, 2),
            np.concatenate([w.centers_secs for w in windows]),
            np.concatenate([w.embeddings for w in windows]),
            np.array([(block, count) for block, counts in enumerate(self._counts) for count in counts]).reshape(-1, 2),
        )

    def _every(self, counts: Sequence[int], embed: Embed) -> Embeddings:
        self._counts.append(list(counts))
        return embed(np.arange(sum(counts)))


def kept(path: Path, kind: str) -> Heard:
    with np.load(path) as stored:
        return Heard(kind, *(stored[name] for name in _ROW))


def keep(path: Path, heard: Heard) -> None:
    np.savez(path, **{name: getattr(heard, name) for name in _ROW})


def simulated(voices: Path, split: str, cache: Path) -> Iterator[Heard]:
    wanted = [(recipe, cache / f"{split}-{recipe.name}.npz") for recipe in recipes()]
    missing = [(recipe, path) for recipe, path in wanted if not path.exists()]
    if missing:
        bank = load_voices(voices, "dev" if split == "dev" else "test")
        with LocalPipeline(Settings(engines=EngineSettings(device="cpu"))) as pipeline:
            listener = WholeObserver(pipeline)
            for recipe, path in missing:
                meeting = made(recipe, bank)
                keep(path, listener.heard(recipe.kind, meeting.samples, meeting.turns))
    return (kept(path, recipe.kind) for recipe, path in wanted)


def of_folder(folder: Path, cache: Path) -> list[Heard]:
    """The recordings with references; those without turns are of one speaker."""
    found, settings = [], Settings(engines=EngineSettings(device="cpu"))
    with LocalPipeline(settings) as pipeline:
        listener = WholeObserver(pipeline)
        for reference in read_corpus(folder):
            path = cache / f"{folder.name}-{reference.name}.npz"
            if not path.exists():
                (samples,) = decode_all(settings, [reference.audio])
                keep(path, listener.heard(folder.name, samples, reference.turns))
            found.append(kept(path, folder.name))
    return found


@dataclass(frozen=True, slots=True)
class Scored:
    """``embedded`` of ``windows`` were embedded; ``exact``: the number of speakers is right."""

    kind: str
    embedded: int
    windows: int
    errors: SpeakerErrors
    exact: bool


def scored(heard: Heard, choose: Choose, probe: OverlapProbe) -> Scored:
    windows, asked = heard.chosen(choose)
    turns = turns_of_windows([windows], [Span(*span) for span in heard.speech.tolist()], None, probe)
    said = [Spoken(str(int(who)), start, end) for who, start, end in heard.turns.tolist()]
    errors = speaker_errors(said, turns, float(heard.duration), 0.0)
    exact = len({turn.speaker for turn in turns}) == heard.num_speakers
    return Scored(heard.kind, asked, len(heard.centers), errors, exact)


def row(name: str, scores: Sequence[Scored]) -> str:
    """Over all recordings: share of the windows, error rate, exact numbers; then rate and exact numbers of each kind."""
    cells = [name, f"{sum(s.embedded for s in scores) / sum(s.windows for s in scores):.2f}"]
    for kind in (None, *dict.fromkeys(s.kind for s in scores)):
        of = [s for s in scores if kind in (s.kind, None)]
        cells.append(f"{speaker_rate([s.errors for s in of]):.3f}, {sum(s.exact for s in of)} of {len(of)}")
    return f"| {' | '.join(cells)} |"


def table(recordings: Sequence[Heard]) -> Iterator[str]:
    """A Markdown table, a row for each of `SETTINGS`."""
    heads = ["every", "share", "all", *dict.fromkeys(heard.kind for heard in recordings)]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    probe = OverlapProbe()
    for stride, alike in SETTINGS:
        choose = partial(embedded, plenty=0, stride=stride, alike=alike)
        name = f"{stride}" if alike < 0 else f"{stride}, and below {alike:g}"
        yield row(name, [scored(heard, choose, probe) for heard in recordings])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--voices", type=Path)
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    if asked.folder:
        recordings = of_folder(asked.folder, asked.cache)
    else:
        recordings = list(simulated(asked.voices, asked.split, asked.cache))
    for line in table([heard for heard in recordings if len(heard.centers) and len(heard.speech)]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
