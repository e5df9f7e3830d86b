"""The sandbox of ``dagferry-check --dags``, around a fake Airflow; tests/airflow does the same with real ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import fakedagbag
from support.checks import (
    COMMAND,
    FINDINGS,
    MARK,
    SECRETS,
    WITHOUT_NAMESPACES,
    Checked,
    hostile,
    processes_with,
    run_check,
    snapshot,
    write_tree,
)
from support.waiting import wait_for


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return fakedagbag.install(tmp_path_factory.mktemp("fake"))


@pytest.fixture(scope="module")
def server() -> Iterator[socket.socket]:
    """Return a port that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture(scope="module", params=[(), WITHOUT_NAMESPACES], ids=["namespaces", "without-namespaces"])
def hostile_run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fake: dict[str, str],
    server: socket.socket,
) -> tuple[Checked, Any, Any, socket.socket]:
    server.setblocking(False)
    directory = write_tree(tmp_path_factory.mktemp("hostile"), hostile(server.getsockname()[1]))
    before = snapshot(directory)
    arguments = ("--dags", "--json", "--file-timeout", "3s", directory)
    checked = run_check(*arguments, prefix=request.param, environ={**SECRETS, **fake})
    assert checked.code == 3, checked.stderr
    return checked, before, snapshot(directory), server


@pytest.mark.parametrize("file", [file for file in FINDINGS if file != "sleeps.py"])
def test_each_bad_file_is_named_with_what_is_wrong(hostile_run: Any, file: str) -> None:
    (error,) = hostile_run[0].errors()[file]
    kind, words, line = FINDINGS[file]
    assert (error["kind"], error["line"], error["known"]) == (kind, line, False)
    assert words.format(seconds=3) in error["message"]


def test_good_files_load_whatever_the_others_do(hostile_run: Any) -> None:
    checked = hostile_run[0]
    assert set(checked.errors()) == set(FINDINGS)
    assert checked.report["duplicates"] == [{"dag_id": "same", "files": ["same_a.py", "same_b.py"]}]
    assert (checked.report["dags"], checked.report["loaded"]) == (7, 20)


def test_the_tree_is_as_it_was(hostile_run: Any) -> None:
    assert hostile_run[1] == hostile_run[2]


def test_nothing_survives_and_nothing_got_out(hostile_run: Any) -> None:
    assert processes_with(MARK) == []
    with pytest.raises(BlockingIOError):
        hostile_run[3].accept()


def test_a_sandbox_that_is_not_whole_is_said_and_can_be_refused(tmp_path: Path, fake: dict[str, str]) -> None:
    write_tree(tmp_path, {"good.py": "from airflow import DAG\nDAG('good')\n"})
    arguments = ("--dags", "--json", tmp_path)
    report = run_check(*arguments, prefix=WITHOUT_NAMESPACES, environ=fake).report
    assert report["sandbox"]["files"] in {"no-writes", "shared"}
    assert report["notes"][0].startswith("this host does not permit the whole sandbox (unshare: No space left on ")
    assert (report["exit_code"], report["dags"]) == (0, 1)
    refused = run_check("--require-sandbox", *arguments, prefix=WITHOUT_NAMESPACES, environ=fake)
    assert refused.code == 2
    assert "--require-sandbox: this host does not permit the whole sandbox" in refused.stderr
    assert run_check("--require-sandbox", *arguments, environ=fake).code == 0


def test_the_network_stays_where_it_was_asked_for(tmp_path: Path, fake: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_tree(tmp_path, {"connects.py": hostile(server.getsockname()[1])["connects.py"]})
        checked = run_check("--dags", "--json", "--network", tmp_path, environ=fake)
        assert (checked.code, checked.report["sandbox"]["network"]) == (0, "kept")
        server.settimeout(5)
        server.accept()[0].close()


PATHS = {
    "common/names.py": "NAME = 'shared'\n",
    "dags/uses.py": "from airflow import DAG\nfrom common.names import NAME\nDAG(NAME)\n",
    "sitecustomize.py": "import os, pathlib\npathlib.Path(os.environ.get('WITNESS', os.devnull)).write_text('ran')\n",
}


def test_code_of_the_tree_is_importable_where_asked_and_runs_in_the_sandbox_alone(
    tmp_path: Path, fake: dict[str, str]
) -> None:
    tree, witness = write_tree(tmp_path / "tree", PATHS), tmp_path / "witness"
    assert run_check("--dags", "--path", "dags", tree, environ=fake).code == 3
    arguments = ("--dags", "--path", "dags", "--import-from", ".", "--env", f"WITNESS={witness}", tree)
    assert run_check(*arguments, environ=fake).code == 0
    assert not witness.exists()


def test_a_pythonpath_into_the_tree_does_not_run_it_before_the_sandbox_is_up(
    tmp_path: Path, fake: dict[str, str]
) -> None:
    tree, witness = write_tree(tmp_path / "tree", PATHS), tmp_path / "witness"
    environ = {"PYTHONPATH": f"{fake['PYTHONPATH']}:{tree}"}
    arguments = ("--dags", "--path", "dags", "--env", f"WITNESS={witness}", tree)
    assert "No module named 'common'" in run_check(*arguments, environ=environ).stdout
    assert not witness.exists()


def test_a_dag_that_cannot_be_stored_is_an_import_error(tmp_path: Path, fake: dict[str, str]) -> None:
    write_tree(tmp_path, {"odd.py": "from airflow import DAG\nDAG('odd', unserializable=True)\n"})
    (error,) = run_check("--dags", "--json", tmp_path, environ=fake).errors()["odd.py"]
    assert (error["kind"], error["message"]) == ("import", "TypeError: no way to write this down")


def test_a_tree_that_cannot_be_walked_is_refused(tmp_path: Path, fake: dict[str, str]) -> None:
    os.symlink(".", tmp_path / "loop")
    checked = run_check("--dags", tmp_path, environ=fake)
    assert checked.code == 3
    assert ".: RuntimeError: Detected recursive loop" in checked.stdout


def test_time_runs_out_as_a_whole_and_nothing_stays(tmp_path: Path, fake: dict[str, str]) -> None:
    write_tree(tmp_path, {"both.py": hostile(0)["forks.py"] + "import time\ntime.sleep(600)\n"})
    checked = run_check("--dags", "--json", "--timeout", "5s", tmp_path, environ=fake)
    assert (checked.code, checked.report["timed_out"]) == (11, True)
    assert checked.report["notes"] == ["time ran out at both.py"]
    assert processes_with(MARK) == []


def test_an_airflow_that_does_not_load_is_unexpected(tmp_path: Path, fake: dict[str, str]) -> None:
    broken = write_tree(tmp_path / "broken", {"airflow/__init__.py": "raise SystemExit('no configuration')\n"})
    (tmp_path / "tree").mkdir()
    checked = run_check("--dags", "--json", tmp_path / "tree", environ={"PYTHONPATH": str(broken)})
    assert (checked.code, checked.stdout) == (1, "")
    assert "Airflow cannot be loaded: SystemExit: no configuration" in checked.stderr


def test_without_airflow_dags_is_a_usage_error(tmp_path: Path) -> None:
    checked = run_check("--dags", tmp_path)
    assert checked.code == 2
    assert "has no Airflow" in checked.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_check_that_is_ended_takes_the_sandbox_with_it(
    tmp_path: Path, fake: dict[str, str], number: int, code: int
) -> None:
    tree = write_tree(tmp_path / "tree", {"both.py": hostile(0)["forks.py"] + "import time\ntime.sleep(600)\n"})
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environ = {**os.environ, **fake, "TMPDIR": str(temporary)}
    process = subprocess.Popen([COMMAND, "--dags", tree], env=environ, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: processes_with(MARK), "the DAG runs")
        process.send_signal(number)
        assert process.wait(timeout=20) == code
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not processes_with(MARK), "the sandbox is gone")
    if number == signal.SIGTERM:
        assert list(temporary.iterdir()) == []
