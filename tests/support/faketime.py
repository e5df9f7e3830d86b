"""A wrong clock for a whole process, by libfaketime."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from support import debian

_PACKAGE = "libfaketime"
_LIBRARY = "*/faketime/libfaketime.so.1"


@functools.cache
def _library() -> Path | None:
    if not any(Path("/usr/lib").glob(_LIBRARY)) and os.geteuid() == 0:
        debian.install(_PACKAGE)
    return next(Path("/usr/lib").glob(_LIBRARY), None)


def shifted(minutes: int) -> dict[str, str]:
    """Return what a process needs in its environment to believe that it is so much later; monotonic time stays right.

    Installs the library where it is missing and this is root; else skips the test.
    """
    library = _library()
    if library is None:
        pytest.skip(f"needs {_PACKAGE}: apt-get install {_PACKAGE}")
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{minutes * 60:+d}", "DONT_FAKE_MONOTONIC": "1"}
