"""``dagctl history``, ``list``, ``show`` and ``diff``: what was deployed, by whom, when and why."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher.chain import Chain, Entry
from dagferry_publisher.cli.command import TARGET, command
from dagferry_publisher.cli.output import SHORT, Output, shown_commit
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.devmarks import dev_releases
from dagferry_publisher.diff import Change, diff
from dagferry_publisher.ops.outcome import pointer_json
from dagferry_publisher.ops.rollback import named_target
from dagferry_shared import envelope, release
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.strictjson import Json

_STYLES = {"added": "green", "removed": "red", "changed": "yellow", "mode": "yellow"}


def release_json(digest: str, content: Release) -> dict[str, Json]:
    """Return a release as ``--json`` shows it."""
    source, archive = content.source, content.archive
    return {
        "release": digest,
        "tree": content.tree,
        "dev": content.dev,
        "repository": source.repository,
        "commit": source.commit,
        "ref": source.ref,
        "path": list(source.paths),
        "selection": source.selection.as_json(),
        "committed": source.committed,
        "author": source.author,
        "subject": source.subject,
        "archive": {
            "sha256": archive.sha256,
            "size": archive.size,
            "unpacked_size": archive.unpacked_size,
            "files": archive.files,
        },
        "builder": {
            "id": content.builder.id,
            "version": content.builder.version,
            "pipeline": content.builder.pipeline,
        },
        "created": content.created,
    }


def _entry_json(entry: Entry, dev: Collection[str]) -> dict[str, Json]:
    problem = str(entry.problem) if entry.problem else None
    return {**pointer_json(entry.content), "dev": entry.content.release in dev, "problem": problem}


def _entry_row(entry: Entry, dev: Collection[str], *, live: bool) -> tuple[str, ...]:
    content = entry.content
    state = "live" if live else ""
    if content.held:
        state = f"{state} held".strip()
    if entry.problem:
        state = f"{state} NOT VERIFIED ({entry.problem.reason})".strip()
    position = f"{content.epoch}-{content.sequence}"
    when = content.issued.replace("T", " ")[:19]
    commit = shown_commit(content.commit, dev=content.release in dev)
    return position, when, content.action, commit, content.actor, state, content.reason


def _register_history(app: typer.Typer) -> None:
    @command(app, "history", *TARGET)
    def run_history(cli: Cli, limit: Annotated[int, typer.Option(min=1, help="Newest entries to show.")] = 50) -> None:
        """Show what was deployed on a channel, newest first: when, what, by whom, why.

        Each entry is verified; one that does not verify today says why not. All channels, and filters: dagctl log.

        \b
        Example: dagctl history --limit 5
        """
        chain = cli.chain()
        entries = list(itertools.islice(chain.walk(chain.live()), limit))
        dev = dev_releases(chain, (entry.content for entry in entries))

        def show() -> None:
            rows = [_entry_row(entry, dev, live=index == 0) for index, entry in enumerate(entries)]
            cli.out.table(("sequence", "issued (UTC)", "action", "commit", "actor", "state", "reason"), rows)
            if len(entries) < limit and entries[-1].content.previous is not None:
                cli.out.line("older history was pruned")

        document = {
            "bundle": chain.layout.bundle,
            "channel": chain.channel,
            "entries": [_entry_json(e, dev) for e in entries],
        }
        cli.out.emit(document, show)


def _stored_releases(chain: Chain) -> list[tuple[str, Release | None]]:
    """Return every release object of the bundle, None where the bytes are not a release of that name."""
    found: list[tuple[str, Release | None]] = []
    prefix = chain.layout.release("").removesuffix(".json")
    for key in sorted(chain.store.keys(prefix)):
        digest = key.removeprefix(prefix).removesuffix(".json")
        try:
            raw = chain.release_bytes(digest)
            good = envelope.digest(raw) == digest
            found.append((digest, release.parse(envelope.parse(raw, "release")) if good else None))
        except Refused:
            found.append((digest, None))
    return sorted(found, key=lambda item: item[1].created if item[1] else "", reverse=True)


def _register_list(app: typer.Typer) -> None:
    @command(app, "list", *TARGET)
    def run_list(cli: Cli) -> None:
        """List the releases in the store, newest first, with what is live on the channel. Signatures: dagctl verify.

        \b
        Example: dagctl list --json
        """
        chain = cli.chain()
        head = chain.head()
        live = head.signed.content.release if head.signed else ""
        releases = _stored_releases(chain)
        document = [
            {**release_json(digest, content), "live": digest == live}
            if content
            else {"release": digest, "problem": "not a release of that digest"}
            for digest, content in releases
        ]

        def show() -> None:
            columns = ("release", "commit", "ref", "created (UTC)", "files", "bytes", "author", "subject")
            cli.out.table(columns, [_release_row(digest, content, live) for digest, content in releases])

        cli.out.emit({"bundle": chain.layout.bundle, "releases": document}, show)


def _release_row(digest: str, content: Release | None, live: str) -> tuple[str, ...]:
    if content is None:
        return digest[:SHORT], "DAMAGED", "", "", "", "", "", ""
    source, archive = content.source, content.archive
    mark = " *" if digest == live else ""
    created = content.created.replace("T", " ")[:19]
    facts = shown_commit(source.commit, dev=content.dev), source.ref, created, str(archive.files), str(archive.size)
    return digest[:SHORT] + mark, *facts, source.author, source.subject


def _resolve(chain: Chain, prefix: str) -> Pointer:
    return named_target(chain.walk(chain.live()), prefix).content


def _register_show(app: typer.Typer) -> None:
    @command(app, "show", *TARGET)
    def run_show(
        cli: Cli, sha: Annotated[str, typer.Argument(metavar="SHA", help="Commit or release digest, 7 digits or more.")]
    ) -> None:
        """Show a release of the channel's history, its signatures checked, and when it was live.

        \b
        Example: dagctl show 3f2a91c
        """
        chain = cli.chain()
        entries = list(chain.walk(chain.live()))
        target = named_target(entries, sha).content
        content = chain.release_of(target).content
        moves = [entry for entry in entries if entry.content.release == target.release]
        facts = release_json(target.release, content)
        dev = {target.release} if content.dev else set()

        def show() -> None:
            if content.dev:
                cli.out.line("a dev release: uncommitted work on top of the commit, which no CI has seen", "yellow")
            for key, value in facts.items():
                cli.out.line(f"{key:<11} {_words(value)}")
            cli.out.table(
                ("sequence", "issued (UTC)", "action", "commit", "actor", "state", "reason"),
                [_entry_row(entry, dev, live=entry is entries[0]) for entry in moves],
            )

        cli.out.emit({**facts, "entries": [_entry_json(entry, dev) for entry in moves]}, show)


def _words(value: Json) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(word)}" for key, word in value.items())
    if isinstance(value, list):
        return " ".join(map(_words, value)) or "-"
    return "-" if value is None else str(value)


def _show_changes(out: Output, changes: Sequence[Change], *, names_only: bool) -> None:
    for change in changes:
        kinds = (
            f" ({change.before} -> {change.after})" if change.before != change.after and change.status == "mode" else ""
        )
        out.line(f"{change.status:<8} {change.path}{kinds}", _STYLES[change.status])
        if not names_only:
            for line in change.lines:
                out.line(f"  {line}")
    if not changes:
        out.line("no difference")


def _register_diff(app: typer.Typer) -> None:
    @command(app, "diff", *TARGET)
    def run_diff(
        cli: Cli,
        old: Annotated[str, typer.Argument(metavar="OLD", help="Commit or release digest, 7 digits or more.")],
        new: Annotated[str, typer.Argument(metavar="NEW", help="Commit or release digest, 7 digits or more.")],
        names_only: Annotated[bool, typer.Option("--names-only", help="List the paths without their content.")] = False,
    ) -> None:
        """Show what changed between two releases of the channel's history, file by file. Needs no clone.

        \b
        Example: dagctl diff 3f2a91c 8d1ddab --names-only
        """
        chain = cli.chain()
        before, after = _resolve(chain, old), _resolve(chain, new)
        changes = diff(chain, chain.release_of(before).content, chain.release_of(after).content)
        document = {"old": before.release, "new": after.release, "changes": [change.as_json() for change in changes]}
        cli.out.emit(document, lambda: _show_changes(cli.out, changes, names_only=names_only))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _register_history(app)
    _register_list(app)
    _register_show(app)
    _register_diff(app)
