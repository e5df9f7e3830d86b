"""Operations of a publisher to disturb, and what a store may look like after it: to a puller, to ``dagctl verify``."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dagferry_publisher.audit import Audit
from dagferry_publisher.chain import Chain
from dagferry_publisher.stored import fetched, read_checked
from dagferry_shared import envelope, pointer, times
from dagferry_shared.errors import BlobMissing
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_publisher.chain import Position
    from support.sites import Site

OK, USAGE, REFUSED, CONFLICT, HELD, UNREACHABLE = 0, 2, 3, 4, 5, 7
NO_COPY = "the live pointer has no history copy (the next publish writes it)"
POINTER = "channels/main/pointer.json"


@dataclass(frozen=True)
class Operation:
    """A command that writes.

    Attributes:
        before: commands that make the channel on which it runs.
        command: itself; ``{0}`` is the first commit of the line.
        lost: an object of channel main to remove before it.
        code: how it ends when nothing disturbs it.
        again: how it may end besides when it is run again after it was done.
        repeats: run again after it was done, it adds another entry of the same meaning.
        needs_itself: other commands are refused (with a word on repair) until it is done.
    """

    before: tuple[str, ...]
    command: str
    lost: str = ""
    code: int = OK
    again: int = OK
    repeats: bool = False
    needs_itself: bool = False

    def words(self, line: list[str]) -> list[str]:
        """Return its command line."""
        return words(self.command, line)


def words(command: str, line: list[str]) -> list[str]:
    """Return a command line, with the commits of a line in place of their numbers."""
    return command.format(*line).replace("publish", "publish --ref main", 1).split()


_TWO = ("publish --commit {0}", "publish --commit {1}")
OPERATIONS = {
    "first publish": Operation((), "publish --commit {0}"),
    "publish": Operation(_TWO, "publish --commit {2}"),
    "publish of an old commit": Operation(_TWO, "publish --commit {0} --force"),
    "publish on a held channel": Operation((*_TWO, "hold"), "publish --commit {2}", code=HELD, again=HELD),
    "publish in a new epoch": Operation((*_TWO, "trust epoch"), "publish --commit {2} --new-epoch", needs_itself=True),
    "rollback": Operation(_TWO, "rollback --to {0}"),
    "hold": Operation(_TWO, "hold"),
    "resume": Operation((*_TWO, "hold"), "resume"),
    "refresh": Operation(_TWO, "refresh", repeats=True),
    "promote": Operation((*_TWO, "publish --commit {2} --channel canary"), "promote --from canary --to main"),
    "repair of a lost pointer": Operation(_TWO, "repair", lost=POINTER, needs_itself=True),
    "repair of a missing copy": Operation(_TWO, "repair", lost="channels/main/history/1-2.json"),
    "repair in a new epoch": Operation((*_TWO, "trust epoch"), "repair --new-epoch", again=USAGE, needs_itself=True),
}


def prepare(site: Site, line: list[str], operation: Operation, remove: Callable[[str], object] | None = None) -> None:
    """Make the channel on which an operation runs; ``remove`` removes an object, if the store is no directory."""
    for command in operation.before:
        site.dagctl(*words(command, line))
    if operation.lost:
        remove(operation.lost) if remove else (site.bundle / operation.lost).unlink()


def keep(site: Site, name: str) -> None:
    """Keep a copy of the store."""
    shutil.rmtree(site.root / name, ignore_errors=True)
    shutil.copytree(site.store, site.root / name)


def bring_back(site: Site, name: str) -> None:
    """Bring a copy of the store back."""
    shutil.rmtree(site.store)
    shutil.copytree(site.root / name, site.store)


def problems(chain: Chain) -> list[str]:
    """Return what ``dagctl verify --all`` finds."""
    audit = Audit(chain)
    audit.everything()
    return [finding.problem for finding in audit.report.findings]


def seen_by_a_puller(chain: Chain) -> Position | None:
    """Pull as a pod without memory does, of whichever epoch; None if there is no pointer.

    Fails the test if there is one whose release or archive is missing or wrong.
    """
    try:
        blob = chain.store.get(chain.layout.pointer(chain.channel), limit=envelope.MAX_ENVELOPE)
    except BlobMissing:
        return None
    assert blob is not None
    epoch = pointer.parse(envelope.parse(blob.data, "pointer")).epoch
    chain = Chain(chain.store, Rules(replace(chain.rules.trust, epoch=epoch), chain.channel))
    signed = chain.rules.new_pointer(blob.data, now=times.now())
    chain.rules.check_expiry(signed.content, now=times.now())
    release = chain.release_of(signed.content).content
    with fetched(chain, release) as file:
        read_checked(file, release)
    return signed.content.position


def actions(chain: Chain) -> list[str]:
    """Return the actions of the chain and their commits, oldest first, as words; empty without a pointer."""
    head, _ = chain.verified_head()
    entries = list(chain.walk(head)) if head else []
    return [f"{entry.content.action} {entry.content.commit[:12]}" for entry in reversed(entries)]
