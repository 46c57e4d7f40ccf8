"""The gateway in process behind a real server on loopback, and what tests of speech look at in the sound."""

from __future__ import annotations

import asyncio
import io
import socket
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import uvicorn
from numpy.typing import NDArray

from audio.pcm import to_float
from schemas.domain import SPEECH_RATE_HZ
from schemas.engines import Samples
from tests.contract.gateway import Running
from tests.support.clicks import clicks

SENTENCE = "The old man walked slowly along the river in the morning."
MAEVE = "maeve.h736bab09a"


@asynccontextmanager
async def served(gateway: Running) -> AsyncIterator[str]:
    """``host:port`` of a server with the gateway's routes, WebSocket included; its shutdown drains the gateway."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        gateway.app, log_level="error", lifespan="on", timeout_graceful_shutdown=5, ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await until(lambda: server.started)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def until(condition: Callable[[], object], secs: float = 60.0) -> float:
    """Seconds until ``condition`` held."""
    began = asyncio.get_running_loop().time()
    while not condition():
        assert asyncio.get_running_loop().time() - began < secs, "it did not come true in time"
        await asyncio.sleep(0.005)
    return asyncio.get_running_loop().time() - began


def pcm_of(wav: bytes) -> NDArray[np.int16]:
    """The samples of a WAV whose header tells the truth."""
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SPEECH_RATE_HZ, 1, 2)
        frames = file.readframes(file.getnframes())
    assert len(frames) == len(wav) - 44
    return np.frombuffer(frames, "<i2")


def assert_is_speech(samples: NDArray[np.int16], least_secs: float, most_secs: float) -> None:
    """Of the length expected, at a usual level, neither clipped nor mostly silent, and without clicks."""
    sound: Samples = to_float(samples)
    assert least_secs < sound.size / SPEECH_RATE_HZ < most_secs
    assert 0.02 < float(np.sqrt(np.mean(sound**2))) < 0.4
    assert float(np.abs(sound).max()) < 1.0
    frames = sound[: sound.size // 480 * 480].reshape(-1, 480)
    assert np.mean(np.abs(frames).max(axis=1) > 0.01) > 0.5
    assert clicks(sound) == []
