"""Packages of Debian that a test needs: installed where they are missing and this is root, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from pathlib import Path


def install(*packages: str) -> None:
    """Install packages without starting their services.

    Raises:
        subprocess.CalledProcessError: apt-get says no.
    """
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-unsafe-io"]
    with (Path(tempfile.gettempdir()) / "dagferry-tests-apt.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # "update" waits for no other one by itself
        for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            subprocess.run([*apt, *words], env=environ, check=True, stdout=subprocess.DEVNULL, timeout=600)
