"""``dagctl publish``: make a commit live on a channel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dagferry_publisher import repository
from dagferry_publisher.archive import DEFAULT_LEVEL, MAX_LEVEL
from dagferry_publisher.cli.command import TARGET, command, env_help
from dagferry_publisher.cli.moving import move
from dagferry_publisher.cli.options import DryRun, Expires, Notify, PointerKey, Reason, ReleaseKey
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.deltas import DEFAULT_DELTAS
from dagferry_publisher.errors import UsageError
from dagferry_publisher.gitrepo import Repo
from dagferry_publisher.ops.candidate import PublishRequest
from dagferry_publisher.ops.publish import publish
from dagferry_publisher.settings import Settings
from dagferry_publisher.tree import check_paths
from dagferry_shared import __version__, globs, names
from dagferry_shared.release import MAX_DELTAS, Builder, Selection, source_path

_Repo = Annotated[str | None, typer.Option(help=env_help("repo", "Clone [default: CI_PROJECT_DIR, else here]."))]
_Commit = Annotated[str | None, typer.Option(help=env_help("commit", "Commit [default: CI_COMMIT_SHA, else HEAD]."))]
_Path = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIR",
        help=env_help(
            "path",
            "Directory of the repository; with one its content is the root, with several their names are kept "
            "[default: what the trust file allows].",
        ),
    ),
]
_Include = Annotated[
    list[str] | None, typer.Option(metavar="GLOB", help=env_help("include", "Pack only what matches."))
]
_Exclude = Annotated[
    list[str] | None, typer.Option(metavar="GLOB", help=env_help("exclude", "Leave out what matches; it wins."))
]
_RepositoryUrl = Annotated[
    str | None,
    typer.Option(
        "--repository",
        help=env_help("repository", "Address of the repository [default: CI_PROJECT_URL, origin]."),
    ),
]
_Ref = Annotated[str | None, typer.Option(help=env_help("ref", "Branch or tag [default: CI_COMMIT_REF_NAME, branch]."))]
_Level = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_LEVEL, help=env_help("level", f"zstd compression level [default: {DEFAULT_LEVEL}].")),
]
_Deltas = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_DELTAS,
        metavar="N",
        help=env_help(
            "deltas", f"Delta archives from the N newest other trees of the channel [default: {DEFAULT_DELTAS}]."
        ),
    ),
]
_Force = Annotated[
    bool, typer.Option("--force", help="Publish although the commit does not descend from the newest one.")
]
_NewEpoch = Annotated[
    bool,
    typer.Option(
        "--new-epoch",
        help="Begin the trust file's epoch with this commit: no history verifies any more (compromised key).",
    ),
]


def _ref(settings: Settings, given: str | None, repo: Repo, commit: str) -> str:
    setting = settings.find("ref", given)
    ref = setting.value[0] if setting else repo.branch_at(commit)
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


def _paths(settings: Settings, given: list[str] | None, trusted: tuple[str, ...]) -> tuple[str, ...]:
    setting = settings.find("path", given)
    if setting is None:
        return trusted
    return check_paths([source_path(path.rstrip("/") or path, "--path") for path in setting.value])


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


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "publish", *TARGET)
    def run(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        repo: _Repo = None,
        commit: _Commit = None,
        path: _Path = None,
        include: _Include = None,
        exclude: _Exclude = None,
        repository_url: _RepositoryUrl = None,
        ref: _Ref = None,
        release_key: ReleaseKey = None,
        pointer_key: PointerKey = None,
        expires: Expires = None,
        reason: Reason = "",
        level: _Level = None,
        deltas: _Deltas = None,
        force: _Force = False,
        new_epoch: _NewEpoch = False,
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Pack the DAGs at a commit, sign them, upload them, and make them live in one atomic step.

        Publishing what is live already is a success that changes nothing, so a job can be run again. A commit that
        does not descend from the newest one published is refused (exit 4). On a held channel the release is uploaded
        and nothing is moved (exit 5).

        \b
        Example: dagctl publish --store s3://dags --bundle analytics --channel main --trust trust.json --path dags
        """
        settings = cli.settings
        chain = cli.chain(begin_epoch=new_epoch)
        where = settings.find("repo", repo)
        clone = Repo(Path(where.value[0] if where else "."))
        setting = settings.find("commit", commit)
        revision = setting.value[0] if setting else "HEAD"
        signers = cli.signers("release-key", release_key, chain)
        writer = cli.writer(chain, pointer_key, expires)
        full = clone.resolve(revision)
        entry = chain.rules.entry
        request = PublishRequest(
            repo=clone,
            commit=full,
            ref=_ref(settings, ref, clone, full),
            repository=_repository(settings, repository_url, clone),
            paths=_paths(settings, path, entry.paths),
            selection=_selection(settings, include, exclude, entry.selection),
            builder=_builder(settings),
            reason=names.text(reason, "--reason"),
            force=force,
            level=_number(settings, "level", level, range(1, MAX_LEVEL + 1), DEFAULT_LEVEL),
            deltas=_number(settings, "deltas", deltas, range(MAX_DELTAS + 1), DEFAULT_DELTAS),
        )
        if not dry_run:
            cli.ready_to_write(chain.layout)
        progress = cli.out.progress
        move(cli, notify, writer, lambda w: publish(chain, request, w, signers, dry_run=dry_run, progress=progress))
