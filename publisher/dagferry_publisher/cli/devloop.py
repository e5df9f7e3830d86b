"""``dagctl publish --dev`` and ``--watch``: the work tree, uncommitted, as a dev release; once, or at each change."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_publisher.changes import changes, in_words
from dagferry_publisher.cli.command import report
from dagferry_publisher.cli.moving import carry_out, move
from dagferry_publisher.cli.output import SHORT, shown_commit
from dagferry_publisher.errors import NotFound
from dagferry_publisher.ops.candidate import Work
from dagferry_publisher.ops.publish import publish
from dagferry_publisher.tree import select
from dagferry_publisher.worktree import WorkTree
from dagferry_shared import names
from dagferry_shared.errors import DagferryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dagferry_publisher.changes import Change
    from dagferry_publisher.cli.session import Cli
    from dagferry_publisher.gitrepo import Repo
    from dagferry_publisher.notify import Told
    from dagferry_publisher.ops.candidate import PublishRequest
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Writer
    from dagferry_publisher.tree import Item
    from dagferry_shared.keys import Signer

_LOOK_SECONDS = 5.0  # between two looks without an event: for lost ones, and for what lies elsewhere (HEAD, excludes)
_FIRST_RETRY, _LONGEST_RETRY = 1.0, 30.0  # seconds after a failure


@dataclass(frozen=True)
class Tools:
    """What dev releases are made with.

    Attributes:
        cli: the command's surroundings.
        writer: signs pointers.
        signers: sign releases.
        notify: what ``--notify`` gave.
        where: a directory of the work tree.
        paths: that are delivered.
        request: makes the request for a clone and the commit that is checked out, as for a publish of that.
    """

    cli: Cli
    writer: Writer
    signers: Sequence[Signer]
    notify: Sequence[str] | None
    where: Path
    paths: Sequence[str]
    request: Callable[[Repo, str], PublishRequest]


@dataclass(frozen=True, slots=True)
class _State:
    """The work tree at one moment: what is packed of it, and the request to publish that."""

    request: PublishRequest
    items: Sequence[Item]
    differs: Sequence[Change]  # from the commit


@dataclass
class _Desk:
    """A work tree, read again and again."""

    tools: Tools
    tree: WorkTree
    _base: tuple[PublishRequest, Sequence[Item]] | None = field(default=None, init=False)

    def read(self) -> _State:
        """Take a snapshot, and make the request to publish it."""
        snapshot = self.tree.snapshot(self.tools.paths)
        request = self.tools.request(self.tree.repo, snapshot.base)
        items = select(self.tree.repo, snapshot.tree, request.paths, request.selection)
        differs = changes(self._of_base(request), items)
        subject = f"uncommitted work on {snapshot.base[:SHORT]}: {in_words(differs)}"
        work = Work(items, self.tree.author(self.tools.writer.actor), names.clean_text(subject))
        return _State(replace(request, work=work), items, differs)

    def _of_base(self, request: PublishRequest) -> Sequence[Item]:
        if self._base is None or self._base[0] != request:
            try:
                found = select(request.repo, request.commit, request.paths, request.selection)
            except NotFound:  # all of it is new
                found = []
            self._base = request, found
        return self._base[1]


@contextmanager
def _desk(tools: Tools) -> Iterator[_Desk]:
    with tempfile.TemporaryDirectory(prefix="dagctl-") as scratch:
        yield _Desk(tools, WorkTree(tools.where, Path(scratch)))


def once(tools: Tools, *, dry_run: bool) -> None:
    """Publish the work tree as it is."""
    cli, chain = tools.cli, tools.cli.chain()
    with _desk(tools) as desk:
        state = desk.read()
        request = replace(state.request, reason=state.request.reason or in_words(state.differs))
        show = cli.out.progress

        def operation(writer: Writer) -> Outcome:
            return publish(chain, request, writer, tools.signers, dry_run=dry_run, progress=show)

        move(cli, tools.notify, tools.writer, operation)


def watch(tools: Tools) -> None:
    """Publish the work tree now and at each change, until Ctrl-C or SIGTERM. A failure is said, and does not end it."""
    from dagferry_publisher.watching import Changes  # noqa: PLC0415 - only where something is watched

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _desk(tools) as desk, Changes([desk.tree.top / path for path in tools.paths]) as seen:
            watcher = _Watcher(desk)
            pause = watcher.turn(time.monotonic())
            while True:
                first = seen.wait(pause)
                seen.renew()
                pause = watcher.turn(time.monotonic() if first is None else first)
    except KeyboardInterrupt:
        tools.cli.out.progress("ended; the channel stays where it is")


class _Watcher:
    """Publishes what has changed, a turn at a time.

    Args:
        desk: the work tree.
    """

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._last: _State | None = None
        self._known: dict[str, Sequence[Item]] = {}
        self._said = ""
        self._pause = 0.0

    def turn(self, start: float) -> float:
        """Publish what there is, unless it was published last.

        Args:
            start: when a change was seen, monotonic seconds.

        Returns:
            The seconds to wait for a change until the next turn.
        """
        try:
            self._publish(start)
        except DagferryError as error:
            if str(error) != self._said:
                report(error, as_json=self._desk.tools.cli.out.as_json)
                sys.stderr.flush()
            self._said = str(error)
            self._pause = min(_LONGEST_RETRY, max(_FIRST_RETRY, 2 * self._pause))
            return self._pause
        self._said, self._pause = "", 0.0
        return _LOOK_SECONDS

    def _publish(self, start: float) -> None:
        tools = self._desk.tools
        state = self._desk.read()
        if self._last and state.request == self._last.request:
            return
        found = changes(self._last.items, state.items) if self._last else state.differs
        request = replace(state.request, reason=state.request.reason or in_words(found), known=self._known)
        tools.cli.renew_patience()
        chain = tools.cli.chain()

        def operation(writer: Writer) -> Outcome:
            return publish(chain, request, writer, tools.signers)

        outcome, told = carry_out(tools.cli, tools.notify, tools.writer, operation)
        self._last = state
        if outcome.pointer:
            self._known = {outcome.pointer.content.release: state.items}
        _say(tools.cli, outcome, found, time.monotonic() - start, told)


def _say(cli: Cli, outcome: Outcome, found: Sequence[Change], seconds: float, told: Sequence[Told]) -> None:
    """Print a line for a release."""
    if cli.out.as_json:
        facts = {"changes": [change.as_json() for change in found], "seconds": round(seconds, 3)}
        document = {**outcome.as_json(), "notified": [one.as_json() for one in told], **facts}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    elif outcome.pointer:
        content = outcome.pointer.content
        where = f"{content.epoch}-{content.sequence}  {shown_commit(content.commit, dev=True)}"
        words = in_words(found) if outcome.changed else outcome.note
        cli.out.line(f"{where}  {words}  ({seconds:.2f} s)", "green" if outcome.changed else "yellow")
    sys.stdout.flush()
