"""dagferry-check --dags with real Airflows: good DAGs load, bad ones are named, hostile ones get nowhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.checks import (
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

WAYS = {
    "airflow3": ("airflow3_python", ()),
    "airflow2": ("airflow2_python", ()),
    "airflow3-without-namespaces": ("airflow3_python", WITHOUT_NAMESPACES),
}


@pytest.fixture(params=["airflow3_python", "airflow2_python"])
def command(request: pytest.FixtureRequest) -> Path:
    """Return the command of each Airflow."""
    return request.getfixturevalue(request.param).with_name("dagferry-check")


@pytest.fixture(scope="module")
def server() -> Iterator[socket.socket]:
    """Return a port that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture(scope="module", params=list(WAYS))
def hostile_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: socket.socket
) -> tuple[Checked, dict[str, Any], dict[str, Any], socket.socket]:
    """Check the hostile tree once in each way; the result, the tree before and after it, and a port that listens."""
    fixture, prefix = WAYS[request.param]
    server.setblocking(False)
    directory = write_tree(tmp_path_factory.mktemp("hostile"), hostile(server.getsockname()[1]))
    before = snapshot(directory)
    checked = run_check(
        *("--dags", "--json", "--file-timeout", "6s", directory),
        command=request.getfixturevalue(fixture).with_name("dagferry-check"),
        prefix=prefix,
        environ={**SECRETS, "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "2"},
    )
    assert checked.code == 3, checked.stderr
    return checked, before, snapshot(directory), server


@pytest.mark.parametrize("file", FINDINGS)
def test_each_bad_file_is_named_with_what_is_wrong(hostile_run: Any, file: str) -> None:
    (error,) = hostile_run[0].errors()[file]
    kind, words, line = FINDINGS[file]
    assert (error["kind"], error["line"], error["known"]) == (kind, line, False)
    assert words.format(seconds=6) in error["message"]


def test_good_files_load_whatever_the_others_do(hostile_run: Any) -> None:
    checked = hostile_run[0]
    assert set(checked.errors()) == set(FINDINGS)
    assert checked.report["duplicates"] == [{"dag_id": "same", "files": ["same_a.py", "same_b.py"]}]
    # good, prints, forks, kills, spoofed, same, last
    assert (checked.report["dags"], checked.report["loaded"]) == (7, 20)
    assert checked.report["timed_out"] is False


def test_the_tree_is_as_it_was(hostile_run: Any) -> None:
    assert hostile_run[1] == hostile_run[2]


def test_nothing_survives_and_nothing_got_out(hostile_run: Any) -> None:
    assert processes_with(MARK) == []
    with pytest.raises(BlockingIOError):
        hostile_run[3].accept()


def test_the_report_says_what_the_sandbox_took_away(hostile_run: Any, request: pytest.FixtureRequest) -> None:
    report = hostile_run[0].report
    if "without" in request.node.callspec.id:
        assert report["sandbox"]["files"] == "no-writes"
        assert report["sandbox"]["processes"] in {"no-signals", "shared"}
        assert "does not permit the whole sandbox" in report["notes"][0]
    else:
        whole = {"files": "read-only", "network": "none", "processes": "own", "problem": None}
        assert (report["sandbox"], report["notes"]) == (whole, [])


def test_a_good_tree_passes_and_names_airflow(command: Path, tmp_path: Path) -> None:
    files = hostile(0)
    write_tree(tmp_path, {name: files[name] for name in ("a_good.py", "helpers/__init__.py", "helpers/names.py")})
    checked = run_check("--compile", "--dags", tmp_path, command=command)
    assert (checked.code, checked.stderr) == (0, "")
    assert "good: 0 errors; 3 files compiled; 1 DAG in 1 file loaded with Airflow " in checked.stdout


def test_a_link_that_leads_in_circles_is_refused_as_airflow_would_stumble(command: Path, tmp_path: Path) -> None:
    write_tree(tmp_path, {"sub/z_last.py": hostile(0)["z_last.py"]})
    os.symlink("..", tmp_path / "sub" / "loop")
    checked = run_check("--dags", "--json", tmp_path, command=command)
    assert checked.code == 3
    assert checked.report["errors"][0]["kind"] == "tree"
    assert "recursive loop" in checked.report["errors"][0]["message"]
    assert run_check("--compile", tmp_path, command=command).code == 0


LOOKUPS = {
    "default.py": "from airflow.models import Variable\nfrom airflow import DAG\n"
    "with DAG(Variable.get('none', 'fallback'), schedule=None): pass\n",
    "given.py": "from airflow.models import Variable\nfrom airflow import DAG\n"
    "with DAG(Variable.get('bucket'), schedule=None): pass\n",
    "missing.py": "from airflow.models import Variable\nfrom airflow import DAG\nVariable.get('none')\n",
    "connection.py": "from airflow.hooks.base import BaseHook\nfrom airflow import DAG\n"
    "with DAG(BaseHook.get_connection('pg').host, schedule=None): pass\n",
    "no_connection.py": "from airflow.hooks.base import BaseHook\nfrom airflow import DAG\n"
    "BaseHook.get_connection('none')\n",
    "database.py": "from airflow import DAG, settings\nfrom sqlalchemy import text\n"
    "settings.Session().execute(text('select * from dag'))\n",
}


def test_variables_and_connections_are_those_that_were_given(command: Path, tmp_path: Path) -> None:
    write_tree(tmp_path, LOOKUPS)
    given = ("--env", "AIRFLOW_VAR_BUCKET", "--env", "AIRFLOW_CONN_PG=postgres://u:p@pg.example.org/x")
    environ = {"AIRFLOW_VAR_BUCKET": "here", "AIRFLOW_VAR_NONE": "not passed on"}
    checked = run_check("--dags", "--json", *given, tmp_path, command=command, environ=environ)
    messages = {file: error["message"] for file, (error,) in checked.errors().items()}
    assert set(messages) == {"missing.py", "no_connection.py", "database.py"}
    assert "Variable none does not exist" in messages["missing.py"]
    assert "isn't defined" in messages["no_connection.py"]
    assert "no such table" in messages["database.py"]
    assert checked.report["dags"] == 3
