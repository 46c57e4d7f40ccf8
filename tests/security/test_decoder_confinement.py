"""A confined decoding child can read its input, write its output and report, and nothing else."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from audio.decoding import confinement
from audio.decoding.decoder import Decoder, SeriesDecoder
from schemas.settings import LimitSettings
from tests.integration.test_decode import wav
from tests.support.processes import ROOT

pytestmark = [pytest.mark.security]
linux = pytest.mark.skipif(sys.platform != "linux", reason="confinement needs Linux")

PROGRAM = """
import ctypes, errno, json, mmap, os, signal, socket, sys
from audio.decoding import confinement
libc = ctypes.CDLL(None, use_errno=True)
mine, theirs = os.pipe()
secret, port = sys.argv[1], int(sys.argv[2])
kept = open(secret)
if sys.argv[3] == "landlock":
    libc.prctl(38, 1, 0, 0, 0); confinement._restrict_files(libc)
elif sys.argv[3] == "seccomp":
    libc.prctl(38, 1, 0, 0, 0); confinement._filter_calls(libc)
else:
    confinement.confine()

def connect(kind):
    one = socket.socket(socket.AF_INET, kind)
    one.connect(("127.0.0.1", port))

def fork():
    if os.fork() == 0:
        os._exit(0)

def called(number, refused):
    ctypes.set_errno(0)
    libc.syscall(number, 0, 0, 0)
    if ctypes.get_errno() == refused:
        raise OSError

def called_as_32_bits():
    # getpid by the calls of 32-bit programs, of which the filter knows no number
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()

if sys.argv[3] == "32 bits":
    called_as_32_bits()

tries = {
    "read": lambda: open(secret).read(),
    "write": lambda: open(secret + ".new", "w"),
    "remove": lambda: os.unlink(secret),
    "list": lambda: os.listdir("/etc"),
    "tcp": lambda: connect(socket.SOCK_STREAM),
    "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "udp": lambda: connect(socket.SOCK_DGRAM),
    "unix": lambda: socket.socketpair(),
    "exec": lambda: os.execv(sys.executable, [sys.executable, "-c", "print('ran')"]),
    "fork": fork,
    "signal": lambda: os.kill(os.getppid(), 0),
    "x32": lambda: called(0x40000000 + 39, errno.EPERM),
    "clone3": lambda: called(435, errno.ENOSYS),
}
done = []
for name, attempt in tries.items():
    try:
        attempt()
        done.append(name)
    except OSError:
        pass
os.write(theirs, b"x")
print(json.dumps({"done": done, "kept": kept.read(), "pipe": os.read(mine, 1).decode()}), flush=True)
"""


def tried(secret: Path, port: int, walls_of: str = "all") -> dict[str, object]:
    argv = [sys.executable, "-c", PROGRAM, str(secret), str(port), walls_of]
    run = subprocess.run(argv, capture_output=True, cwd=ROOT, timeout=60, check=True, env={"PYTHONPATH": str(ROOT)})
    found: dict[str, object] = json.loads(run.stdout)
    return found


@linux
@pytest.mark.skipif(bool(confinement.missing()), reason=f"this kernel: {confinement.missing()}")
def test_nothing_but_what_is_open_already(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of another")
    assert tried(secret, 9) == {"done": [], "kept": "of another", "pipe": "x"}
    assert secret.exists()
    # Each of the two denies files alone, so that a kernel needs only one of them; seccomp denies the rest, too.
    done = tried(secret, 9, "landlock")["done"]
    assert isinstance(done, list)
    assert not {"read", "write", "remove", "list", "tcp", "exec"} & set(done)
    assert tried(secret, 9, "seccomp")["done"] == []


@linux
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no such calls")
@pytest.mark.skipif(bool(confinement.missing()), reason=f"this kernel: {confinement.missing()}")
def test_a_call_by_another_table_of_calls_ends_the_process(tmp_path: Path) -> None:
    (secret := tmp_path / "secret").write_text("of another")
    with pytest.raises(subprocess.CalledProcessError) as ended:
        tried(secret, 9, "32 bits")
    assert ended.value.returncode == -signal.SIGSYS


@linux
async def test_a_child_that_has_decoded_stands_behind_them(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(wav(bytes(32_000), rate_hz=16_000))
    async with Decoder(LimitSettings()) as decoder:
        series = SeriesDecoder(decoder)
        for name in ("a.pcm", "b.pcm"):
            assert (await series.decode(source, tmp_path / name)).num_samples == 16_000
        (child,) = [p for p in psutil.Process().children(recursive=True) if p.ppid() != os.getpid()]
        status, opened = looked_at(child.pid)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert not [link for link in opened if link.startswith(str(tmp_path))]
        await series.close()


def looked_at(pid: int) -> tuple[dict[str, str], list[str]]:
    """What the kernel says of a process, and the files that it has open."""
    lines = [line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    opened = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return {name: value.strip() for name, _, value in lines}, opened
