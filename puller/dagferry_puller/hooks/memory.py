"""Which swap a hook last had success with: a small file in the root, so that a restart knows what is still to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_puller.logs import log
from dagferry_puller.root import META
from dagferry_shared import names, strictjson
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from dagferry_puller.options import Settings

_LIMIT = 4096  # bytes
_ATTEMPTS = 3  # a sync that tidies up may take a temporary file away


class Memory:
    """The file of one hook.

    Args:
        settings: where the root is, and whether it is worth an fsync.
        name: of the hook.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._root = os.path.abspath(settings.root)
        self._durable = not settings.no_fsync
        self._file = f"hook-{name}.json"

    def succeeded_with(self) -> str | None:
        """Return the id of the last swap that was told; None if there is none, or nobody knows."""
        try:
            with fsio.closing(self._open()) as meta:
                raw = fsio.read_file(self._file, meta, limit=_LIMIT)
            if raw is None:
                return None
            return strictjson.Fields(strictjson.parse_object(raw, self._file, limit=_LIMIT), self._file).text(
                "succeeded", names.text
            )
        except (OSError, Refused):  # telling it once more is the safe way
            return None

    def success(self, swap: str) -> None:
        """Remember a swap; a failure costs a second telling after a restart."""
        data = strictjson.encode({"succeeded": swap})
        for left in reversed(range(_ATTEMPTS)):
            try:
                with fsio.closing(self._open()) as meta:
                    fsio.save(self._file, data, meta, durable=self._durable)
                return
            except OSError as error:
                if not left:
                    log.warning("%s could not be written: %s", self._file, error.strerror)

    def _open(self) -> int:
        with fsio.closing(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
            return fsio.directory(META, root)
