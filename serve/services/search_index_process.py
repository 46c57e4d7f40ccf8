"""Search indexes are made in a process of their own, of low priority, which ends when there is none to make.

On a thread of the gateway, what the sorts had needed stayed the gateway's: 94 MiB after a file of 250,000 turns. The child
is ``python -m serve.services.search_index_process``. A request's head is ``{"folder": path, "table": name, "uri": data
file}``; that of the answer is empty, or has ``error``.

`runtime.child_program.ChildProgram` belongs to an event loop, and the builder is a thread without one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime import children, frames
from runtime.child_program import ANSWER_SECS, PARENT_PID, serve
from runtime.priority import lower_priority

if TYPE_CHECKING:
    from runtime.frames import Frame

log = logging.getLogger(__name__)

_MODULE = "serve.services.search_index_process"


class SearchIndexProcess:
    """Makes indexes one after the other: `lakehouse.search.protocols.IndexMaker`. Used by one thread, except `close`."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where indexes are stored, in a folder for each table."""
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def is_running(self) -> bool:
        """Whether there is a child now."""
        return self._process is not None and self._process.poll() is None

    def make(self, table: str, uri: str) -> None:
        """Store the index of a data file, unless it is stored. Blocks. Raises OSError, for a child that hangs after
        `ANSWER_SECS`."""
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - it was given pipes
        assert process.stdout is not None  # noqa: S101
        watch = threading.Timer(ANSWER_SECS, process.kill)
        watch.start()
        try:
            frames.write(process.stdin, {"folder": str(self._folder), "table": table, "uri": uri})
            answer = frames.read(process.stdout)
        except (OSError, EOFError, ValueError) as error:
            self.rest()
            raise OSError("the process that makes search indexes has ended") from error
        finally:
            watch.cancel()
        if answer is None:
            self.rest()
            raise OSError("the process that makes search indexes has ended")
        if "error" in answer.head:
            raise OSError(answer.head["error"])

    def rest(self) -> None:
        """End the child, whose memory is then free. The next index starts another."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            children.stop(process)

    def close(self) -> None:
        """End the child at once, also in the midst of an index, and start none any more."""
        self._is_closed = True
        self.rest()

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_closed:
                raise OSError("no more search indexes are made")
            if self._process is None or self._process.poll() is not None:
                # One thread is enough for what may wait.
                env = children.module_env({PARENT_PID: str(os.getpid()), "POLARS_MAX_THREADS": "1"})
                argv = (sys.executable, "-m", _MODULE)
                self._process = children.start(argv, env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            return self._process


def main() -> None:
    """The child: makes indexes until its input ends."""
    lower_priority()
    from lakehouse.search.file_index import store_file_index

    def answer(request: Frame) -> tuple[dict[str, Any], bytes]:
        head = request.head
        try:
            store_file_index(Path(head["folder"]), head["table"], head["uri"])
        except Exception as error:
            log.exception("making a search index failed")
            return {"error": f"{type(error).__name__}: {error}"}, b""
        return {}, b""

    serve(answer)


if __name__ == "__main__":
    main()
