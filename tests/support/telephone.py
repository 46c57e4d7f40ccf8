"""Telephone conversations composed of recorded readers: each side through its own line, some turns overlapping."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
import soxr
from scipy.signal import butter, sosfilt

from audio.vad import VoiceActivity, regions
from benchmarks.quality.corpus import Spoken
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.engines import Samples

LINE_RATE_HZ = 8_000
BAND_HZ = (300, 3_400)
CODECS = {"pcm_mulaw": "wav", "libopencore_amrnb": "amr"}
"""G.711 and codecs of mobile telephones, each with a container."""
AMR_BIT_RATE = 12_200
NOISE_LEVEL = 10 ** (-55 / 20)
OVERLAP_SHARE = 0.3
"""Share of turns that begin up to a second before the previous one ends."""
TURN_SECS = (0.8, 1.5, 2.5, 4.0)


@dataclass(frozen=True)
class Talk:
    """``samples``: ``(num_samples,) float32`` at 16 kHz, both sides in one channel."""

    samples: Samples
    turns: tuple[Spoken, ...]

    @property
    def duration_secs(self) -> Seconds:
        return self.samples.size / SAMPLE_RATE_HZ


def pieces_of(voice_activity: VoiceActivity, reading: Samples) -> list[Samples]:
    """The speech between the pauses of a reading."""
    probabilities, duration_secs = voice_activity.probabilities(reading), reading.size / SAMPLE_RATE_HZ
    found = regions(probabilities, duration_secs=duration_secs, min_speech_secs=0.4, pad_secs=0.05)
    return [reading[round(s.start_secs * SAMPLE_RATE_HZ) : round(s.end_secs * SAMPLE_RATE_HZ)] for s in found]


def talk_of(sides: Sequence[Sequence[Samples]], codec: str, levels_db: Sequence[float], seed: int, turns: int = 14) -> Talk:
    """The ``sides`` in turn, each through its own line; ``levels_db`` are the RMS of their lines, dBFS."""
    random = np.random.default_rng(seed)
    said: list[tuple[int, int, Samples]] = []
    taken, end = [0] * len(sides), round(0.3 * SAMPLE_RATE_HZ)
    for number in range(turns):
        side = number % len(sides)
        sound, taken[side] = _turn(sides[side], taken[side], float(random.choice(TURN_SECS)))
        early = number and random.random() < OVERLAP_SHARE
        gap_secs = -random.uniform(0.3, 1.0) if early else random.uniform(0.1, 0.7)
        start = max(0, end + round(gap_secs * SAMPLE_RATE_HZ))
        said.append((side, start, sound))
        end = max(end, start + sound.size)
    mixed = np.zeros(end + SAMPLE_RATE_HZ // 2, np.float32)
    for side in range(len(sides)):
        heard = np.zeros_like(mixed)
        for _, start, sound in (turn for turn in said if turn[0] == side):
            heard[start : start + sound.size] += sound
        mixed += over_the_line(heard, codec, levels_db[side], random)
    spoken = (Spoken(str(s), start / SAMPLE_RATE_HZ, (start + x.size) / SAMPLE_RATE_HZ) for s, start, x in said)
    return Talk(mixed, tuple(spoken))


def over_the_line(samples: Samples, codec: str, level_db: float, random: np.random.Generator) -> Samples:
    """Band-passed, at RMS ``level_db`` dBFS over a faint hiss, encoded and decoded at 8 kHz; as long as ``samples``."""
    band = sosfilt(butter(4, BAND_HZ, "bandpass", fs=SAMPLE_RATE_HZ, output="sos"), samples)
    band *= 10 ** (level_db / 20) / np.sqrt(np.mean(np.square(band)))
    band += NOISE_LEVEL * random.standard_normal(band.size)
    narrow = soxr.resample(band, SAMPLE_RATE_HZ, LINE_RATE_HZ)
    wide = soxr.resample(_coded(narrow, codec), LINE_RATE_HZ, SAMPLE_RATE_HZ)
    return np.resize(np.pad(wide, (0, max(0, samples.size - wide.size))), samples.size).astype(np.float32)


def _turn(pieces: Sequence[Samples], first: int, length_secs: Seconds) -> tuple[Samples, int]:
    """(``pieces`` from number ``first`` on, cyclically, joined to that length; the next piece's number)."""
    length = round(length_secs * SAMPLE_RATE_HZ)
    got: list[Samples] = []
    while sum(p.size for p in got) < length:
        got.append(pieces[first % len(pieces)])
        first += 1
    return np.concatenate(got)[:length], first


def _coded(samples: Samples, codec: str) -> Samples:
    """``(num_samples,)`` float at 8 kHz through ``codec`` and back, float32."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=CODECS[codec]) as out:
        stream = out.add_stream(codec, rate=LINE_RATE_HZ, layout="mono")
        if codec == "libopencore_amrnb":
            stream.bit_rate = AMR_BIT_RATE
        whole = np.rint(np.clip(samples, -1, 1) * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole[None], format="s16", layout="mono")
        frame.sample_rate = LINE_RATE_HZ
        packets = [*stream.encode(frame), *stream.encode(None)]
        for packet in packets:
            out.mux(packet)
    buffer.seek(0)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=LINE_RATE_HZ)
    with av.open(buffer) as back:
        heard = [f for frame in back.decode(audio=0) for f in resampler.resample(frame)] + resampler.resample(None)
    return np.concatenate([f.to_ndarray()[0] for f in heard])
