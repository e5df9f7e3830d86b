"""A root that a sidecar, an init container or a node agent owns. It is read and leased here, and never written to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagferry_puller.airflow.errors import Missing
from dagferry_puller.airflow.held import recent
from dagferry_puller.leases import NoVersion

if TYPE_CHECKING:
    from dagferry_puller.airflow.held import Held


class Sidecar:
    """Somebody else's root.

    Args:
        root: its path; empty: there is none.
        link: the link's path below it.
    """

    def __init__(self, root: str, link: str) -> None:
        self.root = root
        self._link = link

    @property
    def is_there(self) -> bool:
        """Whether a puller has made a root of the directory."""
        return bool(self.root) and os.path.isdir(os.path.join(self.root, ".dagferry"))

    def head(self) -> Held:
        """Lease what is live; Missing if nothing is yet, or no longer."""
        try:
            return recent.hold(self.root, self._link)
        except NoVersion as error:
            raise Missing(
                f"nothing is live in {self.root} ({error}): see the log and /status of the dagferry-puller that owns it"
            ) from error

    def pinned(self, version: str) -> Held | None:
        """Lease a version; None if it is not on the root (any more)."""
        try:
            return recent.hold(self.root, self._link, version)
        except NoVersion:
            return None

    def peek(self, version: str | None) -> str | None:
        """Return the directory of a version, or of the live one, without a lease; None if it is not there."""
        return peek(self.root, self._link, version) if self.root else None


def peek(root: str, link: str, version: str | None) -> str | None:
    """Return the directory of a version, or of what the link names, without a lease; None if it is not there."""
    try:
        wanted = version or os.path.basename(os.readlink(os.path.join(root, link)))
    except OSError:
        return None
    directory = os.path.join(root, "versions", wanted)
    return directory if os.path.isdir(directory) else None
