"""What differs between two lists of packed items, and in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_shared import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagferry_publisher.tree import Item
    from dagferry_shared.strictjson import Json

_SHOWN = 4  # paths named in a line
_LONGEST = 60  # characters shown of a path


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs.

    Attributes:
        status: added, removed, changed, or mode (of a file whose content is the same).
        path: in the archive.
    """

    status: str
    path: str

    def as_json(self) -> dict[str, Json]:
        """Return it as ``--json`` prints it."""
        return {"status": self.status, "path": self.path}


def changes(old: Sequence[Item], new: Sequence[Item]) -> list[Change]:
    """Return what differs, by path."""
    before, after = _facts(old), _facts(new)
    was, now = ({path: oid for path, (oid, _) in facts.items()} for facts in (before, after))
    return [Change(status(was.get(path), now.get(path)), path) for path in differing(before, after)]


def differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Return the paths of which two trees know different things, sorted."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def status(before: object | None, after: object | None) -> str:
    """Say how a path differs: added, removed, changed, or mode.

    Args:
        before: what names its content; None if it was not there.
        after: the same, in the new tree.
    """
    if before is None or after is None:
        return "added" if before is None else "removed"
    return "mode" if before == after else "changed"


def _facts(items: Sequence[Item]) -> Mapping[str, tuple[str, str]]:
    return {item.path: (item.entry.oid, item.mode) for item in items}


def in_words(found: Sequence[Change]) -> str:
    """Say it in a line, the first paths by name: ``changed etl.py, added new.py``."""
    shown = [f"{change.status} {_short(change.path)}" for change in found[:_SHOWN]]
    more = [f"{len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return ", ".join(shown + more) or "no difference"


def _short(path: str) -> str:
    return names.clean_text(path if len(path) <= _LONGEST else f"…{path[-_LONGEST:]}")
