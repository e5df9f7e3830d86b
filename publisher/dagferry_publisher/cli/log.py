"""``dagctl log``: who did what on which channel, when and why; followed, or exported for an audit."""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher import export, journal
from dagferry_publisher.chain import Chain
from dagferry_publisher.cli.command import TARGET, command
from dagferry_publisher.cli.exits import describe
from dagferry_publisher.cli.fleet import seconds_of
from dagferry_publisher.cli.output import shown_commit
from dagferry_publisher.cli.progress import Progress
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.devmarks import dev_releases
from dagferry_publisher.errors import FoundProblems, UsageError
from dagferry_publisher.ops.outcome import pointer_json
from dagferry_shared import times
from dagferry_shared.errors import DagferryError, StoreDenied
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from dagferry_publisher.chain import Entry
    from dagferry_publisher.journal import Filter

# Variables of their own: DAGFERRY_ACTOR and DAGFERRY_COMMIT say who acts on what, and are no filter.
_Actor = Annotated[
    list[str] | None,
    typer.Option(
        "--actor",
        metavar="GLOB",
        envvar="DAGFERRY_LOG_ACTOR",
        help="Only by them, e.g. 'ann*'. [env: DAGFERRY_LOG_ACTOR]",
    ),
]
_Commit = Annotated[
    str | None,
    typer.Option(
        "--commit",
        metavar="SHA",
        envvar="DAGFERRY_LOG_COMMIT",
        help="Only of this commit, 7 digits or more. [env: DAGFERRY_LOG_COMMIT]",
    ),
]
COLUMNS = ("issued (UTC)", "channel", "sequence", "action", "commit", "actor", "state", "reason")


def _row(entry: Entry, dev: Collection[str]) -> tuple[str, ...]:
    content = entry.content
    state = "held" if content.held else ""
    if entry.problem:
        state = f"{state} NOT VERIFIED ({entry.problem.reason})".strip()
    where, when = f"{content.epoch}-{content.sequence}", content.issued.replace("T", " ")[:19]
    commit = shown_commit(content.commit, dev=content.release in dev)
    return when, content.channel, where, content.action, commit, content.actor, state, content.reason


def _json_line(entry: Entry, dev: Collection[str]) -> str:
    marks = {"dev": entry.content.release in dev, "problem": str(entry.problem) if entry.problem else None}
    return json.dumps({**pointer_json(entry.content), **marks}, ensure_ascii=False) + "\n"


def _marks(chains: Sequence[Chain], entries: Sequence[Entry]) -> frozenset[str]:
    """Return the entries' releases that are uncommitted work."""
    of = {chain.channel: [e.content for e in entries if e.content.channel == chain.channel] for chain in chains}
    return frozenset().union(*(dev_releases(chain, of[chain.channel]) for chain in chains))


def _warn(cli: Cli, channel: str, error: DagferryError) -> None:
    """Say on stderr what is wrong with a chain; the others are shown all the same."""
    facts = describe(error)["error"]
    message = f"channel {channel}: {facts['message']}"
    warning = {"warning": {"reason": facts["reason"], "message": message}}
    sys.stderr.write(json.dumps(warning) + "\n" if cli.out.as_json else f"dagctl: warning: {message}\n")
    sys.stderr.flush()


def _chains(cli: Cli) -> list[Chain]:
    """Open the channel that was asked for, else all that the trust file knows."""
    if name := cli.given("channel"):
        return [cli.chain(name)]
    trust = cli.trust()
    try:
        known, strange = journal.channels(cli.store, trust)
    except StoreDenied:  # it may be read, and not listed
        return [cli.chain()]
    for channel in strange:
        cli.out.progress(f"channel {channel} is left out: the trust file does not know it")
    return [Chain(cli.store, Rules(trust, channel)) for channel in known]


def _show(cli: Cli, entries: Sequence[Entry], dev: Collection[str]) -> None:
    if cli.out.as_json:
        sys.stdout.writelines(_json_line(entry, dev) for entry in entries)
    else:
        cli.out.table(COLUMNS, (_row(entry, dev) for entry in entries))


class _Follow:
    """Prints what is there, oldest first, and then what is added, until somebody has had enough.

    Args:
        cli: the command's surroundings.
        chains: the channels.
        wanted: which entries.
    """

    def __init__(self, cli: Cli, chains: Sequence[Chain], wanted: Filter) -> None:
        self._cli, self._chains, self._wanted = cli, chains, wanted
        self._followers = {chain.channel: journal.Follower([chain]) for chain in chains}
        self._said: dict[str, str] = {}  # what is wrong with a channel is said once
        self._shown: set[str] = set()
        self.look()  # first, so that nothing falls between what is there and what is added

    def look(self) -> None:
        """Print what was added since the last look."""
        for channel, follower in self._followers.items():
            try:
                self.show(list(follower.new()))
                self._said.pop(channel, None)
            except DagferryError as error:
                if self._said.get(channel) != str(error):
                    _warn(self._cli, channel, error)
                self._said[channel] = str(error)

    def show(self, entries: Iterable[Entry]) -> None:
        """Print the wanted entries, each once."""
        wanted = [entry for entry in entries if self._wanted.accepts(entry.content)]
        dev = _marks(self._chains, wanted)
        for entry in wanted:
            if entry.payload_digest not in self._shown:
                self._shown.add(entry.payload_digest)
                if self._cli.out.as_json:
                    sys.stdout.write(_json_line(entry, dev))
                else:
                    self._cli.out.line("  ".join(filter(None, _row(entry, dev))))
        sys.stdout.flush()

    def run(self, interval: float) -> None:
        """Look again and again."""
        pause = threading.Event()
        while True:
            pause.wait(interval)
            self.look()


def _export(cli: Cli, path: Path) -> None:
    """Write the export beside its name and rename it: it is whole or not there."""
    bundle = cli.bundle()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file, Progress("exported", quiet=cli.out.as_json or not _is_terminal()) as bar:
            count = export.write(cli.store, bundle, file, lambda done: bar.show(done, done))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        raise UsageError(f"--export {path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    document = {"export": str(path), "bundle": bundle, "objects": count}
    text = f"{count} documents of bundle {bundle} are in {path}; dagctl verify --export {path} checks it offline"
    cli.out.emit(document, lambda: cli.out.line(text))


def _is_terminal() -> bool:
    return sys.stderr.isatty()


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "log", *TARGET)
    def run(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        actor: _Actor = None,
        action: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="Only publish, rollback, promote, …; can be repeated.")
        ] = None,
        commit: _Commit = None,
        since: Annotated[
            str | None, typer.Option(metavar="WHEN", help="Only since then: 2h, 7d, or a UTC date (2026-11-25).")
        ] = None,
        limit: Annotated[int, typer.Option(min=1, help="Newest entries to show.")] = 50,
        follow: Annotated[bool, typer.Option("--follow", help="Go on with what is added, until Ctrl-C.")] = False,
        interval: Annotated[str, typer.Option(metavar="DURATION", help="Time between two looks of --follow.")] = "2s",
        exported: Annotated[
            Path | None,
            typer.Option(
                "--export", metavar="FILE", help="Write every signed document of the bundle to a file, for an audit."
            ),
        ] = None,
    ) -> None:
        """Show what was done on all channels of the bundle, newest first: when, what, by whom, why.

        --channel shows one. --json prints a document a line. --follow prints what is there oldest first, and then each
        new entry; it warns where a pointer goes back or is replaced, which no publisher does. An export is checked by
        dagctl verify --export, offline.

        \b
        Example: dagctl log --since 7d --action rollback --actor 'ann*'
        """
        if exported:
            _export(cli, exported)
            return
        wanted = journal.make_filter(actor or (), action or (), commit, since, times.now())
        pause = seconds_of(interval, "--interval")
        broken: list[str] = []

        def note(channel: str, error: DagferryError) -> None:
            broken.append(channel)
            _warn(cli, channel, error)

        chains = _chains(cli)
        following = _Follow(cli, chains, wanted) if follow else None
        entries = list(itertools.islice(journal.read(chains, wanted, note), limit))
        if following:
            with suppress(KeyboardInterrupt):
                following.show(reversed(entries))
                following.run(pause)
            return
        _show(cli, entries, _marks(chains, entries))
        if broken:
            raise FoundProblems(f"the chain of {', '.join(broken)} is not whole: dagctl verify says more")
