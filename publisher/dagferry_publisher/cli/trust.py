"""``dagctl trust``: make, explain and edit a trust file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher import keyring, repository, trustedit
from dagferry_publisher.cli.command import JSON, TRUST, command
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import UsageError
from dagferry_publisher.tree import check_paths
from dagferry_shared import globs, names, times, trust
from dagferry_shared.release import Selection, source_path
from dagferry_shared.trust import ChannelTrust, Role, TrustFile

if TYPE_CHECKING:
    from collections.abc import Callable

ChannelArgument = Annotated[str, typer.Option("--channel", help="Entry of the trust file: a channel name or pattern.")]
RoleOption = Annotated[str, typer.Option("--role", metavar="release|pointer", help="What the key signs.")]
KeyArgument = Annotated[str, typer.Argument(metavar="ID|PUB", help="Key id, 7 digits or more, or its public key file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what the file would allow; do not write it.")]


def save(path: Path, content: TrustFile, *, new: bool = False) -> None:
    """Write a trust file durably and atomically, after reading its bytes as a puller would.

    Raises:
        UsageError: with ``new`` there is one already, or it cannot be written.
    """
    data = content.encode()
    trust.parse(data)
    if new and path.exists():
        raise UsageError(f"{path} is there already; edit it with dagctl trust, or give another --out")
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _role(role: str) -> trustedit.RoleName:
    if role == "release":
        return "release"
    if role == "pointer":
        return "pointer"
    raise UsageError(f"--role is release or pointer, not {role!r}")


def _key_id(content: TrustFile, key: str) -> str:
    """Return the id of a key given by id or by its public key file."""
    return trustedit.find_key(content, keyring.public_key(key, "key").id if Path(key).is_file() else key)


def _edit(cli: Cli, change: Callable[[TrustFile], TrustFile], *, dry_run: bool) -> None:
    old = cli.trust()
    edited = change(old)
    before, after = trustedit.explain(old), trustedit.explain(edited)
    if not dry_run:
        save(Path(cli.one("trust")), edited)
    changes = [f"- {line}" for line in before if line not in after] + [
        f"+ {line}" for line in after if line not in before
    ]

    def show() -> None:
        for line in changes or ["nothing changes"]:
            cli.out.line(line)
        cli.out.line("dry run: not written" if dry_run else f"written: {cli.one('trust')}; bring it to the pods")

    cli.out.emit({"changed": old != edited, "dry_run": dry_run, "changes": changes}, show)


def _register_init(app: typer.Typer) -> None:
    @command(app, "init", JSON)
    def init(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        bundle: Annotated[str, typer.Option(help="Bundle: one named DAG tree.")],
        channel: ChannelArgument,
        repository_url: Annotated[str, typer.Option("--repository", help="The one repository releases come from.")],
        path: Annotated[list[str], typer.Option(metavar="DIR", help="Directory of it that is packed; repeatable.")],
        release_key: Annotated[list[str], typer.Option(metavar="PUB", help="Public key that signs releases (CI's).")],
        pointer_key: Annotated[list[str], typer.Option(metavar="PUB", help="Public key that moves the channel.")],
        out: Annotated[Path, typer.Option(metavar="FILE", help="Trust file to write, or with --add to extend.")],
        ref: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Refs that may be published.")] = None,
        include: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Selection: pack only these.")] = None,
        exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Selection: leave these out.")] = None,
        threshold: Annotated[int, typer.Option(min=1, help="Keys of each role that must sign.")] = 1,
        max_ttl: Annotated[
            str | None, typer.Option(help="Pointers may be used this long, e.g. 30d [default: ever].")
        ] = None,
        allow_dev: Annotated[bool, typer.Option("--allow-dev", help="Take uncommitted work of developers.")] = False,
        add: Annotated[bool, typer.Option("--add", help="Add a channel to an existing file.")] = False,
    ) -> None:
        """Make a trust file: which keys may sign what for a channel. It reaches the pods as a ConfigMap.

        \b
        Example: dagctl trust init --bundle analytics --channel main --path dags \\
                 --repository https://gitlab.example.org/data/dags \\
                 --release-key ci.pub --pointer-key ci.pub --pointer-key ops.pub --out trust.json
        """
        release_keys = [keyring.public_key(name, "release-key") for name in release_key]
        pointer_keys = [keyring.public_key(name, "pointer-key") for name in pointer_key]
        entry = ChannelTrust(
            repository=repository.normalise(repository_url),
            paths=check_paths([source_path(word.rstrip("/") or word, "--path") for word in path]),
            refs=tuple(globs.pattern(glob, "--ref") for glob in ref or ["main"]),
            selection=Selection(tuple(include or ()), tuple(exclude or ())),
            release=Role(threshold, tuple(dict.fromkeys(key.id for key in release_keys))),
            pointer=Role(threshold, tuple(dict.fromkeys(key.id for key in pointer_keys))),
            allow_dev=allow_dev,
        )
        seconds = int(times.duration(max_ttl, "--max-ttl").total_seconds()) if max_ttl else None
        base = TrustFile(names.name(bundle, "--bundle"), 1, {}, {}, max_ttl=seconds)
        if add:
            base = trust.parse(keyring.read_bounded(str(out), "out", trust.MAX_TRUST_FILE))
            if base.bundle != bundle:
                raise UsageError(f"{out} is of bundle {base.bundle}, not {bundle}")
        pattern = names.channel_pattern(channel, "--channel")
        content = trustedit.add_channel(base, pattern, entry, [*release_keys, *pointer_keys])
        save(out, content, new=not add)
        words = trustedit.explain(content)
        cli.out.emit({"trust": str(out), "explained": words}, lambda: cli.out.lines(words))


def _register_check(app: typer.Typer) -> None:
    @command(app, "check", TRUST, JSON)
    def check(cli: Cli) -> None:
        """Read a trust file as a puller does, and say in words what it allows. Exit 3: malformed.

        \b
        Example: dagctl trust check --trust trust.json
        """
        words = trustedit.explain(cli.trust())
        cli.out.emit({"valid": True, "explained": words}, lambda: cli.out.lines(words))


def _register_keys(app: typer.Typer) -> None:
    @command(app, "add-key", TRUST, JSON)
    def add_key(
        cli: Cli,
        key: Annotated[str, typer.Argument(metavar="PUB", help="Public key file.")],
        channel: ChannelArgument,
        role: RoleOption,
        dry_run: DryRun = False,
    ) -> None:
        """Let a key sign. To replace one: add-key, bring the file to the pods, switch CI, refresh, retire-key.

        \b
        Example: dagctl trust add-key operator.pub --channel main --role pointer
        """
        public = keyring.public_key(key, "key")
        _edit(cli, lambda old: trustedit.add_key(old, channel, _role(role), public), dry_run=dry_run)

    @command(app, "retire-key", TRUST, JSON)
    def retire_key(
        cli: Cli,
        key: KeyArgument,
        channel: ChannelArgument,
        role: RoleOption,
        dry_run: DryRun = False,
    ) -> None:
        """Let a key sign nothing new; what it signed stays valid for history and rollback. Then: dagctl refresh.

        \b
        Example: dagctl trust retire-key ci.pub --channel main --role release
        """
        _edit(
            cli,
            lambda old: trustedit.retire_key(old, channel, _role(role), _key_id(old, key)),
            dry_run=dry_run,
        )

    @command(app, "remove-key", TRUST, JSON)
    def remove_key(
        cli: Cli,
        key: KeyArgument,
        dry_run: DryRun = False,
    ) -> None:
        """Take a compromised key out everywhere: nothing it signed is valid any more. Then: trust epoch, repair.

        \b
        Example: dagctl trust remove-key operator.pub
        """
        _edit(cli, lambda old: trustedit.remove_key(old, _key_id(old, key)), dry_run=dry_run)


def _register_bounds(app: typer.Typer) -> None:
    @command(app, "revoke", TRUST, JSON)
    def revoke(
        cli: Cli,
        what: Annotated[str, typer.Argument(metavar="DIGEST|COMMIT", help="Release digest or full commit id.")],
        dry_run: DryRun = False,
    ) -> None:
        """Forbid a release, or everything of a commit: pods alarm if it is live, and never take it again.

        \b
        Example: dagctl trust revoke "$(git rev-parse HEAD)"
        """
        digest = names.digest_or_commit(what, "DIGEST|COMMIT")
        _edit(cli, lambda old: trustedit.revoke(old, digest), dry_run=dry_run)

    @command(app, "floor", TRUST, JSON)
    def floor(
        cli: Cli,
        sequence: Annotated[int, typer.Argument(min=0, help="Lowest sequence that is accepted.")],
        channel: ChannelArgument,
        dry_run: DryRun = False,
    ) -> None:
        """Raise the floor: the oldest pointer that even a pod without memory can be made to take.

        \b
        Example: dagctl trust floor 120 --channel main
        """
        _edit(cli, lambda old: trustedit.set_floor(old, channel, sequence), dry_run=dry_run)

    @command(app, "epoch", TRUST, JSON)
    def epoch(cli: Cli, dry_run: DryRun = False) -> None:
        """Begin a new epoch, after a compromised key or a restored bucket. Then: dagctl repair --new-epoch.

        Pods that have the file refuse every pointer of the old epoch, and keep what they run, until that is done.

        \b
        Example: dagctl trust epoch --dry-run
        """
        _edit(cli, trustedit.next_epoch, dry_run=dry_run)


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(name="trust", no_args_is_help=True, help="Make, explain and edit a trust file.")
    _register_init(group)
    _register_check(group)
    _register_keys(group)
    _register_bounds(group)
    app.add_typer(group)
