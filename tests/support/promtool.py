"""Prometheus' own tool, of Debian's package: installed where it is missing and this is root."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from support import debian


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run promtool, however it ends."""
    if not shutil.which("promtool"):
        if os.geteuid() != 0:
            pytest.skip("promtool is missing: apt-get install prometheus")
        debian.install("prometheus")
    return subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
