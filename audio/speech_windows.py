"""Packs speech into windows for the recogniser: joins pieces of speech, and shortens long silences between them.

Whisper needs the same time for every second of a window, speech or not, and pads short windows. So a window is filled with
neighbouring pieces of speech up to the length at which recognition works best. Afterwards the silences that were cut out
are added back to the times of the words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from audio.pcm import PcmFile
from audio.vad import FRAME_SECS, Probabilities, regions
from schemas.domain import SAMPLE_RATE_HZ, Recognition, Seconds, Span, Word

THRESHOLD: Final = 0.2
"""Probability of speech from which a frame is recognised. Far lower than elsewhere, because the recogniser itself separates
faint speech from noise, and speech outside all windows is lost."""
MIN_SILENCE_SECS: Final[Seconds] = 0.3
PAD_SECS: Final[Seconds] = 0.15
"""Silence kept on each side of a piece of speech, so at most twice as much is between two pieces of a window."""
EDGE_SECS: Final[Seconds] = 0.15
"""Further audio kept at the two ends of a window, if the recording has it."""
OVERLAP_SECS: Final[Seconds] = 1.0
"""Overlap of two windows where running speech must be cut: longer than nearly every word."""
MAX_SILENCE_SECS: Final[Seconds] = 5.0
"""A longer silence ends a window, because speech after it is seldom the same sentence."""

_TAIL_SECS: Final[Seconds] = 2.0
_LEAST_SECS: Final[Seconds] = 10.0
_GROWTH: Final = 1.2
"""Cost of a window: the larger of its length plus a tail and a minimum, to this power."""
_SILENCE_WORTH: Final = 0.3
_WORTH_SECS: Final[Seconds] = 2.0
"""A window should end in a silence: the value of a second of silence, and the most seconds that count."""


@dataclass(frozen=True, slots=True)
class Window:
    """Pieces of a recording, sorted and not overlapping, that are recognised as one utterance."""

    pieces: tuple[Span, ...]

    @property
    def span(self) -> Span:
        """From the first piece's start to the last one's end, including the silences between them."""
        return Span(self.pieces[0].start_secs, self.pieces[-1].end_secs)

    @property
    def duration_secs(self) -> Seconds:
        """Length of the audio that is recognised."""
        return sum(piece.duration_secs for piece in self.pieces)

    def counted_from(self, start_secs: Seconds) -> Window:
        """The window with times relative to ``start_secs``, rounded to samples, so that equal windows of different blocks
        compare equal.
        """
        return Window(tuple(_counted_from(start_secs, piece) for piece in self.pieces))

    def read(self, pcm: PcmFile, offset_secs: Seconds = 0.0) -> bytes:
        """The window's audio, s16le 16 kHz mono; ``pcm`` starts at ``offset_secs`` of the recording."""
        return b"".join(
            pcm.read_bytes(Span(offset_secs + piece.start_secs, offset_secs + piece.end_secs)) for piece in self.pieces
        )

    def restore_silences(self, recognition: Recognition) -> Recognition:
        """Words whose times count within the audio of `read`, with times from the start of ``span`` instead."""
        return replace(recognition, words=tuple(self._placed(word) for word in recognition.words))

    def _placed(self, word: Word) -> Word:
        """A word belongs to the piece that holds most of it; no word spans a silence that was cut out."""
        middle = (word.start_secs + word.end_secs) / 2
        before: Seconds = 0.0
        for piece in self.pieces:
            if middle < before + piece.duration_secs or piece is self.pieces[-1]:
                break
            before += piece.duration_secs
        first, last = piece.start_secs - self.pieces[0].start_secs, piece.end_secs - self.pieces[0].start_secs
        start, end = (min(max(at - before + first, first), last) for at in (word.start_secs, word.end_secs))
        return replace(word, start_secs=start, end_secs=end)


def speech_windows(probabilities: Probabilities, duration_secs: Seconds, max_secs: Seconds) -> list[Window]:
    """Windows of at most ``max_secs`` each, sorted by start and by end, inside the recording.

    Every frame with a probability of at least `THRESHOLD` is in one of them. Running speech that is too long for one is
    cut at the quietest point of the last third of ``max_secs``. The windows on both sides of a cut overlap by up to
    `OVERLAP_SECS` around it, so that every word is whole in one of them, and `flows.transcription.overlap_merge` merges
    words that both recognise. Other windows do not overlap. Raises ValueError if ``max_secs`` is under one second.
    """
    if max_secs < 1.0:
        raise ValueError(f"max_secs is {max_secs}; a recogniser must take at least 1 s")
    stretches = regions(
        probabilities,
        duration_secs=duration_secs,
        threshold=THRESHOLD,
        min_silence_secs=MIN_SILENCE_SECS,
        pad_secs=PAD_SECS,
    )
    pieces = [part for span in stretches for part in _cut(probabilities, span, max_secs)]
    return _with_edges([Window(tuple(pieces[a:b])) for a, b in _packed(pieces, max_secs)], duration_secs, max_secs)


def _cut(probabilities: Probabilities, span: Span, max_secs: Seconds) -> Iterator[Span]:
    half = min(OVERLAP_SECS, max_secs / 4) / 2
    start = span.start_secs
    # Half a sample absorbs the rounding of seconds.
    while span.end_secs - start > max_secs + 0.5 / SAMPLE_RATE_HZ:
        reach = max_secs - half
        first = math.ceil((start + reach * 2 / 3) / FRAME_SECS)
        last = math.floor((start + reach) / FRAME_SECS)
        # A single quiet frame may be the closure of a consonant.
        around = np.convolve(probabilities[first - 1 : last + 2], np.full(3, 1 / 3), "valid")
        middle = (first + int(np.argmin(around))) * FRAME_SECS
        yield Span(start, middle + half)
        start = middle - half
    yield Span(start, span.end_secs)


def _packed(pieces: Sequence[Span], max_secs: Seconds) -> list[tuple[int, int]]:
    """The partition of the pieces into windows ``[first, last)`` with the least total cost, by dynamic programming."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    """For the first n pieces, their cost and the first piece of their last window."""
    for last in range(1, len(pieces) + 1):
        options: list[tuple[float, int]] = []
        length: Seconds = 0.0
        for first in range(last - 1, -1, -1):
            length += pieces[first].duration_secs
            if options and length > max_secs:
                break
            silence = pieces[first].start_secs - pieces[first - 1].end_secs if first else 0.0
            worth = _SILENCE_WORTH * min(max(silence, 0.0), _WORTH_SECS)
            options.append((best[first][0] + max(_LEAST_SECS, length + _TAIL_SECS) ** _GROWTH - worth, first))
            if not 0 <= silence <= MAX_SILENCE_SECS:
                break
        best.append(min(options))
    runs: list[tuple[int, int]] = []
    last = len(pieces)
    while last:
        first = best[last][1]
        runs.append((first, last))
        last = first
    return runs[::-1]


def _with_edges(windows: Sequence[Window], duration_secs: Seconds, max_secs: Seconds) -> list[Window]:
    """The windows with `EDGE_SECS` more at both ends, as far as the recording, the neighbours and ``max_secs`` allow."""
    found = []
    for number, window in enumerate(windows):
        span, spare = window.span, max(0.0, max_secs - window.duration_secs) / 2
        before = windows[number - 1].span.end_secs if number else 0.0
        after = windows[number + 1].span.start_secs if number + 1 < len(windows) else duration_secs
        # Two neighbours share the silence between them.
        shares = (1.0 if number == 0 else 0.5, 1.0 if number + 1 == len(windows) else 0.5)
        start = span.start_secs - max(0.0, min(EDGE_SECS, spare, (span.start_secs - before) * shares[0]))
        end = span.end_secs + max(0.0, min(EDGE_SECS, spare, (after - span.end_secs) * shares[1]))
        pieces = list(window.pieces)
        pieces[0] = Span(to_sample(start), pieces[0].end_secs)
        pieces[-1] = Span(pieces[-1].start_secs, to_sample(end))
        found.append(Window(tuple(pieces)))
    return found


def _counted_from(start_secs: Seconds, span: Span) -> Span:
    return Span(to_sample(span.start_secs - start_secs), to_sample(span.end_secs - start_secs))


def to_sample(secs: Seconds) -> Seconds:
    """The time of the sample nearest to ``secs``."""
    return round(secs * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
