"""Voice matching with Kokoro: finds the point of its style space whose speech is most similar to the reference clip.

The best mixture of the built-in voices is predicted from their voiceprints. From there a search renders short sentences,
two at a time, and measures them (`style_search`) after a mild equaliser that adapts the long-term spectrum to the clip's.
The best few points are compared on other sentences, and the most similar one is the voice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from schemas.domain import SPEECH_RATE_HZ, Seconds
from schemas.engines import Samples, Synthesizer
from schemas.speech import VoiceProfile
from serve.engines.tts.equalizer import Equalizer
from serve.engines.tts.passages import passages
from serve.engines.tts.pitch import melody
from serve.engines.tts.reference_clip import usable
from serve.engines.tts.style_search import StyleSearch, Target
from serve.engines.tts.style_space import Matrix, StyleSpace, Vector
from serve.engines.tts.voice_matching import (
    LONGEST_SECS,
    Match,
    Progress,
    SpeakerEncoder,
    rounded,
    spectrum_difference_db,
)
from serve.engines.tts.voice_matching_reference import check_one_voice

NUM_TRIALS: Final = 56
TRIAL_SENTENCES: Final = ("A large fish swam under the old bridge.", "Help her choose those yellow jackets.")
"""Sentences of the trials, in turn; rich in vowels, and short, because a trial takes about as long as its audio."""
_FINAL_SENTENCES: Final = (
    "The boy was there when the sun rose over the quiet harbour.",
    "She thought that seven old chairs would be enough for us.",
)
_PAIR: Final = 2
_NUM_FINALISTS: Final = 2
_EQUALIZER_LIMIT_DB: Final = 6.0
VOICEPRINTS: Final = Path(__file__).with_name("style_voiceprints.npz")
_NO_PITCH_HZ: Final = 60.0
_ACCENTS: Final = {"a": "en-us", "b": "en-gb"}
"""Language by the first letter of a style's name. All others are read as American."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A clip, ``(num_samples,) float32`` at 24 kHz, the target computed from it, and the mixture that all trials vary."""

    reference: Samples
    target: Target
    weights: Vector
    profile: VoiceProfile


class KokoroMatcher:
    """A match takes up to a minute on two cores. See `VoiceMatcher`."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        styles: Mapping[str, NDArray[np.floating]],
        search_secs: Seconds,
        num_trials: int = NUM_TRIALS,
    ) -> None:
        """``styles``: ``(510, 256)`` of each voice that may be mixed, by the names that ``synthesizer`` uses.
        ``search_secs``: limit of the search on a slow machine, before the final comparison. Raises Unavailable where the
        speaker encoder's weights are missing."""
        self._synthesizer = synthesizer
        self._encoder = SpeakerEncoder()
        self._space = StyleSpace(styles)
        self._known = known_voices(self._space.names)
        self._num_trials, self._search_secs = num_trials, search_secs

    def match(self, reference: Samples, voice_id: str, progress: Progress | None = None) -> Match:
        """See `VoiceMatcher.match`. Equal clips give equal voices unless the time limit is reached. Raises InvalidAudio
        also for a clip of two people."""
        reference = reference[: round(LONGEST_SECS * SPEECH_RATE_HZ)]
        octaves = float(np.log2(usable(reference).median_hz))
        check_one_voice(self._encoder.windows(reference))
        target = Target(self._encoder.embed(reference).astype(np.float64), octaves)
        weights = self._mixture(target)
        task = _Task(reference, target, weights, VoiceProfile(voice_id, "", language=self._accent(weights)))
        with ThreadPoolExecutor(_PAIR, "match") as pool:
            points = self._searched(task, pool, progress)
            best = max(pool.map(partial(self._final, task), points), key=lambda match: match.similarity)
        if progress is not None:
            progress(1.0, best.similarity)
        return best

    def _mixture(self, target: Target) -> Vector:
        """``(num_styles,)`` weights that sum to 1, on the assumption that voiceprints mix like styles."""
        weights, _ = nnls(self._known[:, :-1].T, target.voiceprint)
        mixture: Vector = weights / weights.sum()
        return mixture

    def _accent(self, weights: Vector) -> str:
        shares = {
            letter: sum(w for n, w in zip(self._space.names, weights, strict=True) if n[0] == letter) for letter in _ACCENTS
        }
        return _ACCENTS[max(shares, key=lambda letter: shares[letter])]

    def _searched(self, task: _Task, pool: ThreadPoolExecutor, progress: Progress | None) -> Matrix:
        """The best points of the search, ``(num_finalists, dim)``."""
        ends = time.monotonic() + self._search_secs
        points = self._space.points()
        nearest = points[int(np.argmax(task.target.scores(self._known)))]
        asked = np.stack((self._space.mixed(task.weights), nearest))
        plain, equalized = self._tried(task, pool, asked, TRIAL_SENTENCES[0])
        # The built-in voices were measured without an equaliser; its effect on these two is assumed for all.
        known = self._known + (equalized - plain).mean(axis=0)
        search = StyleSearch(points, known, self._space.spreads, task.target)
        best = -1.0
        for number in range(1, self._num_trials // _PAIR + 1):
            search.tell(asked, equalized)
            best = max(best, *(equalized[:, :-1] @ task.target.voiceprint))
            if progress is not None:
                progress(number * _PAIR / (self._num_trials + 2 * _NUM_FINALISTS), best)
            if number * _PAIR >= self._num_trials or time.monotonic() > ends:
                break
            asked = search.ask(_PAIR)
            _, equalized = self._tried(task, pool, asked, TRIAL_SENTENCES[number % len(TRIAL_SENTENCES)])
        return search.best(_NUM_FINALISTS)

    def _tried(self, task: _Task, pool: ThreadPoolExecutor, points: Matrix, sentence: str) -> tuple[Matrix, Matrix]:
        """Measurements at ``points`` without and with the equaliser, ``(num_points, 257)`` each."""
        trials = list(pool.map(partial(self._trial, task, sentence), points))
        return np.stack([plain for plain, _ in trials]), np.stack([equalized for _, equalized in trials])

    def _trial(self, task: _Task, sentence: str, point: Vector) -> tuple[Vector, Vector]:
        samples = spoken(self._synthesizer, self._voice(task, point), (sentence,))
        plain = features(self._encoder, samples)
        print_ = self._encoder.embed(_filtered(_gains(task.reference, samples), samples))
        return plain, np.append(print_.astype(np.float64), plain[-1])

    def _final(self, task: _Task, point: Vector) -> Match:
        """The voice at ``point``, with its equaliser if that is more similar, measured on sentences that no trial used."""
        voice = self._voice(task, point)
        samples = spoken(self._synthesizer, voice, _FINAL_SENTENCES)
        voice = replace(voice, f0_hz=round(melody(samples).median_hz, 1))
        gains = _gains(task.reference, samples)
        plain, equalized = (
            float(self._encoder.embed(sound) @ task.target.voiceprint) for sound in (samples, _filtered(gains, samples))
        )
        return Match(voice, plain) if plain >= equalized else Match(replace(voice, equalizer_db=gains), equalized)

    def _voice(self, task: _Task, point: Vector) -> VoiceProfile:
        found = self._space.voice(task.weights, point)
        return replace(task.profile, style=found.style, style_offset=found.style_offset)


def known_voices(names: Sequence[str]) -> Matrix:
    """``(len(names), 257)``: voiceprint and pitch in octaves of each built-in voice.

    The file in the package is of two sentences, "The boy was there when the sun rose, and a large fish swam under the old
    bridge." and "I will call you tomorrow about the tickets for the evening train."; its pitches are those of
    `kokoro_voices`. ``python -m benchmarks.quality.tuning.style_voiceprints`` makes a new one, on the trial sentences.
    Raises KeyError for a voice that was not measured.
    """
    with np.load(VOICEPRINTS) as measured:
        rows = dict(zip(measured["names"].tolist(), measured["heard"].astype(np.float64), strict=True))
    return np.stack([rows[name] for name in names])


def spoken(synthesizer: Synthesizer, voice: VoiceProfile, sentences: Sequence[str]) -> Samples:
    """Sentences in one voice, ``(num_samples,) float32`` at 24 kHz. Raises EngineFailure."""
    return np.concatenate(
        [
            piece
            for sentence in sentences
            for passage in passages(sentence)
            for piece in synthesizer.render(passage, voice, 0.0)
        ]
    )


def features(encoder: SpeakerEncoder, samples: Samples) -> Vector:
    """Voiceprint and binary logarithm of the median pitch of ``samples`` at 24 kHz, ``(257,)``. Speech without a pitch
    counts as 60 Hz, lower than any target."""
    median_hz = melody(samples).median_hz
    return np.append(encoder.embed(samples).astype(np.float64), np.log2(median_hz or _NO_PITCH_HZ))


def _gains(reference: Samples, samples: Samples) -> tuple[float, ...]:
    return rounded(spectrum_difference_db(reference, samples, _EQUALIZER_LIMIT_DB))


def _filtered(gains_db: Sequence[float], samples: Samples) -> Samples:
    equalizer = Equalizer(gains_db)
    return np.concatenate((equalizer.feed(samples), equalizer.finish()))
