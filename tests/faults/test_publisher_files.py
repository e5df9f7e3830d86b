"""Trust files and keys on an operator's disk: killed or failing at each call that changes a file, none is ever half."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher import keyring
from dagferry_shared import trust
from dagferry_shared.keys import FileSigner
from support.gitrepos import REPOSITORY
from support.sitefixtures import keys, shared_repo, site
from support.strace import options, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.sites import Site
    from support.strace import Call

    Record = Callable[[str, object], None]

__all__ = ["keys", "shared_repo", "site"]

CALLS = ("write", "fsync", "fchmod", "rename", "link", "unlink")
KILLED, USAGE = -9, 2


def traced(site: Site, directory: Path, command: list[str], *faults: str) -> tuple[int, list[Call]]:
    """Run a command under strace in a directory; return its exit code and the calls that are about files there."""
    log = site.root / "strace.log"
    done = subprocess.run(
        [*options(log, CALLS, faults), sys.executable, "-m", "dagferry_publisher", *command],
        cwd=directory,
        env=site.dagctl.environ,
        capture_output=True,
    )
    return done.returncode, [call for call in parse(log.read_text()) if call.is_below(str(directory))]


def points(calls: list[Call]) -> list[str]:
    """Name each call as a fault does: before which one."""
    return [f"{call.name}:{{}}:when={call.nth}" for call in calls]


def init(site: Site, file: Path) -> list[str]:
    public = str(site.keys / "ci.pub")
    roles = ["--release-key", public, "--pointer-key", public]
    where = ["--bundle", "analytics", "--channel", "main", "--repository", REPOSITORY, "--path", "dags"]
    return ["trust", "init", *where, *roles, "--out", str(file)]


def edit(site: Site, file: Path) -> list[str]:
    key = str(site.keys / "spare.pub")
    return ["trust", "add-key", key, "--channel", "main", "--role", "pointer", "--trust", str(file)]


@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC"])
@pytest.mark.parametrize("command", [init, edit])
def test_a_trust_file_is_the_old_or_the_new_one(
    site: Site, tmp_path: Path, command: Callable[[Site, Path], list[str]], fault: str, record_property: Record
) -> None:
    directory = tmp_path / "trust"
    directory.mkdir()
    file = directory / "trust.json"
    old = b"" if command is init else site.trust.read_bytes()

    def start_over() -> None:
        for path in directory.iterdir():
            path.unlink()
        if old:
            file.write_bytes(old)

    start_over()
    code, calls = traced(site, directory, command(site, file))
    assert code == 0
    new = file.read_bytes()
    assert [call.name for call in calls] == ["write", "fsync", "rename", "fsync"]
    for point in points(calls):
        start_over()
        code, _ = traced(site, directory, command(site, file), point.format(fault))
        found = file.read_bytes() if file.exists() else b""
        assert found in {old, new}, point
        if fault != "signal=KILL":
            assert code == USAGE, point
            assert {path.name for path in directory.iterdir()} <= {"trust.json"}, point
        if not found:
            site.dagctl(*command(site, file))
        site.dagctl("trust", "epoch", "--trust", file)
        assert trust.parse(file.read_bytes()).epoch == trust.parse(new).epoch + 1
    record_property("kill points" if "KILL" in fault else "failed calls", len(calls))


def pair(directory: Path) -> tuple[FileSigner | None, str | None]:
    """Load what is there of a pair; a file that is there is whole."""
    private, public = directory / "new.key", directory / "new.pub"
    signer = FileSigner.from_pem(private.read_bytes(), None, "new.key") if private.exists() else None
    if signer:
        assert private.stat().st_mode & 0o777 == 0o600
    return signer, keyring.public_key(str(public), "key").id if public.exists() else None


@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC"])
def test_a_key_is_there_whole_or_not_at_all(site: Site, tmp_path: Path, fault: str, record_property: Record) -> None:
    directory = tmp_path / "new"
    directory.mkdir()
    command = ["keygen", "--out", str(directory / "new")]
    code, calls = traced(site, directory, command)
    assert code == 0
    assert [call.name for call in calls] == 2 * ["fchmod", "write", "fsync", "link", "unlink"] + ["fsync"]
    for point in points(calls):
        for path in directory.iterdir():
            path.unlink()
        code, _ = traced(site, directory, command, point.format(fault))
        signer, public = pair(directory)
        assert signer is None or public in {None, signer.public.id}, point
        if fault != "signal=KILL":
            assert code == (0 if public else USAGE), point
            assert (signer is None) == (public is None), point
        again = site.dagctl.ended(*command)
        assert again.code == (USAGE if signer or public else 0), point
        if signer:
            kept, _ = pair(directory)
            assert kept
            assert kept.public.id == signer.public.id, "a key is never overwritten"
    record_property("kill points" if "KILL" in fault else "failed calls", len(calls))
