"""The embedded diariser: speaker embeddings of sliding windows, clustered once the whole recording has been heard.

Each window is brought to the level the encoder was trained at: across a room one voice is much fainter than
another, and the encoder, which hears power and not its logarithm, would tell levels apart instead of voices. What a window
says is then steadied by the windows beside it.

Its limits are known: at most eight speakers, at most two at once, and who says less than some two seconds of a meeting is
often overlooked. Telephone calls and interviews fare better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ, Seconds, Span, SpeakerHint, Turn
from schemas.engines import EngineInfo, Samples, VoiceWindows
from serve.diarization.resegmentation import Labels
from serve.diarization.voiceprint import DIM, FRAME_RATE_HZ, HOP, NUM_MELS, Mel, Voiceprint, mel_power
from serve.diarization.voices import Embeddings, find_voices
from serve.diarization.weights import describe

_HOP_SECS: Final = 0.2
"""Twice as much halves the work and scores alike, but miscounts one meeting in nine more."""
_PLENTY: Final = 300
"""Windows in a block, a minute of speech, over which every other one is embedded and those between are taken for the mean
of the two beside them, with which they share five sixths of what they hear: half the work, and talks of three minutes
score alike. In half a minute it is one meeting in nine miscounted."""
_WINDOW_FRAMES: Final = 120
"""1.2 s. The encoder was trained on 1.6 s, but reads any length: less costs less, and follows quick changes."""
_WINDOW_SECS: Final = _WINDOW_FRAMES / FRAME_RATE_HZ
_LEVEL: Final = 10 ** (-30 / 20)
"""RMS of the windows the encoder was trained on, -30 dBFS."""
_FAINTEST: Final = 1e-5
"""RMS under which there is nothing to raise, -100 dBFS."""
_MIN_FRAMES: Final = 40
"""Least evidence of a short span, 0.4 s: a shorter one borrows frames around it."""
_NEIGHBOUR_SECS: Final = 0.3
_NEIGHBOUR_WEIGHT: Final = 0.5
"""What the windows right before and after one add to it, where they are no further off than that."""
_MERGE_GAP_SECS: Final = 0.3
"""Silence that does not end a turn while the same voice goes on."""


class EmbeddingDiarizer:
    """A `schemas.engines.Diarizer` on one CPU thread. Holds nothing of a recording; safe to call from several threads."""

    def __init__(self) -> None:
        """Loads and warms the encoder. Raises Unavailable where its weights are not installed."""
        self._voiceprint = Voiceprint()

    @property
    def info(self) -> EngineInfo:
        return describe()

    def observe(self, samples: Samples, speech: Sequence[Span], offset_secs: Seconds = 0.0) -> VoiceWindows:
        """One window each 0.2 s of speech, at least one a span; see `schemas.engines.Diarizer.observe`."""
        duration = len(samples) / SAMPLE_RATE_HZ
        inside = [Span(max(0.0, s.start_secs), min(duration, s.end_secs)) for s in speech]
        inside = [span for span in inside if span.duration_secs > 0]
        if not inside:
            return VoiceWindows(np.zeros(0), np.zeros((0, DIM), np.float32))
        mels = mel_power(samples)
        centers = [_window_centers(span) for span in inside]
        spans = [span for span, found in zip(inside, centers, strict=True) for _ in found]
        embedded = _embedded([len(found) for found in centers])
        middles = np.concatenate(centers)
        windows = [_window(samples, mels, float(middles[i]), spans[i]) for i in np.flatnonzero(embedded)]
        found = self._voiceprint.embed(np.stack(windows))
        return VoiceWindows(middles + offset_secs, _with_those_between(found, embedded))

    def resolve(
        self, windows: Sequence[VoiceWindows], speech: Sequence[Span], hint: SpeakerHint | None = None
    ) -> list[Turn]:
        """Turns, of two speakers at once at most, numbered by first speech. No speech or no windows: no turns."""
        if not speech or not any(len(w.centers_secs) for w in windows):
            return []
        centers = np.concatenate([w.centers_secs for w in windows])
        order = np.argsort(centers, kind="stable")
        centers = centers[order]
        embeddings = np.concatenate([w.embeddings for w in windows])[order]
        voices = find_voices(_steadied(embeddings, centers), hint)
        spans = sorted(speech, key=lambda s: s.start_secs)
        turns = [turn for span in spans for turn in _turns_of(span, centers, voices.first)]
        over = [turn for span in spans for turn in _turns_of(span, centers, voices.second) if turn.speaker >= 0]
        return _renumbered(_joined([*turns, *over]))


def _window_centers(span: Span) -> NDArray[np.float64]:
    """Middles of the windows of one span, evenly about 0.2 s apart, at least one."""
    count = max(1, round(span.duration_secs / _HOP_SECS))
    return np.asarray(span.start_secs + (np.arange(count) + 0.5) * span.duration_secs / count)


def _embedded(counts: Sequence[int]) -> NDArray[np.bool_]:
    """Which windows the encoder hears, of spans with so many each: every one, or with plenty every other and the last."""
    embedded = np.ones(sum(counts), np.bool_)
    if len(embedded) > _PLENTY:
        for count, end in zip(counts, np.cumsum(counts).tolist(), strict=True):
            embedded[end - count + 1 : end - 1 : 2] = False
    return embedded


def _with_those_between(found: Embeddings, embedded: NDArray[np.bool_]) -> Embeddings:
    """``(num_windows, dim) float32``: ``found`` where ``embedded``, else the mean of the two beside, L2-normalised."""
    whole = np.empty((len(embedded), found.shape[1]), np.float32)
    whole[embedded] = found
    between = np.flatnonzero(~embedded)
    sums = whole[between - 1] + whole[between + 1]
    whole[between] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return whole


def _window(samples: Samples, mels: Mel, center_secs: Seconds, span: Span) -> Mel:
    """``(120, 40)`` frames of 1.2 s around ``center_secs``, within the span, at `_LEVEL`; what is shorter is repeated."""
    start = max(span.start_secs, min(center_secs - _WINDOW_SECS / 2, span.end_secs - _WINDOW_SECS))
    length = min(_WINDOW_SECS, span.end_secs - start)
    frames = min(len(mels), max(_MIN_FRAMES, int(length * FRAME_RATE_HZ)))
    first = min(int(start * FRAME_RATE_HZ), len(mels) - frames)
    heard = samples[first * HOP : (first + frames) * HOP]
    rms = float(np.sqrt(np.mean(np.square(heard, dtype=np.float64)))) if heard.size else 0.0
    gain = (_LEVEL / rms) ** 2 if rms > _FAINTEST else 1.0
    return np.resize(mels[first : first + frames], (_WINDOW_FRAMES, NUM_MELS)) * np.float32(gain)


def _steadied(embeddings: Embeddings, centers: NDArray[np.float64]) -> Embeddings:
    """Each window with a share of the ones right before and after it, L2-normalised again; ``centers`` are sorted."""
    beside = np.diff(centers) <= _NEIGHBOUR_SECS
    steadied = embeddings.copy()
    steadied[1:][beside] += np.float32(_NEIGHBOUR_WEIGHT) * embeddings[:-1][beside]
    steadied[:-1][beside] += np.float32(_NEIGHBOUR_WEIGHT) * embeddings[1:][beside]
    return np.asarray(steadied / np.maximum(np.linalg.norm(steadied, axis=1, keepdims=True), 1e-9), np.float32)


def _turns_of(span: Span, centers: NDArray[np.float64], labels: Labels) -> list[Turn]:
    """Cuts one span half way between neighbouring windows of different voices."""
    first, last = np.searchsorted(centers, (span.start_secs, span.end_secs))
    if first == last:  # cut off from any window of its own: the nearest speaks for it
        middle = (span.start_secs + span.end_secs) / 2
        nearest = int(np.argmin(np.abs(centers - middle)))
        return [Turn(int(labels[nearest]), span.start_secs, span.end_secs)]
    inside = labels[first:last]
    changes = np.flatnonzero(np.diff(inside)) + 1
    cuts = (centers[first + changes - 1] + centers[first + changes]) / 2
    starts = [span.start_secs, *cuts.tolist()]
    ends = [*cuts.tolist(), span.end_secs]
    speakers = inside[np.concatenate(([0], changes))]
    return [Turn(int(who), start, end) for who, start, end in zip(speakers, starts, ends, strict=True)]


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of each voice joined over short silences, by start; of two that start together the longer one first."""
    joined: dict[int, list[Turn]] = {}
    for turn in sorted(turns, key=lambda t: t.start_secs):
        mine = joined.setdefault(turn.speaker, [])
        if mine and turn.start_secs - mine[-1].end_secs <= _MERGE_GAP_SECS:
            mine[-1] = Turn(turn.speaker, mine[-1].start_secs, max(mine[-1].end_secs, turn.end_secs))
        else:
            mine.append(turn)
    return sorted((t for mine in joined.values() for t in mine), key=lambda t: (t.start_secs, -t.end_secs))


def _renumbered(turns: Sequence[Turn]) -> list[Turn]:
    numbers: dict[int, int] = {}
    for turn in turns:
        numbers.setdefault(turn.speaker, len(numbers))
    return [Turn(numbers[turn.speaker], turn.start_secs, turn.end_secs) for turn in turns]
