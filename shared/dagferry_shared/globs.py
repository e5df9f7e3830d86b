"""One glob dialect for paths (the selection) and refs, matched in at most parts x segments steps.

``*`` and ``?`` stay within a path component, ``[abc]`` and ``[!abc]`` are sets, ``**`` as a whole component spans any
number of them. A selection pattern without ``/`` matches a component at any depth; one with ``/`` is anchored at the
archive's root. A pattern that matches a directory takes all that is below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.errors import Reason, Refused
from dagferry_shared.names import word

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PATTERN = 200  # characters
_SPECIAL = frozenset("*?[")


def pattern(value: str, where: str) -> str:
    """Accept a glob (a check for ``Fields.text``)."""
    if len(value) > MAX_PATTERN or value.count("*") > 16:
        raise Refused(Reason.OVERSIZE, f"{where} is a glob longer than {MAX_PATTERN} characters or of over 16 *")
    if value.startswith("/") or value.endswith("/") or "//" in value or "\\" in value:
        raise Refused(Reason.MALFORMED, f"{where} {value!r} begins or ends with / or holds // or \\")
    if {".", ".."} & set(value.split("/")):
        raise Refused(Reason.MALFORMED, f"{where} {value!r} has a . or .. component, which no path has")
    return word(value, where)


def _fits(part: str, segment: str) -> bool:
    if _SPECIAL.isdisjoint(segment):
        return part == segment
    import fnmatch  # noqa: PLC0415 - most refs of a trust file are plain names

    return fnmatch.fnmatchcase(part, segment)


def _match(segments: Sequence[str], parts: Sequence[str]) -> bool:
    at = 0  # the next segment
    after, held = -1, 0  # the segment after the last **, and the first part that ** does not hold
    i = 0
    while i < len(parts):
        if at < len(segments) and segments[at] == "**":
            at += 1
            after, held = at, i
        elif at < len(segments) and _fits(parts[i], segments[at]):
            at, i = at + 1, i + 1
        elif after >= 0:  # only the last ** ever has to take one part more: at most len(segments) * len(parts) steps
            held += 1
            at, i = after, held
        else:
            return False
    return all(segment == "**" for segment in segments[at:])


def _collapse(glob: str) -> list[str]:
    segments: list[str] = []
    for segment in glob.split("/"):
        if segment != "**" or segments[-1:] != ["**"]:
            segments.append(segment)
    return segments


def matches(glob: str, value: str) -> bool:
    """Tell whether the whole of a ``/``-separated value matches."""
    return _match(_collapse(glob), value.split("/"))


def covers(glob: str, path: str) -> bool:
    """Tell whether a selection pattern takes a path: it matches the path or a directory above it."""
    parts = path.split("/")
    if "/" not in glob:
        return any(_fits(part, glob) for part in parts) if glob != "**" else True
    segments = _collapse(glob)
    return any(_match(segments, parts[:n]) for n in range(1, len(parts) + 1))


def selects(include: Sequence[str], exclude: Sequence[str], path: str) -> bool:
    """Apply a selection to a path: no include means all; exclude wins."""
    if include and not any(covers(glob, path) for glob in include):
        return False
    return not any(covers(glob, path) for glob in exclude)
