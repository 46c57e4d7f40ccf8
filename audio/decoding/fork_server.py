"""``python -m audio.decoding.fork_server``: loads the decoding libraries once and forks children that decode.

Standard input is a control socket. Each byte received on it carries two file descriptors for a new child:

- the job channel, on which the child reads jobs and reports (`audio.decoding.decode_worker`);
- the lifetime socket. When the other end is closed for writing, the child is killed. When the child has ended, a frame with
  its exit status is written to it.

The server opens no recording itself. It ends, and its children with it, when the control socket is closed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
from importlib import import_module
from typing import Final, NoReturn

from audio.decoding import decode_worker
from audio.decoding.protocol import exit_status
from runtime.children import die_with_parent
from runtime.priority import lower_session_priority

MET_LATER: Final = ("av.audio.stream", "av.video.stream", "av.subtitles.stream")
"""Modules that PyAV imports when it first reads a stream of their type. They are loaded early, because a child cannot
open module files.
"""


class ForkServer:
    """Forks children on request. It has one thread, so forking is safe."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lifetimes: dict[int, socket.socket] = {}
        """Lifetime sockets of children that have not ended, by process id."""
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Returns when the control socket is closed."""
        ended, wake = socket.socketpair()
        for end in (ended, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for readable in (self._control, ended):
            self._selector.register(readable, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    if not self._spawn():
                        return
                elif key.fileobj is ended:
                    ended.recv(4096)
                    self._reap()
                elif key.data in self._lifetimes:
                    self._selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)

    def _spawn(self) -> bool:
        """Fork a child if one is requested; False when the control socket is closed."""
        _, sockets, _, _ = socket.recv_fds(self._control, 1, 2)
        if len(sockets) != 2:
            return False
        jobs, lifetime = sockets
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(lifetime)  # The requester then finds both of its sockets closed.
        else:
            if pid == 0:
                _run_child(jobs, server)
            self._lifetimes[pid] = socket.socket(fileno=lifetime)
            self._selector.register(self._lifetimes[pid], selectors.EVENT_READ, pid)
        os.close(jobs)
        return True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                with self._lifetimes.pop(pid) as lifetime:
                    with contextlib.suppress(KeyError):  # The other end was closed before.
                        self._selector.unregister(lifetime)
                    with contextlib.suppress(OSError):
                        lifetime.send(exit_status(os.waitstatus_to_exitcode(status)))


def _run_child(jobs: int, server: int) -> NoReturn:
    """Everything a forked child does. It has only the job channel open, as its standard input and output."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for standard in (0, 1):
            os.dup2(jobs, standard)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        die_with_parent(server)
        decode_worker.serve()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    lower_session_priority()
    for module in MET_LATER:
        import_module(module)
    gc.freeze()  # Loaded objects live as long as the process, so the garbage collectors of children need not examine them.
    with socket.socket(fileno=os.dup(0)) as control:
        ForkServer(control).run()
