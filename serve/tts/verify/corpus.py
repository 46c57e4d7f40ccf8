"""Rendered speech whose words are known, and renders with planted defects: what the check is trained and measured on.

Everything is drawn from a seeded generator. Training speech is random strings of frequent words, so that the model learns
sounds and no sentence; measuring speech is the sentences of ``sentences.txt``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples
from serve.tts.espeak import ESPEAK_RATE_HZ, Espeak, Prosody
from serve.tts.verify.lexicon import Lexicon, load_lexicon, words_of
from serve.tts.verify.verdict import edits

Defect = Literal["none", "drop", "substitution", "truncation", "confusable", "repeat"]
DEFECTS: Final[tuple[Defect, ...]] = tuple(d for d in get_args(Defect) if d != "none")

TRAINING_VOICES: Final = (
    "en-us", "en-us+f1", "en-us+f3", "en-us+f5", "en-us+m1", "en-us+m2", "en-us+m4", "en-us+m6", "en-us+m7", "en-us+klatt",
    "en-us+klatt3", "en-us+Annie", "en-us+anika", "en-us+Michael", "en-us+steph", "en-us+Mario", "en-us+belinda",
    "en", "en+f1", "en+m2", "en-gb-x-rp", "en-gb-x-rp+f3", "en-gb-x-rp+m1", "en-gb-scotland", "en-gb-scotland+f5", "en-029",
)  # fmt: skip
FITTING_VOICES: Final = (
    "en-us+m8", "en-us+f4", "en-us+aunty", "en-us+david", "en-us+adam", "en-gb-x-rp+m2", "en-gb-x-rp+f1",
    "en-gb-scotland+m3",
)  # fmt: skip
"""The decision is fitted on these; the acoustic model has not heard them, so that it is judged as it will be used."""

MEASURING_VOICES: Final = (
    "en-us+f2", "en-us+m3", "en-us+Andy", "en-us+linda", "en-us+Gene", "en-gb-x-rp+f4", "en-gb-x-rp+m3", "en-us-nyc+m1",
    "en-gb-scotland+f4",
)  # fmt: skip
"""Heard in neither; four of them are bases of built-in voices."""

FREQUENT_WORDS: Final = 6_000


@dataclass(frozen=True, slots=True)
class Speaking:
    """A voice and how it speaks; ``warp`` above 1 plays it faster and higher, formants and all."""

    voice: str
    prosody: Prosody
    warp: float = 1.0


@dataclass(frozen=True, slots=True)
class Render:
    """``samples``: ``(num_samples,) float32`` at 16 kHz mono; ``words`` were asked for, not necessarily spoken.

    ``word_starts_secs`` are those of the words that were spoken, by the synthesiser's own account.
    """

    samples: Samples
    words: tuple[str, ...]
    speaking: Speaking
    defect: Defect
    word_starts_secs: tuple[Seconds, ...]


@cache
def sentences() -> tuple[str, ...]:
    return tuple(Path(__file__).with_name("sentences.txt").read_text("utf-8").splitlines())


def speak(espeak: Espeak, text: str, speaking: Speaking) -> tuple[Samples, tuple[Seconds, ...]]:
    """``(num_samples,) float32`` at 16 kHz mono, and where each word starts, s."""
    import soxr

    pcm, events = espeak.synthesize(text, speaking.voice, speaking.prosody)
    samples = soxr.resample(pcm.astype(np.float32) / 32768, ESPEAK_RATE_HZ * speaking.warp, SAMPLE_RATE_HZ)
    return np.asarray(samples, np.float32), tuple(event.start_secs / speaking.warp for event in events)


def random_speaking(random: np.random.Generator, voices: tuple[str, ...], *, warped: bool) -> Speaking:
    """A voice with rate and pitch of its own."""
    prosody = Prosody(rate_wpm=int(random.integers(130, 215)), pitch=int(random.integers(25, 76)))
    return Speaking(str(random.choice(voices)), prosody, float(random.uniform(0.92, 1.08)) if warped else 1.0)


@cache
def frequent_words() -> tuple[str, ...]:
    """The dictionary's words by their frequency in the recogniser's language model."""
    import pocketsphinx

    decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")
    model = decoder.get_lm()
    plain = [word for word in load_lexicon().words() if word.isalpha() and word.isascii()]
    ranked = sorted(plain, key=lambda word: (-model.prob([word]), word))
    return tuple(ranked[:FREQUENT_WORDS])


def training_renders(count: int, seed: int) -> Iterator[Render]:
    """Strings of 4 to 12 random frequent words, in all training voices."""
    random, espeak, words = np.random.default_rng(seed), Espeak(), frequent_words()
    # Half of the words are drawn from the most frequent: they are the shortest, the most reduced, and half of any text.
    while count:
        chosen = [
            words[random.integers(150 if random.random() < 0.4 else len(words))] for _ in range(random.integers(4, 13))
        ]
        speaking = random_speaking(random, TRAINING_VOICES, warped=True)
        samples, starts = speak(espeak, " ".join(chosen), speaking)
        if len(starts) == len(chosen):
            count -= 1
            yield Render(samples, tuple(chosen), speaking, "none", starts)


def measuring_renders(
    texts: tuple[str, ...], voices: tuple[str, ...], per_text: int, seed: int, *, warped: bool = False
) -> Iterator[Render]:
    """Each sentence ``per_text`` times in random voices: good, and once with each planted defect."""
    random, espeak = np.random.default_rng(seed), Espeak()
    others = sorted({word for text in texts for word in words_of(text)})
    for text in texts:
        for _ in range(per_text):
            speaking = random_speaking(random, voices, warped=warped)
            for defect in ("none", *DEFECTS):
                yield planted(espeak, words_of(text), speaking, defect, others, random)


def planted(
    espeak: Espeak,
    words: tuple[str, ...],
    speaking: Speaking,
    defect: Defect,
    others: list[str],
    random: np.random.Generator,
) -> Render:
    """``words`` rendered with one defect; substitutes are drawn from ``others``.

    *drop*: one word is missing. *substitution*: another word is spoken in its place; *confusable*: the one that sounds
    most like it. *truncation*: the sound stops early, by 15 to 50 %. *repeat*: a word is spoken twice.
    """
    spoken = list(words)
    at = int(random.integers(len(words)))
    if defect == "drop":
        del spoken[at]
    elif defect == "substitution":
        spoken[at] = str(random.choice([word for word in others if word != words[at]]))
    elif defect == "confusable":
        spoken[at] = most_alike(words[at], others, load_lexicon())
    elif defect == "repeat":
        spoken.insert(at, words[at])
    samples, starts = speak(espeak, " ".join(spoken), speaking)
    if defect == "truncation":
        samples = samples[: round(samples.size * random.uniform(0.5, 0.85))]
    return Render(samples, words, speaking, defect, starts)


def most_alike(word: str, others: list[str], lexicon: Lexicon) -> str:
    """The one of ``others`` that differs from ``word`` by the smallest share of its phones, and is not a homophone."""
    own = lexicon.pronunciations(word)

    def distance(other: str) -> float:
        return min(edits(a, b) / max(len(a), len(b)) for a in own for b in lexicon.pronunciations(other))

    candidates = [other for other in others if other != word and lexicon.pronunciations(other)]
    return min((other for other in candidates if distance(other) > 0), key=distance)
