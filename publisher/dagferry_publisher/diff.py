"""What changed between two releases: by file, with content."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher.changes import differing, status
from dagferry_publisher.stored import contents, fetched, kind, read_checked

if TYPE_CHECKING:
    from dagferry_publisher.chain import Chain
    from dagferry_shared.release import Release
    from dagferry_shared.strictjson import Json

MAX_TEXT = 512 * 1024  # bytes of a file that is shown by lines


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs.

    Attributes:
        path: its path.
        status: ``added``, ``removed``, ``changed`` or ``mode`` (same content, other kind).
        before: kind before (``file``, ``executable``, ``symlink``), empty if it was not there.
        after: kind after.
        lines: a unified diff, or one line that says why there is none.
    """

    path: str
    status: str
    before: str
    after: str
    lines: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        """Return the change as ``--json`` shows it."""
        return {
            "path": self.path,
            "status": self.status,
            "before": self.before or None,
            "after": self.after or None,
            "diff": "\n".join(self.lines),
        }


def _text(data: bytes) -> list[str] | None:
    if len(data) > MAX_TEXT or b"\0" in data:
        return None
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return None


def _lines(path: str, old: bytes, new: bytes) -> tuple[str, ...]:
    before, after = _text(old), _text(new)
    if before is None or after is None:
        return (f"binary or large: {len(old)} -> {len(new)} bytes",)
    return tuple(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}", lineterm=""))


def diff(chain: Chain, old: Release, new: Release) -> list[Change]:
    """Compare two releases' trees; both archives are verified on the way."""
    with fetched(chain, old) as old_file, fetched(chain, new) as new_file:
        before, after = read_checked(old_file, old).leaves, read_checked(new_file, new).leaves
        paths = differing(before, after)
        old_content, new_content = contents(old_file, old, set(paths)), contents(new_file, new, set(paths))
    changes = []
    for path in paths:
        was, now = before.get(path), after.get(path)
        lines = _lines(path, old_content.get(path, b""), new_content.get(path, b""))
        kinds = kind(was.mode) if was else "", kind(now.mode) if now else ""
        changes.append(Change(path, status(was and was.blob, now and now.blob), *kinds, lines))
    return changes
