"""From what ``dagctl publish`` was given to the request, and on to the operation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_publisher import repository
from dagferry_publisher.archive import DEFAULT_LEVEL, MAX_LEVEL
from dagferry_publisher.cli.moving import move
from dagferry_publisher.deltas import DEFAULT_DELTAS
from dagferry_publisher.errors import UsageError
from dagferry_publisher.gitrepo import Repo
from dagferry_publisher.ops.candidate import PublishRequest
from dagferry_publisher.ops.publish import publish, refuse_unless_allowed
from dagferry_publisher.tree import check_paths
from dagferry_shared import __version__, globs, names
from dagferry_shared.release import MAX_DELTAS, Builder, Selection, source_path

if TYPE_CHECKING:
    from dagferry_publisher.cli.session import Cli
    from dagferry_publisher.settings import Settings
    from dagferry_shared.trust import ChannelTrust

DEV_LEVEL, DEV_DELTAS = 3, 1  # somebody waits for it


@dataclass(frozen=True)
class Source:
    """What is to be published, as the command line says it."""

    repo: str | None
    commit: str | None
    path: list[str] | None
    include: list[str] | None
    exclude: list[str] | None
    repository: str | None
    ref: str | None


@dataclass(frozen=True)
class Given:
    """The command line."""

    source: Source
    release_key: list[str] | None
    pointer_key: list[str] | None
    expires: str | None
    reason: str
    level: int | None
    deltas: int | None
    notify: list[str] | None
    force: bool
    new_epoch: bool
    dry_run: bool

    def where(self, settings: Settings) -> Path:
        """Return the clone's directory."""
        found = settings.find("repo", self.source.repo)
        return Path(found.value[0] if found else ".")

    def paths(self, settings: Settings, entry: ChannelTrust) -> tuple[str, ...]:
        """Return the directories that are packed: those given, else those of the trust file."""
        setting = settings.find("path", self.source.path)
        if setting is None:
            return entry.paths
        return check_paths([source_path(path.rstrip("/") or path, "--path") for path in setting.value])

    def request(
        self, settings: Settings, entry: ChannelTrust, clone: Repo, commit: str, *, dev: bool
    ) -> PublishRequest:
        """Fill in every default; ``dev``: for a person who waits."""
        source = self.source
        level, deltas = (DEV_LEVEL, DEV_DELTAS) if dev else (DEFAULT_LEVEL, DEFAULT_DELTAS)
        return PublishRequest(
            repo=clone,
            commit=commit,
            ref=_ref(settings, source.ref, clone, commit, otherwise="HEAD" if dev else None),
            repository=_repository(settings, source.repository, clone),
            paths=self.paths(settings, entry),
            selection=_selection(settings, source.include, source.exclude, entry.selection),
            builder=_builder(settings),
            reason=names.text(self.reason, "--reason"),
            force=self.force,
            level=_number(settings, "level", self.level, range(1, MAX_LEVEL + 1), level),
            deltas=_number(settings, "deltas", self.deltas, range(MAX_DELTAS + 1), deltas),
        )


def _ref(settings: Settings, given: str | None, repo: Repo, commit: str, otherwise: str | None) -> str:
    setting = settings.find("ref", given)
    ref = setting.value[0] if setting else repo.branch_at(commit) or otherwise
    if not ref:
        raise UsageError("--ref is needed: the commit is not on the branch that is checked out")
    return names.word(ref, "--ref")


def _repository(settings: Settings, given: str | None, repo: Repo) -> str:
    setting = settings.find("repository", given)
    address = setting.value[0] if setting else repo.origin()
    if not address:
        raise UsageError("--repository is needed: the clone has no remote called origin")
    return repository.normalise(address)


def _selection(
    settings: Settings, include: list[str] | None, exclude: list[str] | None, trusted: Selection
) -> Selection:
    """Return the globs given, else those of the trust file: a release must have exactly these anyway."""
    found = settings.find("include", include), settings.find("exclude", exclude)
    if found == (None, None):
        return trusted
    words = [setting.value if setting else () for setting in found]
    return Selection(
        tuple(globs.pattern(glob, "--include") for glob in words[0]),
        tuple(globs.pattern(glob, "--exclude") for glob in words[1]),
    )


def _builder(settings: Settings) -> Builder:
    pipeline = settings.find("pipeline")
    where = "gitlab-ci" if os.environ.get("GITLAB_CI") else "dagctl"
    return Builder(where, __version__, names.clean_text(pipeline.value[0]) if pipeline else None)


def _number(settings: Settings, name: str, given: int | None, allowed: range, default: int) -> int:
    setting = settings.find(name, None if given is None else str(given))
    if setting is None:
        return default
    text = setting.value[0]
    if not text.isdecimal() or int(text) not in allowed:
        raise UsageError(f"--{name} is a number from {allowed[0]} to {allowed[-1]}, not {text!r} ({setting.origin})")
    return int(text)


def committed(cli: Cli, given: Given) -> None:
    """Publish a commit."""
    settings = cli.settings
    chain = cli.chain(begin_epoch=given.new_epoch)
    clone = Repo(given.where(settings))
    setting = settings.find("commit", given.source.commit)
    signers = cli.signers("release-key", given.release_key, chain)
    writer = cli.writer(chain, given.pointer_key, given.expires)
    full = clone.resolve(setting.value[0] if setting else "HEAD")
    request = given.request(settings, chain.rules.entry, clone, full, dev=False)
    dry_run, progress = given.dry_run, cli.out.progress
    if not dry_run:
        cli.ready_to_write(chain.layout)
    move(cli, given.notify, writer, lambda w: publish(chain, request, w, signers, dry_run=dry_run, progress=progress))


def uncommitted(cli: Cli, given: Given, *, watch: bool) -> None:
    """Publish the work tree as a dev release, with ``watch`` again and again."""
    from dagferry_publisher.cli import devloop  # noqa: PLC0415 - nothing that CI needs

    for option, is_given in (
        ("--commit", given.source.commit),
        ("--force", given.force),
        ("--new-epoch", given.new_epoch),
        ("--dry-run", given.dry_run and watch),
    ):
        if is_given:
            raise UsageError(f"{option} does not go with {'--watch' if watch else '--dev'}")
    settings, chain = cli.settings, cli.chain()
    entry = chain.rules.entry
    refuse_unless_allowed(chain.rules)
    tools = devloop.Tools(
        cli=cli,
        writer=cli.writer(chain, given.pointer_key, given.expires),
        signers=cli.signers("release-key", given.release_key, chain),
        notify=given.notify,
        where=given.where(settings),
        paths=given.paths(settings, entry),
        request=lambda clone, commit: given.request(settings, entry, clone, commit, dev=True),
    )
    if not given.dry_run:
        cli.ready_to_write(chain.layout)
    if watch:
        devloop.watch(tools)
    else:
        devloop.once(tools, dry_run=given.dry_run)
