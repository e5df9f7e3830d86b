"""What ``--keep-list`` names: a word a line, ``#`` begins a comment."""

from __future__ import annotations

import re

from dagferry_publisher.errors import UsageError

MAX_FILE = 1 << 20  # bytes
_WORD = re.compile(r"[0-9a-f]{7,64}|(?:[0-9a-f]{40}|[0-9a-f]{64})-[0-9a-f]{64}")


def parse(data: bytes) -> tuple[str, ...]:
    """Read version ids, commits (7 digits or more) and digests.

    Raises:
        UsageError: a line is none of them: a typo must not let go of what is needed.
    """
    words = []
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError("--keep-list is not UTF-8") from error
    for number, line in enumerate(lines, 1):
        word = line.partition("#")[0].strip().lower()
        if word and not _WORD.fullmatch(word):
            raise UsageError(
                f"--keep-list, line {number}: {word[:80]!r} is no version id, commit (7 hex digits or more) or digest"
            )
        words.append(word)
    return tuple(dict.fromkeys(filter(None, words)))
