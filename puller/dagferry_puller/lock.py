"""Who owns a root: one flock on ``.dagferry/lock``; its content tells people and other pullers who that is."""

from __future__ import annotations

import fcntl
import os

from dagferry_puller import fsio
from dagferry_shared import names, strictjson
from dagferry_shared.errors import Refused
from dagferry_shared.values import asdict, dataclass

LOCK = "lock"
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Owner:
    """A puller as it names itself in the lock file."""

    mode: str  # "run" or "once"
    bundle: str
    channel: str
    host: str
    pid: int

    @staticmethod
    def me(mode: str, bundle: str, channel: str) -> Owner:
        """Describe this process."""
        return Owner(mode, bundle, channel, os.uname().nodename, os.getpid())

    def __str__(self) -> str:
        return f"{self.mode} of {self.bundle}/{self.channel}, pid {self.pid} on {self.host}"


def acquire(meta: int, me: Owner) -> int | None:
    """Take the lock of a root; returns the descriptor that holds it, None if another puller does.

    Args:
        meta: the open ``.dagferry``.
        me: written into the lock file for others to read.
    """
    fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=meta)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Somebody may have removed the file between open and flock: a lock on a nameless file guards nothing.
        if not is_held(fd, meta):
            os.close(fd)
            return None
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    _introduce(fd, me)
    return fd


def is_held(fd: int, meta: int) -> bool:
    """Tell whether a lock that we took is still the one at its path: who removes the file lets another owner in."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(LOCK, dir_fd=meta))
    except FileNotFoundError:
        return False


def _introduce(fd: int, me: Owner) -> None:
    """Write who we are. On a full disk nobody learns it, which is no reason not to serve a good tree."""
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, strictjson.encode(asdict(me)), 0)
    except OSError:
        return


def owner(meta: int) -> Owner | None:
    """Read who says to own the root; None if the file does not tell. A hint for messages, never a proof."""
    try:
        raw = fsio.read_file(LOCK, meta, limit=_MAX_BYTES)
        fields = strictjson.Fields(strictjson.parse_object(raw or b"", "lock", limit=_MAX_BYTES), "lock")
        return Owner(
            mode=fields.text("mode", names.word),
            bundle=fields.text("bundle", names.name),
            channel=fields.text("channel", names.name),
            host=fields.text("host", names.text),
            pid=fields.integer("pid"),
        )
    except (Refused, OSError):
        return None
