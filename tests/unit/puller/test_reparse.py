"""Which files are asked for after a switch, and when again."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller.airflow import reparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD, NEW = 1_000, 2_000  # seconds since 1970


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for Airflow: a tree of three files, of which two are new; returns what is asked for."""
    for name, stamp in (("same.py", OLD), ("changed.py", NEW), ("new.py", NEW)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (stamp, stamp))
    found: list[list[str]] = []
    monkeypatch.setattr(reparse, "dag_files", lambda path: ["same.py", "changed.py", "new.py", "link-to-nowhere.py"])
    monkeypatch.setattr(reparse, "request", lambda bundle, files: found.append(list(files)))
    return found


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_what_is_younger_than_the_version_before_is_asked_for_once(tmp_path: Path, asked: list[list[str]]) -> None:
    made = reparse.Reparse("etl")
    made.switched(OLD * 10**9, tmp_path)
    assert asked == [["changed.py", "new.py"]]
    if not reparse.children():
        assert not made.is_pending
    made.settle(tmp_path)
    assert asked[1:] in ([], [["changed.py", "new.py"]])


def test_it_is_asked_again_when_the_parses_of_that_moment_have_ended(
    tmp_path: Path, asked: list[list[str]], child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reparse, "children", lambda: frozenset({child.pid} & real()))
    made = reparse.Reparse("etl")
    made.switched(OLD * 10**9, tmp_path)
    made.settle(tmp_path)
    assert (made.is_pending, len(asked)) == (True, 1)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    made.settle(tmp_path)
    assert (made.is_pending, len(asked)) == (True, 1)  # it ended, but Airflow has not yet taken what it found
    child.wait()
    made.settle(tmp_path)
    made.settle(tmp_path)
    assert (made.is_pending, asked) == (False, [["changed.py", "new.py"]] * 2)


real = reparse.children


def test_process_that_never_ends_is_waited_for_a_minute(
    tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(reparse, "children", lambda: frozenset({1}))
    made = reparse.Reparse("etl", lambda: now[0])
    made.switched(OLD * 10**9, tmp_path)
    now[0] = 61.0
    made.settle(tmp_path)
    assert (made.is_pending, len(asked)) == (False, 2)


def test_second_switch_while_a_parse_runs_asks_for_what_both_changed(
    tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reparse, "children", lambda: frozenset({1}))
    made = reparse.Reparse("etl")
    made.switched(OLD * 10**9, tmp_path)
    made.switched(NEW * 10**9, tmp_path)
    assert asked == [["changed.py", "new.py"]] * 2


def test_airflow_that_cannot_be_asked_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reparse, "dag_files", lambda path: {}["no such table"])
    reparse.Reparse("etl").switched(0, tmp_path)
    assert "cannot ask for changed files to be parsed now: 'no such table'" in caplog.text


def test_file_that_somebody_else_asked_for_is_not_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {("etl", "there.py")}

    class Request:
        bundle_name = "column"
        relative_fileloc = "column"

        def __init__(self, bundle: str, file: str) -> None:
            self.row = (bundle, file)

    class Session:
        def scalars(self, _: object) -> list[str]:
            return [file for _, file in rows]

        def add_all(self, made: Any) -> None:
            rows.update(request.row for request in made)

    @contextmanager
    def create_session() -> Iterator[Session]:
        yield Session()

    select = SimpleNamespace(where=lambda condition: condition)
    modules = {
        "airflow.models.dagbag": SimpleNamespace(DagPriorityParsingRequest=Request),
        "airflow.utils.session": SimpleNamespace(create_session=create_session),
        "sqlalchemy": SimpleNamespace(select=lambda column: select),
    }
    monkeypatch.setattr(reparse.importlib, "import_module", modules.__getitem__)
    reparse.request("etl", ["there.py", "new.py"])
    assert rows == {("etl", "there.py"), ("etl", "new.py")}


def test_dag_files_are_those_that_airflow_takes_for_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = SimpleNamespace(getboolean=lambda section, key, fallback: fallback)
    modules = {
        "airflow.configuration": SimpleNamespace(conf=conf),
        "airflow.utils.file": SimpleNamespace(list_py_file_paths=lambda path, safe_mode: [f"{path}/sub/a.py"]),
    }
    monkeypatch.setattr(reparse.importlib, "import_module", modules.__getitem__)
    assert reparse.dag_files(tmp_path) == ["sub/a.py"]
