"""Our own root in Airflow's bundle storage, for where no sidecar is: ``dagferry-puller once`` fills it.

The puller runs as a process of its own, so that it has one deadline, its memory is given back, and the S3 library's
threads are never in a process that Airflow forks (a fork of one that has used them hangs at its next request).
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

from dagferry_puller.airflow.held import recent
from dagferry_puller.exits import Exit, TimedOut
from dagferry_puller.leases import NoVersion
from dagferry_shared.errors import DagferryError, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_puller.airflow.held import Held

log = logging.getLogger("dagferry_puller.airflow")

TIMEOUT = "2m"  # for one pull, with the wait for another process that is pulling
_SPARE_SECONDS = 10.0  # the puller ends by itself at its timeout; this is for one that does not
_LEASE_ATTEMPTS = 3
# What is pulled, and how, is not for the environment to say, which may be shared with an init container.
_OURS = {f"DAGFERRY_{name}" for name in ("COMMIT", "PIN", "NO_LINK", "NO_RETRY", "OFFLINE_OK")}


class PullFailed(DagferryError):
    """A pull ended without the version; the text is what the puller said last."""


class Storage:
    """A root that the Airflow processes of a host share. The puller's lock lets one pull, the others wait for it.

    Args:
        root: its path.
        given: the puller's options as texts, by attribute (``keep_hours``); what is missing comes from ``environ``.
        environ: of this process.

    Attributes:
        environ: all of the puller's settings: it is started with them.
        is_configured: whether there is a store to pull from.
    """

    def __init__(self, root: str, given: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self.root = root
        inherited = {name: value for name, value in environ.items() if name not in _OURS}
        ours = {**given, "root": root, "link": "current", "log_format": "json"}
        self.environ = {
            "DAGFERRY_TIMEOUT": TIMEOUT,
            **inherited,
            **{f"DAGFERRY_{name.upper()}": value for name, value in ours.items()},
        }
        self.is_configured = bool(self.environ.get("DAGFERRY_STORE"))

    def head(self) -> Held:
        """Pull what the channel names and lease it.

        Raises:
            PullFailed, TimedOut, ConfigError: it cannot be had; what was live in the storage stays so.
        """
        return self._held(None)

    def standing(self) -> Held | None:
        """Lease what is live in the storage if it is whole and still trusted; the store is not asked."""
        try:
            held = recent.hold(self.root)
        except NoVersion:
            return None
        return held if self._is_good(held.version) else None

    def pinned(self, version: str) -> Held:
        """Lease a version; pulled if it is not in the storage as it was signed. The link stays as it is.

        Raises:
            PullFailed, TimedOut, ConfigError: it cannot be had.
            Refused: it is revoked, or not of this channel.
        """
        try:
            held = recent.hold(self.root, version=version)
            if self._is_good(version):
                return held
        except NoVersion:
            pass
        return self._held(version)

    def _held(self, version: str | None) -> Held:
        for _ in range(_LEASE_ATTEMPTS - 1):
            self._pull(version)
            try:
                return recent.hold(self.root, version=version)
            except NoVersion:  # retired by another process between the pull and the lease
                log.warning("version %s was retired at once: raise keep or keep_hours", version)
        self._pull(version)
        return recent.hold(self.root, version=version)

    def _is_good(self, version: str) -> bool:
        """Tell whether a version is whole and as it was signed, by its release's rules and its gitTree.

        Raises:
            Refused: the trust file does not accept its release (any more).
        """
        from dagferry_puller.airflow.verify import is_good  # noqa: PLC0415 - loads cryptography

        return is_good(self.environ, version)

    def _pull(self, version: str | None) -> None:
        # A task waits for a store that is away; the dag-processor has other bundles, and comes back in seconds.
        more = ["--pin", version, "--no-link"] if version else ["--no-retry"]
        # -P: the working directory may hold DAG code, and is no place to load the puller from
        command = [sys.executable, "-P", "-m", "dagferry_puller", "once", *more]
        try:
            done = subprocess.run(
                command,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=self._seconds(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TimedOut(f"the pull into {self.root} did not end within its timeout, and was ended") from error
        said = _relay(done.stderr.decode(errors="replace"))
        if done.returncode != Exit.OK:
            raise PullFailed(said or f"dagferry-puller once ended with {done.returncode}")

    def _seconds(self) -> float:
        from dagferry_puller.optionvalues import seconds  # noqa: PLC0415 - not needed with a sidecar

        try:
            return seconds(self.environ["DAGFERRY_TIMEOUT"]) + _SPARE_SECONDS
        except (Refused, ValueError):  # the puller says what is wrong with it
            return _SPARE_SECONDS


def _relay(text: str) -> str:
    """Log what the puller said as our own; returns its last word."""
    last = ""
    for line in text.splitlines():
        try:
            record = json.loads(line)
            level, last = logging.getLevelName(record["level"].upper()), record["message"]
        except (ValueError, TypeError, KeyError, AttributeError):
            level, last = logging.ERROR, line.partition("error: ")[2] or line
        log.log(level if isinstance(level, int) else logging.INFO, "%s", last)
    return last.strip()
