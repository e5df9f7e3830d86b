"""Telling people: a webhook gets a JSON document with a text for a chat, after a channel moved or failed to.

The document has ``text``, which Slack, Mattermost, Rocket.Chat and Google Chat show, and the facts beside it for
everything else. A webhook's address lets whoever knows it write there, so it is never shown. What comes from commits
and people's reasons can mention nobody and link to nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dagferry_publisher import posting
from dagferry_publisher.errors import UsageError
from dagferry_publisher.keyring import read_bounded
from dagferry_publisher.posting import Poster

if TYPE_CHECKING:
    from collections.abc import Sequence
    from urllib.parse import SplitResult

SECONDS = 5.0  # for all addresses
SUCCESS = "{bundle}/{channel}: {action} {short} by {actor} (sequence {sequence}){why}{hold}"
FAILURE = "{bundle}/{channel}: {action} {short} by {actor} FAILED ({error_reason}): {error}"
_MAX_FILE = 16 * 1024  # bytes
_NAME = re.compile(r"\{([a-z_]*)\}")
_TAMED = str.maketrans({"<": "(", ">": ")", "@": "(at)", "\n": " ", "\r": " "})


@dataclass(frozen=True, slots=True)
class Event:
    """What happened. Empty texts and 0 stand for what is not known.

    Attributes:
        action: the command.
        ok: whether the channel is as it was to be.
        bundle: name.
        channel: name.
        commit: full id, or as it was given.
        dev: whether it is uncommitted work on that commit.
        epoch: of the entry.
        sequence: of the entry.
        actor: who did it.
        reason: why, in words.
        held: whether the channel is held now.
        note: what else there is to say.
        error_reason: of a failure, as in ``--json``.
        error: the same in words.
        exit_code: of the command.
        pipeline: address of the CI job.
        at: when.
    """

    action: str
    ok: bool
    bundle: str = ""
    channel: str = ""
    commit: str = ""
    epoch: int = 0
    sequence: int = 0
    actor: str = ""
    reason: str = ""
    held: bool = False
    note: str = ""
    error_reason: str = ""
    error: str = ""
    exit_code: int = 0
    pipeline: str = ""
    at: str = ""
    dev: bool = False

    def words(self) -> dict[str, str]:
        """Return what a template may name."""
        facts = {name: str(value).translate(_TAMED) for name, value in asdict(self).items()}
        why = f": {facts['reason']}" if self.reason else ""
        hold = "; the channel is HELD" if self.held else ""
        return {**facts, "short": facts["commit"][:12] + ("+dev" if self.dev else ""), "why": why, "hold": hold}


def check_template(template: str, option: str) -> str:
    """Accept a text whose names in braces are known; UsageError names the one that is not."""
    known = Event("", ok=True).words()
    for name in _NAME.findall(template):
        if name not in known:
            raise UsageError(f"--{option} names {{{name}}}; known: {', '.join(sorted(known))}")
    return template


def render(event: Event, template: str) -> str:
    """Fill in a template; it is the only thing in the text that may mention or link."""
    words = event.words()
    return _NAME.sub(lambda match: words.get(match[1], match[0]), template)


def body(event: Event, template: str) -> bytes:
    """Return what is sent."""
    return json.dumps({"text": render(event, template), **asdict(event)}, ensure_ascii=False).encode()


def addresses(words: Sequence[str]) -> list[SplitResult]:
    """Read addresses; ``@FILE`` is a file of them, one a line.

    Raises:
        UsageError: one of them is none; it is not repeated.
    """
    texts: list[str] = []
    for word in words:
        if word.startswith("@"):
            texts += read_bounded(word[1:], "announce", _MAX_FILE).decode("utf-8", "replace").split()
        else:
            texts.append(word)
    return [posting.address(text, "announce") for text in texts]


def shown(url: SplitResult) -> str:
    """Return what of an address may be shown: whom it belongs to."""
    return f"{url.scheme}://{url.hostname}/…"


def announcer(urls: Sequence[SplitResult]) -> Poster:
    """Make what posts to them."""
    return Poster(urls, {"Content-Type": "application/json; charset=utf-8"}, SECONDS, shown)
