"""Checks of the single words that documents, keys and paths are made of.

Each check takes a value and the place it stands in, and returns the value or raises Refused(MALFORMED), so that it
fits ``Fields.text`` as well as an option of a command.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagferry_shared.errors import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TEXT = 1000  # characters of a reason, an actor, a subject line

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HEX = frozenset("0123456789abcdef")


def _matching(matches: Callable[[str], object], words: str) -> Callable[[str, str], str]:
    def check(value: str, where: str) -> str:
        if not matches(value):
            raise Refused(Reason.MALFORMED, f"{where} {value[:80]!r} is not {words}")
        return value

    return check


def _is_digest(value: str) -> bool:
    return len(value) == 64 and _HEX.issuperset(value)


def _is_commit(value: str) -> bool:
    return len(value) in {40, 64} and _HEX.issuperset(value)


name = _matching(_NAME.fullmatch, "a name ([a-z0-9][a-z0-9._-]*, at most 63 characters)")
sha256 = _matching(_is_digest, "a SHA-256 digest (64 hex digits)")
commit = _matching(_is_commit, "a full commit id (40 or 64 hex digits)")
digest_or_commit = _matching(_is_commit, "a full commit id or a release digest")
channel_pattern = _matching(
    re.compile(r"[a-z0-9*][a-z0-9._*-]{0,62}").fullmatch, "a channel name, or a pattern of one with *"
)


def is_safe_text(value: str) -> bool:
    """Tell whether a text has no control, bidi or surrogate characters: it can be shown as it is."""
    if value.isascii():
        return value.isprintable()  # here: no control character
    import unicodedata  # noqa: PLC0415 - a megabyte that most pullers never look at

    return all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in value)


def text(value: str, where: str) -> str:
    """Accept a line of free text (may be empty)."""
    if len(value) > MAX_TEXT:
        raise Refused(Reason.OVERSIZE, f"{where} is longer than {MAX_TEXT} characters")
    if not is_safe_text(value):
        raise Refused(Reason.MALFORMED, f"{where} holds a control or direction character")
    return value


def word(value: str, where: str) -> str:
    """Accept a line of free text that is not empty and has no space around it."""
    if not value or value != value.strip():
        raise Refused(Reason.MALFORMED, f"{where} is empty or has space around it")
    return text(value, where)


def clean_text(value: str) -> str:
    """Make any string a valid text: what it may not hold becomes a space, what is too long is cut."""
    kept = "".join(char if is_safe_text(char) else " " for char in value)
    return kept[:MAX_TEXT].strip()


def version_id(commit_id: str, release_digest: str) -> str:
    """Make the id of a version: ``<commit>-<release digest>``."""
    return f"{commit_id}-{release_digest}"


def split_version_id(value: str) -> tuple[str, str]:
    """Split a version id into commit and release digest; Refused(MALFORMED) if it is none."""
    commit_id, _, release_digest = value.partition("-")
    if not (_is_commit(commit_id) and _is_digest(release_digest)):
        raise Refused(Reason.MALFORMED, f"{value[:80]!r} is not a version id (<commit>-<release digest>)")
    return commit_id, release_digest
