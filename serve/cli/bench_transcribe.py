"""What the platform costs around its recogniser: on a short file, on a cache hit, on a long file."""

from __future__ import annotations

import asyncio
import io
import itertools
import multiprocessing as mp
import os
import tempfile
import time
import wave
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.domain import SAMPLE_RATE_HZ
from schemas.errors import FluxionsError
from schemas.settings import Settings
from serve.cli.client import Client, Target, Upload
from serve.cli.measures import Measure, percentile
from serve.cli.output import note

Pcm = NDArray[np.int16]
"""``(num_samples,) int16`` at 16 kHz mono."""

_SHORT_SECS = 10.0
_POLL_SECS = 0.02
_CACHE_HITS = 20
_BUSY_LOAD = 0.7
# Digital silence between rendered words misleads pocketsphinx; -54 dBFS of noise is what a quiet room has.
_NOISE_SIGMA = 2e-3 * 32_768
_SENTENCES = (
    "the morning was bright and the harbour was full of small boats",
    "she asked him twice whether the letter had come and he shook his head",
    "nobody in the village remembered when the old mill had last been used",
    "we walked along the river until the road turned towards the hills",
    "it takes about two hours to drive from here to the nearest station",
    "the committee will meet again on thursday to settle the remaining questions",
)


def measure(
    target: Target, settings: Settings, *, recording: Path | None, long_secs: float, rounds: int, processes: int
) -> list[Measure]:
    """Raises FluxionsError when the server refuses or a transcription fails."""
    if (load := os.getloadavg()[0]) > _BUSY_LOAD:
        note(f"this machine is busy (load {load:.1f}); what shares it with the server shows in every number")
    short = speech(_SHORT_SECS, seed=1)
    pcm = _decoded(recording, settings) if recording else speech(long_secs, seed=2)
    utterances = utterances_of(pcm, settings)
    note(f"long file: {len(pcm) / SAMPLE_RATE_HZ:.0f} s, {len(utterances)} utterances")
    overheads: list[float] = []
    bare: list[float] = []
    served: list[float] = []
    shares: list[float] = []
    with Client(target, patience_secs=30.0) as client, BareRecognizers(processes) as recognizers:
        complete(client, wav(short), cache=False)  # The first file may find replicas cold.
        bare.append(recognizers.decode(utterances)[0])
        for number in range(rounds):
            wall_secs, body = complete(client, wav(short), cache=False)
            overheads.append(wall_secs - body["processing_time"])
            # Other bytes each time, or the blocks of the last round or run would answer; to the ear the same.
            pcm = retouched(pcm)
            utterances = utterances_of(pcm, settings)
            served.append(complete(client, wav(pcm), cache=False, follow=True)[0])
            bare.append(recognizers.decode(utterances)[0])
            # A machine that slows down or speeds up meanwhile shall favour neither: bare before and after.
            shares.append((bare[-2] + bare[-1]) / 2 / served[-1])
            note(f"round {number + 1}: server {served[-1]:.2f} s, then bare {bare[-1]:.2f} s: {shares[-1]:.3f}")
        hits = [complete(client, wav(short), cache=True) for _ in range(_CACHE_HITS)]
    if not all(body["cached"] for _, body in hits):
        raise FluxionsError("a second submit of the same bytes was not answered from the cache", code="cache_missed")
    duration_secs = len(pcm) / SAMPLE_RATE_HZ
    return [
        Measure(
            f"around a {_SHORT_SECS:g} s file, p50 (polled every {_POLL_SECS * 1000:g} ms)", _p50(overheads) * 1000, "ms"
        ),
        Measure("cache hit, submit to result, p50", _p50([secs for secs, _ in hits]) * 1000, "ms"),
        Measure(f"long file, {processes} bare processes", duration_secs / _p50(bare), "x realtime"),
        Measure("long file, server", duration_secs / _p50(served), "x realtime"),
        Measure("share of bare speed kept, p50 of rounds", _p50(shares), ""),
    ]


def speech(duration_secs: float, seed: int) -> Pcm:
    """Rendered sentences with pauses and room noise, cut to ``duration_secs``."""
    import soxr

    from serve.tts.espeak import Espeak

    random = np.random.default_rng(seed)
    espeak = Espeak()
    voices = ("en-us", "en-us+f3", "en-gb-x-rp")
    parts: list[NDArray[np.float64]] = []
    missing = round(duration_secs * SAMPLE_RATE_HZ)
    for number in itertools.count():
        if missing <= 0:
            break
        spoken, _ = espeak.synthesize(_SENTENCES[number % len(_SENTENCES)], voices[number // 2 % len(voices)])
        resampled = soxr.resample(spoken.astype(np.float64), 22_050, SAMPLE_RATE_HZ)
        pause = np.zeros(round(random.uniform(0.5, 1.2) * SAMPLE_RATE_HZ))
        parts += [resampled, pause]
        missing -= len(resampled) + len(pause)
    whole = np.concatenate(parts)[: round(duration_secs * SAMPLE_RATE_HZ)]
    noisy = whole + random.normal(0.0, _NOISE_SIGMA, len(whole))
    return np.clip(np.rint(noisy), -32_768, 32_767).astype(np.int16)


def retouched(pcm: Pcm) -> Pcm:
    """The same sound with its last bits thrown anew, never the same way twice."""
    thrown = np.random.default_rng().integers(-1, 2, len(pcm))
    again: Pcm = np.clip(pcm.astype(np.int32) + thrown, -32_768, 32_767).astype(np.int16)
    return again


class BareRecognizers:
    """Processes that hold a pocketsphinx decoder and nothing else; spawned, so that they share nothing with this one."""

    def __init__(self, processes: int) -> None:
        self._context = mp.get_context("spawn")
        self._processes = processes

    def __enter__(self) -> BareRecognizers:
        self._pool = self._context.Pool(self._processes, initializer=_load_decoder)
        self._pool.map(_decode, [b"\0" * 3200] * self._processes, chunksize=1)  # Until each has its model loaded.
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.terminate()
        self._pool.join()

    def decode(self, utterances: list[bytes]) -> tuple[float, int]:
        """Wall-clock seconds to decode all of them, and words heard; longest first so that none ends alone."""
        ordered = sorted(utterances, key=len, reverse=True)
        began = time.perf_counter()
        num_words = sum(self._pool.imap_unordered(_decode, ordered, chunksize=1))
        return time.perf_counter() - began, num_words


_decoder: Any = None


def _load_decoder() -> None:
    import pocketsphinx

    global _decoder
    _decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")


def _decode(pcm: bytes) -> int:
    """Words heard in one utterance, s16le 16 kHz mono."""
    _decoder.start_utt()
    _decoder.process_raw(pcm, full_utt=True)
    _decoder.end_utt()
    return sum(1 for _ in _decoder.seg() or ())


def utterances_of(pcm: Pcm, settings: Settings) -> list[bytes]:
    """What the server's recogniser is handed of this recording: the same cuts, by the same voice activity."""
    from audio.pcm import PcmFile
    from audio.segment import utterances
    from audio.vad import VoiceActivity

    with tempfile.NamedTemporaryFile(suffix=".pcm") as file:
        file.write(pcm.astype("<i2").tobytes())
        file.flush()
        mapped = PcmFile(Path(file.name))
        spans = utterances(VoiceActivity().probabilities(mapped), mapped.duration_secs, settings.engines.utterance_max_secs)
    cuts = [(round(s.start_secs * SAMPLE_RATE_HZ), round(s.end_secs * SAMPLE_RATE_HZ)) for s in spans]
    return [pcm[start:end].astype("<i2").tobytes() for start, end in cuts]


def _decoded(recording: Path, settings: Settings) -> Pcm:
    from audio.decode import Decoder

    async def decode(target: Path) -> None:
        async with Decoder(settings.limits) as decoder:
            await decoder.decode(recording, target)

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "recording.pcm")
        asyncio.run(decode(target))
        return np.fromfile(target, dtype="<i2")


def wav(pcm: Pcm) -> bytes:
    """A WAV file of it."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm.astype("<i2").tobytes())
    return buffer.getvalue()


def complete(client: Client, recording: bytes, *, cache: bool, follow: bool = False) -> tuple[float, dict[str, Any]]:
    """Seconds from the first byte sent to the finished result in hand, and that result.

    ``follow`` waits by the job's events: for a minute's work, polling takes half a core from what is measured.
    """
    began = time.perf_counter()
    job = client.submit(
        lambda: nullcontext(Upload("audio/wav", len(recording), iter([recording]))),
        filename="bench.wav",
        cache="true" if cache else "false",
    )
    if follow:
        client.until_final(job["id"])
    while True:
        body: dict[str, Any] = client.get(f"/transcriptions/{job['id']}")
        if body["status"] == "completed":
            return time.perf_counter() - began, body
        if body["status"] not in ("submitted", "processing"):
            raise FluxionsError(
                f"transcription {job['id']} {body['status']}: {body.get('error_message')}", code="bench_failed"
            )
        client.wait(_POLL_SECS)


def _p50(values: list[float]) -> float:
    return percentile(values, 0.5)
