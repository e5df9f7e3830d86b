"""Exit codes, and the one place that maps an error to its code and its line."""

from __future__ import annotations

from enum import IntEnum

from dagferry_shared.errors import BlobMissing, DagferryError, Refused, StoreDenied, StoreError


class Exit(IntEnum):
    """What the command's exit code says; ``dagctl`` uses the same numbers for the same things."""

    OK = 0
    UNEXPECTED = 1
    CONFIG = 2
    REFUSED = 3
    UNREACHABLE = 7
    NOT_FOUND = 8
    DENIED = 9
    TIMEOUT = 11


TABLE = """\
exit codes:
   0  done; run: ended by SIGTERM or SIGINT
   1  unexpected, or the volume failed (disk full, read-only)
   2  usage or configuration: the line says which setting is wrong
   3  refused: what the store holds is not trusted, not whole, or did not pass the check
   7  the store cannot be reached
   8  not found: no such pointer, release, archive, or no such commit in the history
   9  the store denied access, or the credentials are wrong
  11  --timeout passed, or another puller did not finish in time
"""


class ConfigError(DagferryError):
    """A setting is wrong; nothing was changed.

    Args:
        setting: the option, e.g. ``--root``.
        detail: what is wrong with it and what to do, in one line without secrets.
    """

    def __init__(self, setting: str, detail: str) -> None:
        super().__init__(f"{setting}: {detail}")
        self.setting = setting


class TimedOut(DagferryError):
    """The time given by ``--timeout`` passed."""


_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigError, Exit.CONFIG),
    (Refused, Exit.REFUSED),
    (TimedOut, Exit.TIMEOUT),
    (BlobMissing, Exit.NOT_FOUND),
    (StoreDenied, Exit.DENIED),
    (StoreError, Exit.UNREACHABLE),
)


def code_for(error: BaseException) -> Exit:
    """Return the exit code that an error means."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return Exit.UNEXPECTED


def line_for(error: BaseException) -> str:
    """Return one line that says what went wrong and, where it is known, what to do."""
    if isinstance(error, Refused):
        return f"refused ({error.reason}): {error.detail}"
    if isinstance(error, DagferryError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename else ""
        return f"the volume failed: {error.strerror or error}{place} (is it full, read-only or not ours?)"
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
