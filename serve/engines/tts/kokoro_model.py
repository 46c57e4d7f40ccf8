"""Kokoro on ONNX Runtime: tokens, a style and a speed for each token to 24 kHz audio and the length of each token.

The exported graph takes one speed for all tokens and does not output its predicted durations. Two small changes are made to
the bytes of the model in memory, after its digest was checked: the fixed length of the input ``speed`` is removed, so that
it broadcasts over the tokens, and the tensor of durations is declared an output. No weight and no node is changed.

Calls come from many renders. As many run at once as there are cores. Of the waiting calls the shortest is executed first,
so that the short first passage of a stream precedes long passages of streams that still have audio to play.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.domain import Seconds
from schemas.engines import Samples
from schemas.errors import EngineFailure

FRAME_SAMPLES: Final = 600
"""Samples at 24 kHz of one unit of duration, 25 ms."""
_DURATIONS: Final = "/encoder/Gather_output_0"
_SECS_PER_TOKEN: Final = 0.05
"""Approximate length of a token's audio; used for the order of waiting calls only."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """``samples``: ``(num_samples,) float32`` at 24 kHz. ``durations``: ``(num_tokens + 2,) int64`` in units of
    `FRAME_SAMPLES`, of each token and of the silence before and after; their sum is the length of the audio."""

    samples: Samples
    durations: NDArray[np.int64]


class Call:
    """One call of the model, waiting or running. ``wait`` from one thread, ``cancel`` from any."""

    def __init__(self, inputs: dict[str, NDArray[Any]], options: Any) -> None:
        self.inputs = inputs
        self._options = options
        self._ended = threading.Event()
        self._result: Spoken | None = None
        self._error: BaseException | None = None
        self.is_cancelled = False

    def wait(self, timeout_secs: Seconds) -> Spoken | None:
        """The result, or None after ``timeout_secs``. Raises EngineFailure."""
        if not self._ended.wait(timeout_secs):
            return None
        if self._error is not None:
            raise EngineFailure(f"Kokoro could not speak a passage ({type(self._error).__name__})") from self._error
        if self._result is None:
            raise EngineFailure("the call was cancelled")
        return self._result

    def cancel(self) -> None:
        """End the call: at once if it waits, after the current node of the graph (some milliseconds) if it runs."""
        self.is_cancelled = True
        self._options.terminate = True

    def run(self, infer: Callable[[dict[str, NDArray[Any]], Any], Spoken]) -> None:
        """Execute the call in the calling thread."""
        try:
            if not self.is_cancelled:
                self._result = infer(self.inputs, self._options)
        except BaseException as error:  # raised by `wait`
            if not self.is_cancelled:
                self._error = error
        finally:
            self._ended.set()


class KokoroModel:
    """The loaded model. Safe to call from several threads."""

    def __init__(self, path: Path, threads: int) -> None:
        """``path`` is the ``.onnx`` file. Raises ValueError for a file that is not this export; errors of ONNX Runtime
        pass through."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait for the next node would take the cores from other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Passages differ in length, so remembered memory layouts are of no use.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        self._run_options = onnxruntime.RunOptions
        self._session = onnxruntime.InferenceSession(
            with_durations(path.read_bytes()), options, providers=["CPUExecutionProvider"]
        )
        self._queue = _ShortestFirst(threads, self._infer)

    def call(self, tokens: list[int], style: Samples, speed: Samples) -> Call:
        """Add a call to the queue.

        ``tokens``: at most 510, without padding. ``style``: ``(256,) float32``. ``speed``: ``(num_tokens,) float32``,
        the speed of each token relative to the voice's own.
        """
        padded = np.concatenate((speed[:1], speed, speed[-1:]))
        inputs: dict[str, NDArray[Any]] = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[None].astype(np.float32),
            "speed": padded.astype(np.float32),
        }
        call = Call(inputs, self._run_options())
        self._queue.put(call, _SECS_PER_TOKEN * len(tokens))
        return call

    def close(self) -> None:
        """End its threads after the running calls; later calls raise EngineFailure."""
        self._queue.close()

    def _infer(self, inputs: dict[str, NDArray[Any]], options: Any) -> Spoken:
        samples, durations = self._session.run(["audio", _DURATIONS], inputs, options)
        return Spoken(samples, durations)


class _ShortestFirst:
    """Threads that execute calls, shortest first; a waiting call gains priority over newer ones."""

    def __init__(self, num_threads: int, infer: Callable[[dict[str, NDArray[Any]], Any], Spoken]) -> None:
        self._infer = infer
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Call]] = []
        self._numbers = itertools.count()
        self._is_closed = False
        for number in range(num_threads):
            threading.Thread(target=self._work, name=f"kokoro-{number}", daemon=True).start()

    def put(self, call: Call, expected_secs: Seconds) -> None:
        with self._changed:
            if self._is_closed:
                raise EngineFailure("the synthesiser has been closed")
            heapq.heappush(self._waiting, (time.monotonic() + expected_secs, next(self._numbers), call))
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            for _, _, call in self._waiting:
                call.cancel()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                _, _, call = heapq.heappop(self._waiting)
            call.run(self._infer)
            del call


def with_durations(model: bytes) -> bytes:
    """``model``, a serialised ONNX ModelProto, with a speed for each token and the durations as an output.

    Raises ValueError for a model that is not this export of Kokoro.
    """
    # Dimension of one element: `dim_value: 1` becomes an empty `dim_param`, of the same length.
    fixed, free = (_speed_input(dimension) for dimension in (b"\x08\x01", b"\x12\x00"))
    if model.count(fixed) != 1 or _DURATIONS.encode() not in model:
        raise ValueError("the file is not the export of Kokoro-82M that this engine knows")
    # A second `graph` message at the end is merged with the first when the bytes are read, as protobuf prescribes.
    output = _message(7, _message(12, _message(1, _DURATIONS.encode())))
    return model.replace(fixed, free) + output


def _speed_input(dimension: bytes) -> bytes:
    """A ValueInfoProto: float tensor ``speed`` with one dimension."""
    tensor = b"\x08\x01" + _message(2, _message(1, dimension))
    return _message(1, b"speed") + _message(2, _message(1, tensor))


def _message(field: int, content: bytes) -> bytes:
    """A length-delimited protobuf field; fields up to 15 and contents up to 127 bytes take one byte each."""
    return bytes((field << 3 | 2, len(content))) + content
