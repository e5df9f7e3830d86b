"""``dagctl publish``: make a commit live on a channel, or in development the work tree."""

from __future__ import annotations

from typing import Annotated

import typer

from dagferry_publisher.archive import DEFAULT_LEVEL, MAX_LEVEL
from dagferry_publisher.cli import publishing
from dagferry_publisher.cli.command import TARGET, command, env_help
from dagferry_publisher.cli.options import DryRun, Expires, Notify, PointerKey, Reason, ReleaseKey
from dagferry_publisher.cli.publishing import Given, Source
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.deltas import DEFAULT_DELTAS
from dagferry_shared.release import MAX_DELTAS

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
_Dev = Annotated[
    bool,
    typer.Option(
        "--dev",
        help="Publish the work tree with what is not committed, as a dev release; only where the channel's trust entry "
        "says allow_dev. What git ignores is left out. Defaults: --level 3, --deltas 1.",
    ),
]
_Watch = Annotated[  # a variable of its own: DAGFERRY_WATCH is the one of dagctl status
    bool,
    typer.Option(
        "--watch",
        envvar="DAGFERRY_PUBLISH_WATCH",
        help="As --dev, now and at each change, until Ctrl-C; --json prints a document a line. "
        "[env: DAGFERRY_PUBLISH_WATCH]",
    ),
]
_NewEpoch = Annotated[
    bool,
    typer.Option(
        "--new-epoch",
        help="Begin the trust file's epoch with this commit: no history verifies any more (compromised key).",
    ),
]


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
        dev: _Dev = False,
        watch: _Watch = False,
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Pack the DAGs at a commit, sign them, upload them, and make them live in one atomic step.

        Publishing what is live already is a success that changes nothing, so a job can be run again. A commit that
        does not descend from the newest one published is refused (exit 4). On a held channel the release is uploaded
        and nothing is moved (exit 5).

        With --dev or --watch it is the work tree that becomes live, with all that git add would take, as a dev release:
        marked as that everywhere, on top of anything, and only where the trust file allows it.

        \b
        Example: dagctl publish --store s3://dags --bundle analytics --channel main --trust trust.json --path dags
                 dagctl publish --watch --channel dev-$USER --notify http://127.0.0.1:9474
        """
        source = Source(repo, commit, path, include, exclude, repository_url, ref)
        given = Given(
            source, release_key, pointer_key, expires, reason, level, deltas, notify, force, new_epoch, dry_run
        )
        if dev or watch:
            publishing.uncommitted(cli, given, watch=watch)
        else:
            publishing.committed(cli, given)
