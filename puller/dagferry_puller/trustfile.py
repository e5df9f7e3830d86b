"""The trust file as a puller uses it: one stat a poll, one snapshot a sync."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagferry_shared import trust
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from dagferry_puller.options import Settings


class TrustSource:
    """Where the rules come from.

    Attributes:
        generation: grows with each new content: who remembers it sees that the rules changed.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.trust
        self._bundle = settings.bundle
        self._channel = settings.channel
        self._signature: tuple[int, ...] = ()
        self._raw = b""
        self._rules: Rules | None = None
        self.generation = 0

    def rules(self) -> Rules:
        """Return the rules of the file as it is now.

        While a file is unreadable or malformed every sync is refused: nothing new is activated under rules that
        somebody meant to change. The rules in force before (``last``) stay for what is live.

        Raises:
            Refused: MALFORMED, OVERSIZE, BAD_KEY, WRONG_BUNDLE, UNTRUSTED_CHANNEL.
        """
        try:
            info = os.stat(self._path)  # a ConfigMap's file is a link that changes its target
            signature = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
            if signature != self._signature or self._rules is None:
                with open(self._path, "rb") as file:
                    raw = file.read(trust.MAX_TRUST_FILE + 1)
                self._take(raw)
                self._signature = signature
        except OSError as error:
            self._signature = ()
            raise Refused(Reason.MALFORMED, f"trust file {self._path}: {error.strerror}") from error
        assert self._rules is not None  # noqa: S101 - for the type checker: _take raises or sets it
        return self._rules

    @property
    def last(self) -> Rules | None:
        """The last good rules."""
        return self._rules

    def _take(self, raw: bytes) -> None:
        if raw == self._raw and self._rules is not None:
            return
        self._signature = ()
        parsed = trust.parse(raw)
        if parsed.bundle != self._bundle:
            raise Refused(Reason.WRONG_BUNDLE, f"trust file is for bundle {parsed.bundle!r}, not {self._bundle!r}")
        self._rules = Rules(parsed, self._channel)
        self._raw = raw
        self.generation += 1
