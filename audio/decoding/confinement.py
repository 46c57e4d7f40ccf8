"""Confinement of a decoding child process: before it reads a file, it loses access to files, network and programs.

It calls Linux's Landlock and seccomp directly, because neither has a maintained Python package. The child has already
opened its input, output and job channel. The confinement is permanent and needs no privileges. Sources: landlock(7),
seccomp(2), linux/landlock.h, linux/seccomp.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_GET_SECCOMP: Final = 21
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same numbers on every architecture
_LANDLOCK_VERSION: Final = 1
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights on files, by the Landlock ABI that added them."""
_NETWORK_ABI, _NETWORK_RIGHTS = 4, 0b11  # to bind and to connect TCP
_SCOPE_ABI, _SCOPES = 6, 0b11  # abstract Unix sockets, signals

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, …JGE…, BPF_RET
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32: Final = 0x40000000
"""First number of the x32 system calls on x86-64."""
# fmt: off
_REFUSED: Final[dict[str, tuple[int, int | None]]] = {
    "open": (2, None), "creat": (85, None), "openat": (257, 56), "openat2": (437, 437), "open_by_handle_at": (304, None),
    "name_to_handle_at": (303, None), "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "bind": (49, 200),
    "listen": (50, 201), "socketpair": (53, 199), "accept4": (288, 242), "clone": (56, 220), "fork": (57, None),
    "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "mount_setattr": (442, 442), "unlink": (87, None),
    "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None),
    "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36), "mkdir": (83, None), "mkdirat": (258, 34),
    "rmdir": (84, None), "truncate": (76, 45), "chmod": (90, None), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "lchown": (94, None), "fchownat": (260, 54), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "memfd_create": (319, 279),
    "personality": (135, 92),
}
# fmt: on
"""Refused system calls by number on x86-64 and on AArch64, which lacks some: files by name, sockets, processes, signals,
memory of other processes, mounts, and known ways to evade filters (unistd_64.h, asm-generic/unistd.h).
"""
_CLONE3: Final = 435
"""The filter cannot read the flags of clone3. If clone3 is refused as unknown, the C library falls back to clone."""


def confine() -> None:
    """Confine this process permanently, as far as the kernel supports it; `missing` lists the rest."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _restrict_files(libc)
    _filter_calls(libc)


def missing() -> list[str]:
    """The parts of the confinement that this system does not support, as text; empty if it supports all."""
    if sys.platform != "linux":
        return [f"{sys.platform} has neither Landlock nor seccomp: a decoder may open files and connect"]
    libc, lacking = ctypes.CDLL(None, use_errno=True), []
    if _landlock_abi(libc) < 1:
        lacking.append("the kernel has no Landlock")
    if platform.machine() not in _AUDIT_ARCH or libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        lacking.append("no seccomp filter for this kernel or processor: a decoder may connect")
    return lacking


def _landlock_abi(libc: ctypes.CDLL) -> int:
    return int(libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION)))


def _restrict_files(libc: ctypes.CDLL) -> None:
    """A Landlock ruleset that handles every right and grants none."""
    abi = _landlock_abi(libc)
    if abi < 1:
        return
    rights = max(bits for since, bits in _FILE_RIGHTS.items() if since <= abi)
    fields = [rights]
    if abi >= _NETWORK_ABI:
        fields.append(_NETWORK_RIGHTS)
    if abi >= _SCOPE_ABI:
        fields.append(_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        return
    libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _filter_calls(libc: ctypes.CDLL) -> None:
    """A seccomp filter that refuses the calls of `_REFUSED` with EPERM."""
    machine = platform.machine()
    if machine not in _AUDIT_ARCH:
        return

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

    code = _program(machine)
    program = Program(len(code) // 8, code)
    libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program), 0, 0)


def _program(machine: str) -> bytes:
    """The filter as BPF: the architecture, then the call's number against each that is refused."""
    refused = [
        number for number in (calls[list(_AUDIT_ARCH).index(machine)] for calls in _REFUSED.values()) if number is not None
    ]
    code = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE | errno.EPERM),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),
        *((_EQUAL, len(refused) - place, 0, number) for place, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | errno.EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
