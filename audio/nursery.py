"""``python -m audio.nursery``: has the decoding libraries loaded and forks children of `audio.child`.

Standard input is a socket on which each byte brings two more: one for the child to hear its jobs and report, and a leash.
When the far end of a leash is let go its child is killed; when a child has ended its exit status is written to its leash.
The nursery itself opens no recording, and ends when its own socket is closed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
from typing import NoReturn

from audio import child, sandbox
from schemas.priority import session_steps_back


class Nursery:
    """One thread, so that forking is safe."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._leashes: dict[int, socket.socket] = {}
        """By process id, of children that have not ended."""
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Returns when the socket is closed; children end with the process."""
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
                    if not self._birth():
                        return
                elif key.fileobj is ended:
                    ended.recv(4096)
                    self._reap()
                elif key.data in self._leashes:
                    self._selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)

    def _birth(self) -> bool:
        """Fork a child if one is asked for; False if none will be any more."""
        _, sockets, _, _ = socket.recv_fds(self._control, 1, 2)
        if len(sockets) != 2:
            return False
        talk, leash = sockets
        nursery = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(leash)  # The far end of the other reads its end.
        else:
            if pid == 0:
                _live(talk, nursery)
            self._leashes[pid] = socket.socket(fileno=leash)
            self._selector.register(self._leashes[pid], selectors.EVENT_READ, pid)
        os.close(talk)
        return True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                with self._leashes.pop(pid) as leash:
                    with contextlib.suppress(KeyError):  # It was let go before.
                        self._selector.unregister(leash)
                    with contextlib.suppress(OSError):
                        leash.send(b"%d\n" % os.waitstatus_to_exitcode(status))


def _live(talk: int, nursery: int) -> NoReturn:
    """A child's life and end; it has nothing open but ``talk``, as its standard input and output."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for standard in (0, 1):
            os.dup2(talk, standard)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sandbox.die_with_parent(nursery)
        child.serve()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    session_steps_back()
    gc.freeze()  # What is loaded lives as long as the process: no child needs to look through it.
    with socket.socket(fileno=os.dup(0)) as control:
        Nursery(control).run()
