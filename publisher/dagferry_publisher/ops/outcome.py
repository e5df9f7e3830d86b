"""What an operation did, for people and for ``--json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed
    from dagferry_shared.strictjson import Json


def pointer_json(content: Pointer) -> dict[str, Json]:
    """Return a pointer as ``--json`` shows it: its payload's fields."""
    return asdict(content)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an operation that changed the channel, or found that it need not.

    Attributes:
        action: the operation's name.
        changed: whether a new entry was written.
        pointer: the live pointer after it; None for a dry run on a new channel.
        note: one line for a person, e.g. what a later resume would deploy.
        dry_run: nothing was written; the note says what would have been.
        dev: what was published is uncommitted work.
    """

    action: str
    changed: bool
    pointer: Signed[Pointer] | None
    note: str = ""
    dry_run: bool = False
    dev: bool = False

    def as_json(self) -> dict[str, Json]:
        """Return the document that ``--json`` prints."""
        return {
            "action": self.action,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "dev": self.dev,
            "note": self.note,
            "pointer": pointer_json(self.pointer.content) if self.pointer else None,
        }
