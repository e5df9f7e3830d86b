"""What a hook is told of a swap: environment variables for a command, a JSON document for a webhook."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from dagferry_puller.root import VERSIONS
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from dagferry_puller.options import Settings
    from dagferry_puller.status import LiveInfo


@dataclass(frozen=True, slots=True)
class Event:
    """A swap.

    Attributes:
        live: the version.
        settings: where it is live.
    """

    live: LiveInfo
    settings: Settings

    @property
    def id(self) -> str:
        """The same for each attempt, and another one for each swap: by it a receiver knows what it had before."""
        return f"{self.live.version}@{self.live.since or ''}"

    @property
    def path(self) -> str:
        """The version's own directory, which stays what it is at the next swap."""
        return os.path.join(os.path.abspath(self.settings.root), VERSIONS, self.live.version)

    def facts(self) -> dict[str, str]:
        """Return what a hook is told; what is not known is an empty text."""
        live, settings = self.live, self.settings
        root = os.path.abspath(settings.root)
        known = {
            "id": self.id,
            "bundle": settings.bundle,
            "channel": settings.channel,
            "commit": live.commit,
            "release": live.release,
            "tree": live.tree,
            "version": live.version,
            "repository": live.repository,
            "ref": live.ref,
            "dev": "true" if live.dev else "false",
            "epoch": live.epoch,
            "sequence": live.sequence,
            "action": live.action,
            "actor": live.actor,
            "reason": live.reason,
            "since": live.since,
            "host": os.uname().nodename,
            "root": root,
            "link": os.path.join(root, settings.link),
            "path": self.path,
        }
        return {name: "" if value is None else str(value) for name, value in known.items()}

    def environment(self, attempt: int) -> dict[str, str]:
        """Return the variables of a command: ``DAGFERRY_HOOK_<FACT>``, and the attempt's number."""
        facts = {**self.facts(), "attempt": str(attempt)}
        return {f"DAGFERRY_HOOK_{name.upper()}": value.replace("\0", "") for name, value in facts.items()}

    def body(self, attempt: int) -> bytes:
        """Return the document of a webhook."""
        return json.dumps({"event": "swap", **self.facts(), "attempt": attempt}).encode()
