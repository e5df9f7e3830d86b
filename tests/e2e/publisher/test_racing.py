"""Publishers that race, each in a process of its own: nothing is lost, nothing is doubled, on each kind of store."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest

from support.s3server import S3Server, new_bucket, real_rgw, s3_server
from support.scale import scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.gitrepos import GitRepo
    from support.sites import Site

PROCESSES = 8
EACH = scale(6, 25) if real_rgw() else 25
CONFLICT = 4


def run_commands(barrier: object, environ: dict[str, str], commands: Sequence[Sequence[str]], out: Path) -> None:
    """Run commands one after the other in this (new) process; write their exit codes and errors to a file."""
    os.environ.clear()
    os.environ.update(environ)
    from typer.testing import CliRunner

    from dagferry_publisher.cli import session
    from dagferry_publisher.cli.main import build
    from dagferry_publisher.ops import candidate

    session.open_store = functools.cache(session.open_store)  # a boto3 client takes half a second of work
    candidate._EQUAL_SEARCH = 1  # commits are distinct; else every publish reads the whole history
    barrier.wait()  # type: ignore[attr-defined]
    ends = []
    for command in commands:
        with contextlib.redirect_stdout(io.StringIO()):
            done = CliRunner().invoke(build(), list(command))
        ends.append((done.exit_code, done.stderr))
    out.write_text(json.dumps(ends))


def race(site: Site, tasks: Sequence[Sequence[Sequence[str]]]) -> list[list[tuple[int, str]]]:
    """Run lists of commands at the same time, a process each; return how each command ended."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(tasks))
    outs = [site.root / f"racer-{number}" for number in range(len(tasks))]
    racers = [
        context.Process(target=run_commands, args=(barrier, site.dagctl.environ, commands, out))
        for commands, out in zip(tasks, outs, strict=True)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * len(racers)
    return [json.loads(out.read_text()) for out in outs]


@pytest.fixture(scope="session")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def stored(request: pytest.FixtureRequest, own_site: Site) -> Site:
    """A site on a store of each kind."""
    if request.param == "s3":
        server = request.getfixturevalue("server")
        own_site.dagctl.environ.update(server.environ, DAGFERRY_STORE=f"s3://{new_bucket(server)}/some/prefix")
    return own_site


def chain(site: Site) -> list[tuple[int, str]]:
    entries = site.dagctl("history", "--limit", "1000", "--json").json["entries"]
    return [(entry["sequence"], entry["commit"]) for entry in reversed(entries)]


def publish(commit: str, *options: str) -> list[str]:
    return ["publish", "--commit", commit, "--ref", "main", "--level", "1", *options]


def test_forced_publishers_are_all_in_the_chain_once(stored: Site, repo: GitRepo) -> None:
    commits = repo.commits(PROCESSES * EACH)
    tasks = [[publish(commit, "--force") for commit in commits[start::PROCESSES]] for start in range(PROCESSES)]
    for ends in race(stored, tasks):
        assert [end for end in ends if end[0] != 0] == []
        assert len(ends) == EACH
    found = chain(stored)
    assert [sequence for sequence, _ in found] == list(range(1, PROCESSES * EACH + 1))
    assert sorted(commit for _, commit in found) == sorted(commits)
    document = stored.dagctl("verify", "--all", "--json").json
    assert document["findings"] == []
    assert document["checked"]["history entries"] == PROCESSES * EACH


def test_publishers_without_force_are_in_the_chain_or_refused(stored: Site, repo: GitRepo) -> None:
    commits = repo.commits(PROCESSES * 6)
    tasks = [[publish(commit) for commit in commits[start::PROCESSES]] for start in range(PROCESSES)]
    results = race(stored, tasks)
    accepted = []
    for start, ends in enumerate(results):
        for commit, (code, error) in zip(commits[start::PROCESSES], ends, strict=True):
            assert code in {0, CONFLICT}, error
            if code == 0:
                accepted.append(commit)
            else:
                assert "does not descend" in error
    found = chain(stored)
    assert [sequence for sequence, _ in found] == list(range(1, len(accepted) + 1))
    assert [commit for _, commit in found] == [commit for commit in commits if commit in accepted], "newest always wins"
    assert found[-1][1] == commits[-1], "the newest commit descends from all others, so nothing can refuse it"
    assert stored.dagctl("verify", "--all", "--json").json["findings"] == []


def test_a_rollback_among_publishers_holds_the_channel(own_site: Site, repo: GitRepo) -> None:
    commits = repo.commits(30)
    for commit in commits[:2]:
        own_site.publish(commit)
    tasks = [[publish(commit) for commit in commits[start::3]] for start in (2, 3, 4)]
    tasks.append([["rollback", "--to", commits[0]]])
    *publishers, [rollback] = race(own_site, tasks)
    assert rollback[0] == 0
    assert own_site.live() == commits[0]
    assert own_site.pointer()["held"] is not None
    entries = own_site.dagctl("history", "--json").json["entries"][::-1]
    assert [entry["action"] for entry in entries] == ["publish"] * (len(entries) - 1) + ["rollback"]
    assert sum(code == 0 for ends in publishers for code, _ in ends) == len(entries) - 3
    assert {code for ends in publishers for code, _ in ends} <= {0, CONFLICT, 5}
