"""What an unprivileged process can ask the kernel to take from it: namespaces, writes, capabilities, signals.

By ``ctypes``, as Python 3.11 has none of these calls. Each function says whether it was allowed, or raises OSError.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set

_libc = ctypes.CDLL(None, use_errno=True)

_CLONE = {"user": 0x10000000, "mounts": 0x20000, "pids": 0x20000000, "ipc": 0x08000000}
_CLONE_NEWNET = 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000  # the number is the same on every architecture
_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 24, 36, 38
_CAPABILITIES = 64  # more than there are; the kernel answers EINVAL for the rest
_CAPABILITY_VERSION_3 = 0x20080522


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3), f"prctl {option}")


def die_with_parent() -> None:
    """Be killed when the process that made this one ends, however it ends."""
    _prctl(_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets away."""
    _prctl(_SUBREAPER, 1)


def children() -> frozenset[int]:
    """Return the ids of this process's children."""
    with open("/proc/thread-self/children", encoding="ascii") as file:
        return frozenset(int(word) for word in file.read().split())


def kill_children(*, spared: Set[int] = frozenset()) -> bool:
    """Kill this process's children and bury who is dead; tells whether there were any.

    After ``adopt_orphans`` their children become this process's own, so repeat it until there are none.

    Args:
        spared: children that are somebody else's business.
    """
    found = children() - spared
    for child in found:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, os.WNOHANG)
    return bool(found)


def hide_memory(*, hidden: bool) -> None:
    """Decide whether another process of this user may look into this one's memory, descriptors and environment."""
    _prctl(_DUMPABLE, int(not hidden))


def drop_privileges() -> None:
    """Give up every capability, for good: also a program of root's gets none back."""
    for capability in range(_CAPABILITIES):
        with suppress(OSError):  # not one of this kernel's, or never had
            _prctl(_CAPBSET_DROP, capability)
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(header, none), "capset")
    _prctl(_NO_NEW_PRIVS, 1)


def own_namespaces(*, network: bool) -> None:
    """Enter a user namespace of one's own, and in it others; the next child is process 1 of its own.

    Args:
        network: whether the network stays.

    Raises:
        OSError: not permitted (a container's seccomp profile, AppArmor, a limit); nothing has changed.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags = sum(_CLONE.values()) | (0 if network else _CLONE_NEWNET)
    _checked(_libc.unshare(flags), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _mount(kind: str, target: str, flags: int, options: str = "") -> None:
    arguments = (kind.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _checked(_libc.mount(*arguments), f"mount {kind} on {target}")


def read_only_files(writable: str, size: int) -> None:
    """Make every file system read-only in this mount namespace, but for an empty one in memory.

    Args:
        writable: a directory; what is in it is hidden.
        size: bytes that fit.

    Raises:
        OSError: not permitted, or a kernel before 5.12.
    """
    _mount("none", "/", _MS_REC | _MS_PRIVATE)
    attributes = (ctypes.c_uint64 * 4)(1, 0, 0, 0)  # set MOUNT_ATTR_RDONLY
    call = (ctypes.c_long(_MOUNT_SETATTR), _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, ctypes.sizeof(attributes))
    _checked(_libc.syscall(*call), "mount_setattr")
    flags, options = _MS_NOSUID | _MS_NODEV, f"mode=700,size={size}"
    _mount("tmpfs", writable, flags, options)
    for hidden in ("/dev/shm", "/run/secrets", "/var/run/secrets"):  # noqa: S108 - multiprocessing; service accounts
        if os.path.isdir(hidden):
            _mount("tmpfs", hidden, flags, options)
    with suppress(OSError):  # a container that masks parts of /proc gets no other; the old one shows outer processes
        _mount("proc", "/proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


# Landlock: needs no namespace, and container runtimes permit it where they refuse unshare.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_WRITE_FILE, _TRUNCATE, _REFER = 1 << 1, 1 << 14, 1 << 13
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # write, remove and make, of every kind
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract sockets and signals of processes outside
ABI_TRUNCATE, ABI_TCP, ABI_SIGNALS = 3, 4, 6


def landlock_abi() -> int:
    """Return what the kernel's Landlock can do: 0 is nothing, see the ``ABI_`` numbers."""
    return max(0, int(_libc.syscall(ctypes.c_long(_CREATE), None, ctypes.c_size_t(0), 1)))


def landlock(writable: tuple[str, ...], *, network: bool) -> None:
    """Forbid this process and what it starts to change files elsewhere, to use TCP, and to signal who is outside.

    Args:
        writable: directories that may be changed; those that are not there are left out.
        network: whether TCP stays.

    Raises:
        OSError: the kernel refused; one without Landlock does nothing.
    """
    abi = landlock_abi()
    if not abi:
        return
    changes = _CHANGES | (_REFER if abi > 1 else 0) | (_TRUNCATE if abi >= ABI_TRUNCATE else 0)
    tcp = _TCP if abi >= ABI_TCP and not network else 0
    attributes = (ctypes.c_uint64 * 3)(changes, tcp, _SCOPES if abi >= ABI_SIGNALS else 0)
    size = ctypes.c_size_t(24 if abi >= ABI_SIGNALS else 16 if abi >= ABI_TCP else 8)
    rules = _checked(_libc.syscall(ctypes.c_long(_CREATE), attributes, size, 0), "landlock")
    try:
        for path in filter(os.path.isdir, writable):
            _allow(rules, path, changes)
        _allow(rules, "/dev", changes & (_WRITE_FILE | _TRUNCATE))  # /dev/null
        _checked(_libc.syscall(ctypes.c_long(_RESTRICT), rules, 0), "landlock")
    finally:
        os.close(rules)


def _allow(rules: int, path: str, changes: int) -> None:
    below = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = changes.to_bytes(8, sys.byteorder) + below.to_bytes(4, sys.byteorder)  # packed: no padding
        _checked(_libc.syscall(ctypes.c_long(_ADD), rules, 1, rule, 0), "landlock")
    finally:
        os.close(below)
