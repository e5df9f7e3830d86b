"""What Airflow had before: how many DAGs, and which files it could not import."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher.errors import UsageError
from dagferry_publisher.keyring import read_bounded
from dagferry_shared import names, strictjson
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from datetime import datetime

    from dagferry_shared.airflowapi.parsed import Snapshot

_FORMAT = 1
_LIMIT = 16 << 20  # bytes
_MOST = 20_000  # files


@dataclass(frozen=True, slots=True)
class Baseline:
    """What Airflow had before.

    Attributes:
        dags: how many.
        failing: bundle and path of each file that it could not import.
        unsure: files that failed at the start of a wait, by an error that was stored after the pointer was signed: it
            may be this version's. They count as new; a baseline of before the publish has none.
    """

    dags: int
    failing: frozenset[tuple[str, str]]
    unsure: frozenset[tuple[str, str]] = frozenset()

    def write(self, path: str) -> None:
        """Write it to a file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        failing = [[bundle, file] for bundle, file in sorted(self.failing)]
        content = strictjson.encode({"format": _FORMAT, "dags": self.dags, "failing": [*failing]})
        descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".snapshot-")
        try:
            with open(descriptor, "wb") as file:
                file.write(content + b"\n")
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise


def of_before(snapshot: Snapshot) -> Baseline:
    """Return the baseline of a snapshot that was taken before a publish."""
    return Baseline(len(snapshot.dags), frozenset(snapshot.failing))


def of_start(snapshot: Snapshot, issued: datetime) -> Baseline:
    """Return the baseline of a snapshot that was taken when a wait began, which may be too late."""
    late = frozenset((one.bundle, one.file) for one in snapshot.failures if one.at >= issued)
    return Baseline(len(snapshot.dags), frozenset(snapshot.failing) - late, late)


def read(path: str) -> Baseline:
    """Read what ``--snapshot`` wrote.

    Raises:
        UsageError: it is something else.
    """
    raw = read_bounded(path, "baseline", _LIMIT)
    try:
        fields = strictjson.Fields(strictjson.parse_object(raw, "the baseline", limit=_LIMIT), "the baseline")
        if fields.integer("format") != _FORMAT:
            strictjson.refuse("the baseline is of another version")
        return Baseline(fields.integer("dags"), frozenset(_pair(entry) for entry in _list(fields.raw("failing"))))
    except Refused as refusal:
        raise UsageError(f"--baseline {path}: {refusal.detail}") from refusal


def _list(value: object) -> list[object]:
    if not isinstance(value, list) or len(value) > _MOST:
        strictjson.refuse("the baseline's failing is not a list")
    return value


def _pair(value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(word, str) for word in value):
        strictjson.refuse("an entry of the baseline's failing is not a bundle and a file")
    bundle, file = (names.clean_text(word) for word in value)
    return bundle, file
