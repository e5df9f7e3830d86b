"""Real file systems with real limits, in a mount namespace of the test process: they vanish with it in any case."""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_NEW_NAMESPACE = 0x00020000  # CLONE_NEWNS

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED LOUDLY: needs root to mount or to change the user")


@cache
def enter_own_namespace() -> None:
    """Give this process, and those that it starts from now on, mounts of their own; skip where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NAMESPACE) != 0:
        pytest.skip(f"SKIPPED LOUDLY: no mount namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def mount(*arguments: str | Path) -> None:
    """Call ``mount``."""
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


def unmount(path: Path) -> None:
    """Take a mount away at once, also from those who use it."""
    subprocess.run(["umount", "-l", str(path)], check=True, capture_output=True)


def tmpfs(path: Path, options: str) -> Path:
    """Mount a tmpfs on a directory, which is made if it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", options, "tmpfs", path)
    return path


def resize(path: Path, options: str) -> None:
    """Change the limits of a tmpfs."""
    mount("-o", f"remount,{options}", path)


def fill(directory: Path, spare: int = 0) -> Path:
    """Fill a file system but for some bytes; returns the file to remove."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - spare))
    return filler
