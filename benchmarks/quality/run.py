"""`fluxions bench quality`: word and speaker errors of a profile's engines on a folder of recordings with references."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.quality.corpus import Reference, read_corpus
from benchmarks.quality.events import hesitation_counts, pause_counts
from benchmarks.quality.local_pipeline import LocalPipeline, LocalResult, decode_all, with_noise
from benchmarks.quality.report import COLLAR_SECS, Recording, Report
from benchmarks.quality.scores import cp_word_errors, speaker_errors, word_errors, words_right
from schemas.domain import SAMPLE_RATE_HZ
from schemas.engines import Samples
from schemas.errors import Unavailable
from schemas.settings import Settings

_NEEDED: Final = ("jiwer", "meeteval", "pyannote.metrics", "matplotlib")


def measure(settings: Settings, folder: Path, left_out: Sequence[str], snrs_db: Sequence[float]) -> Report:
    """Every recording of ``folder`` with a reference, but those named in ``left_out``.

    Those with words are also recognised with white noise at each of ``snrs_db``. Raises InvalidRequest for a folder
    without references, InvalidAudio, and Unavailable where an engine or a scoring library is not installed.
    """
    _require()
    references = [r for r in read_corpus(folder) if r.name not in left_out]
    sounds = decode_all(settings, [r.audio for r in references])
    with LocalPipeline(settings) as pipeline:
        recordings = [
            scored(reference, samples, pipeline.transcribe(samples, reference))
            for reference, samples in zip(references, sounds, strict=True)
        ]
        by_noise = _by_noise(pipeline, references, sounds, snrs_db)
        engines = pipeline.revisions
    noise = {"clean": _clean(recordings), **by_noise} if by_noise else {}
    return Report(engines, tuple(recordings), tuple(left_out), noise)


def scored(reference: Reference, samples: Samples, heard: LocalResult) -> Recording:
    """The scores of a recording by all parts of its reference."""
    duration = len(samples) / SAMPLE_RATE_HZ
    turns = reference.turns
    return Recording(
        reference=reference,
        duration_secs=duration,
        heard=heard,
        words=None if reference.words is None else word_errors(reference.words, heard.text),
        right=() if reference.words is None else tuple(words_right(reference.words, heard.words)),
        speakers=speaker_errors(turns, heard.turns, duration, 0.0) if turns else None,
        speakers_collar=speaker_errors(turns, heard.turns, duration, COLLAR_SECS) if turns else None,
        speakers_segments=speaker_errors(turns, heard.segment_turns, duration, 0.0) if turns else None,
        num_speakers=len({said.speaker for said in turns}) if turns else None,
        cp_words=cp_word_errors(turns, heard.words, heard.speakers) if reference.has_speaker_words else None,
        pauses=pause_counts(turns, heard.pauses, duration) if turns else None,
        hesitations=None if reference.words is None else hesitation_counts(reference.words, heard.words),
    )


def _by_noise(
    pipeline: LocalPipeline, references: Sequence[Reference], sounds: Sequence[Samples], snrs_db: Sequence[float]
) -> dict[str, float]:
    spoken = [(r.words, s) for r, s in zip(references, sounds, strict=True) if r.words is not None]
    rates: dict[str, float] = {}
    for snr_db in snrs_db if spoken else ():
        errors = [
            word_errors(words, " ".join(w.text for w in pipeline.words(with_noise(samples, snr_db))))
            for words, samples in spoken
        ]
        rates[f"{snr_db:g} dB"] = sum(e.wrong for e in errors) / max(1, sum(e.reference for e in errors))
    return rates


def _clean(recordings: Sequence[Recording]) -> float:
    errors = [r.words for r in recordings if r.words]
    return sum(e.wrong for e in errors) / max(1, sum(e.reference for e in errors))


def _require() -> None:
    import importlib.util

    missing = [name for name in _NEEDED if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing:
        raise Unavailable(f"scoring needs {', '.join(missing)}: pip install -e '.[dev]'", code="not_installed")
