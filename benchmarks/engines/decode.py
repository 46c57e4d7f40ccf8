"""Time of decoding a recording with and without the confinement of its child, in each of the usual containers.

Children are forked one after another, alternately with and without confinement, as `audio.decoding.fork_server` forks them.
They are limited in both cases. The confinement is set once for each child, before it reads a file.
"""

from __future__ import annotations

import os
import resource
import statistics
import struct
import time
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import av

from audio.decoding import confinement, sandbox
from audio.decoding.decode_worker import decode
from audio.decoding.fork_server import MET_LATER
from audio.decoding.protocol import DecodeLimits
from benchmarks.fixtures import Pcm, speech
from benchmarks.measure import Measure
from schemas.domain import SAMPLE_RATE_HZ, Seconds
from schemas.settings import LimitSettings

CODECS: Final = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "ogg": "libopus", "mp4": "aac"}
_TIMES: Final = struct.Struct("=3d")
"""Wall time of the confinement, wall time and processor time of the decoding, s."""


def measure(settings: LimitSettings, duration_secs: Seconds, rounds: int) -> list[Measure]:
    """Medians of ``rounds`` children of each kind and container, for rendered speech of ``duration_secs``.

    Raises InvalidAudio, OSError.
    """
    pcm = speech(duration_secs, seed=3)
    limits = DecodeLimits(
        settings.max_audio_secs, settings.max_decode_ratio, settings.decode_memory_bytes, settings.decode_cpu_secs
    )
    with TemporaryDirectory(prefix="fluxions-bench-") as folder:
        files = {container: _written(Path(folder, f"speech.{container}"), pcm) for container in CODECS}
        # A process of one thread, because only such a one can fork safely.
        with get_context("spawn").Pool(1) as pool:
            times = pool.apply(_all_times, (files, limits, rounds))
    return [measure for container in CODECS for measure in _measures(container, duration_secs, times[container])]


def _measures(container: str, duration_secs: Seconds, times: dict[bool, list[tuple[float, ...]]]) -> list[Measure]:
    confined, free = ([statistics.median(column) for column in zip(*times[kind], strict=True)] for kind in (True, False))
    what = f"{container}, {duration_secs:.0f} s"
    return [
        Measure(f"{what}: decoding, confined", 1000 * confined[1], "ms"),
        Measure(f"{what}: decoding, not confined", 1000 * free[1], "ms"),
        Measure(f"{what}: processor time, confined", 1000 * confined[2], "ms"),
        Measure(f"{what}: processor time, not confined", 1000 * free[2], "ms"),
        Measure(f"{what}: setting the confinement", 1000 * confined[0], "ms"),
    ]


def _written(path: Path, pcm: Pcm) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS[path.suffix[1:]], rate=SAMPLE_RATE_HZ, layout="mono")
        assert isinstance(stream, av.AudioStream)  # noqa: S101 - every codec of the table is one of sound
        for at in range(0, len(pcm), SAMPLE_RATE_HZ):
            frame = av.AudioFrame.from_ndarray(pcm[None, at : at + SAMPLE_RATE_HZ], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE_HZ
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _all_times(files: dict[str, Path], limits: DecodeLimits, rounds: int) -> dict[str, dict[bool, list[tuple[float, ...]]]]:
    for name in MET_LATER:
        import_module(name)
    found: dict[str, dict[bool, list[tuple[float, ...]]]] = {}
    for container, path in files.items():
        times: dict[bool, list[tuple[float, ...]]] = {True: [], False: []}
        for number in range(2 * rounds):
            times[number % 2 == 0].append(_child_times(path, limits, confined=number % 2 == 0))
        found[container] = times
    return found


def _child_times(path: Path, limits: DecodeLimits, *, confined: bool) -> tuple[float, ...]:
    """`_TIMES` of one child. Raises OSError if it fails."""
    mine, theirs = os.pipe()
    source, target = os.open(path, os.O_RDONLY), os.open(path.with_suffix(".pcm"), os.O_RDWR | os.O_CREAT, 0o600)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(theirs, _TIMES.pack(*_measured(source, target, limits, confined=confined)))
            status = 0
        finally:
            os._exit(status)
    for descriptor in (source, target, theirs):
        os.close(descriptor)
    with os.fdopen(mine, "rb") as times:
        packed = times.read()
    _, status = os.waitpid(pid, 0)
    if status or len(packed) != _TIMES.size:
        raise OSError(f"a child that decodes {path.suffix} failed with status {status}")
    return _TIMES.unpack(packed)


def _measured(source: int, target: int, limits: DecodeLimits, *, confined: bool) -> tuple[float, float, float]:
    sandbox.limit(limits.memory_bytes, limits.cpu_secs, int(limits.max_audio_secs * limits.rate_hz * 2))
    began = time.perf_counter()
    if confined:
        confinement.confine()
    set_up, used = time.perf_counter(), _processor_secs()
    decode(source, target, limits)
    return set_up - began, time.perf_counter() - set_up, _processor_secs() - used


def _processor_secs() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
