"""Become a confined renderer: limits, no file but the given ones, no network, no other program.

Run as a script in a process of its own (``python -I -S confine.py WORK BINARY WORD…``); standard
library only. It gives up rights step by step and then becomes the binary. What it cannot give up
ends it with code 120 before anything is rendered; only Landlock, which old kernels lack, may be
missing: then file modes and the binary's own restrictions are what keeps it in its folder.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys

CANNOT_CONFINE = 120
"""Exit code where the confinement itself failed."""
CPU_SECONDS = 20
ADDRESS_BYTES = 1792 << 20
"""Address space; a Go program reserves 1.3 GiB of it that it never touches, the rest is heap."""
DATA_BYTES = 384 << 20
"""Private writable memory. Go may turn a reservation into memory past this limit, not past the one
above; the renderers need 60 to 120 MiB for large sources."""
HEAP_TARGET = "200MiB"
"""From here on Go collects its garbage harder."""
OPEN_FILES = 256

_PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE, _PR_SET_PDEATHSIG = 38, 4, 1
_SIGKILL = 9
_CLONE_THREAD = 0x00010000
_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_X32_BIT = 0x40000000

MACHINES = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "socketpair": 53, "connect": 42, "accept": 43, "accept4": 288, "bind": 49,
            "listen": 50, "sendto": 44, "sendmsg": 46, "sendmmsg": 307, "fork": 57, "vfork": 58,
            "clone": 56, "clone3": 435, "seccomp": 317, "kill": 62,
            "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438,
            "io_uring_setup": 425, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166,
            "pivot_root": 155, "chroot": 161, "bpf": 321, "perf_event_open": 298, "keyctl": 250,
            "add_key": 248, "request_key": 249, "userfaultfd": 323, "symlink": 88,
            "symlinkat": 266, "link": 86, "linkat": 265, "open_by_handle_at": 304,
            "memfd_create": 319, "execveat": 322,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "socketpair": 199, "connect": 203, "accept": 202, "accept4": 242,
            "bind": 200, "listen": 201, "sendto": 206, "sendmsg": 211, "sendmmsg": 269,
            "clone": 220, "clone3": 435, "seccomp": 277, "kill": 129,
            "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_getfd": 438,
            "io_uring_setup": 425, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39,
            "pivot_root": 41, "chroot": 51, "bpf": 280, "perf_event_open": 241, "keyctl": 219,
            "add_key": 217, "request_key": 218, "userfaultfd": 282, "symlinkat": 36, "linkat": 37,
            "open_by_handle_at": 265, "memfd_create": 279, "execveat": 281,
        },
    ),
}  # fmt: skip
"""Audit architecture and the numbers of the calls that are refused, by machine."""

_LANDLOCK = {"create_ruleset": 444, "add_rule": 445, "restrict_self": 446}
_READ_FILE, _READ_DIR, _EXECUTE = 1 << 2, 1 << 3, 1 << 0
_ALL_OF_FIRST_ABI = (1 << 13) - 1
_RULE_PATH_BENEATH = 1


def build_filter(machine: str) -> bytes:
    """Return the seccomp program: deny by list, threads allowed, processes not."""
    architecture, numbers = MACHINES[machine]
    clone = numbers["clone"]
    denied = sorted(number for name, number in numbers.items() if name not in ("clone", "clone3"))
    body = [
        (_LD_WORD, 0, 0, 4),  # the architecture
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LD_WORD, 0, 0, 0),  # the number of the call
        (_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        (_JUMP_EQUAL, 0, 1, numbers["clone3"]),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),  # its flags cannot be seen: the caller falls back
        (_JUMP_EQUAL, 0, 4, clone),
        (_LD_WORD, 0, 0, 16),  # clone's flags
        (_JUMP_SET, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
    ]
    for number in denied:
        body += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    body.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in body)


def limit_resources() -> None:
    """Bound processor time, memory, open files; nothing is written, not even a core."""
    for name, value in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, ADDRESS_BYTES),
        (resource.RLIMIT_DATA, DATA_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (value, value))
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")  # where memory runs out, this goes first, not the operator
    except OSError:
        pass  # no /proc: the limits above still hold


def restrict_files(libc: ctypes.CDLL, work: str, binary: str) -> bool:
    """Leave only the work folder readable and the binary executable; False: no Landlock here."""
    if libc.syscall(_LANDLOCK["create_ruleset"], None, 0, 1) < 1:
        return False
    handled = ctypes.c_uint64(_ALL_OF_FIRST_ABI)
    ruleset = libc.syscall(_LANDLOCK["create_ruleset"], ctypes.byref(handled), 8, 0)
    _check(ruleset, "landlock_create_ruleset")
    _allow(libc, ruleset, work, _READ_FILE | _READ_DIR)
    _allow(libc, ruleset, binary, _READ_FILE | _EXECUTE)
    for path in ("/dev/null", "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"):
        if os.path.exists(path):
            _allow(libc, ruleset, path, _READ_FILE)
    _check(libc.syscall(_LANDLOCK["restrict_self"], ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)
    return True


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))
    done = libc.syscall(_LANDLOCK["add_rule"], ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(place)
    _check(done, "landlock_add_rule")


def refuse_calls(libc: ctypes.CDLL, machine: str) -> None:
    """Install the seccomp filter on this process and on what it becomes."""
    program = build_filter(machine)
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    )
    seccomp = MACHINES[machine][1]["seccomp"]
    _check(libc.syscall(seccomp, 1, 0, ctypes.byref(header)), "seccomp")


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)


def main(words: list[str]) -> None:
    """Confine this process and become the binary; never returns."""
    work, binary = words[0], words[1]
    machine = platform.machine()
    try:
        if machine not in MACHINES:
            raise OSError(_ENOSYS, f"no filter for {machine}")
        libc = ctypes.CDLL(None, use_errno=True)
        os.chdir(work)
        os.umask(0o077)
        limit_resources()
        _check(libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "prctl")
        _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
        restrict_files(libc, work, binary)
        refuse_calls(libc, machine)
        environment = {"HOME": work, "GOMEMLIMIT": HEAP_TARGET, "GOMAXPROCS": "2"}
        os.execve(binary, words[1:], environment)  # noqa: S606 - the pinned renderer, nothing else
    except OSError as error:
        os.write(2, f"cannot confine the renderer: {error}\n".encode())
    os._exit(CANNOT_CONFINE)


if __name__ == "__main__":
    main(sys.argv[1:])
