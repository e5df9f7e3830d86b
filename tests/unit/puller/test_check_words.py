"""What the process outside does with hostile words from the sandbox."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dagferry_puller.airflow.check import box, job
from dagferry_puller.airflow.check.box import Terms, Words
from dagferry_puller.airflow.check.report import MAX_ERRORS, Finding, Kind, Report, from_traceback, printable
from dagferry_puller.exits import Exit


def listen(script: str, seconds: float = 10.0) -> Words:
    """Return what is understood of a process that writes to descriptor 9."""
    reader, writer = os.pipe()
    code = f"import os\nos.dup2({writer}, 9)\nos.close({writer})\n{script}"
    process = box.subprocess.Popen([sys.executable, "-c", code], pass_fds=(writer,))
    os.close(writer)
    try:
        return box._listen(process, reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "script",
    [
        "os.write(9, b'nonsense\\n')",
        "os.write(9, b'[1]\\n')",
        "os.write(9, b'[' * 60000 + b'\\n')",
        "os.write(9, b'\\xff\\n')",
        "while True: os.write(9, b'x' * 65536)",
        "while True: os.write(9, b'{}\\n' * 1000)",
    ],
)
def test_nonsense_and_floods_end_the_listening(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "MAX_MESSAGES", 10_000)
    words = listen(script)
    assert words.problem == "it said too much, or nonsense"


def test_a_process_that_dies_is_no_end() -> None:
    assert listen('os.write(9, b\'{"at": "x"}\\n\'); os.kill(os.getpid(), 9)') == Words([], "x", "killed by signal 9")
    assert listen("os._exit(4)").problem == "ended with 4"


def test_a_process_that_only_closes_its_report_is_no_end() -> None:
    assert listen("import time; os.close(9); time.sleep(60)").problem == "it closed its report"


def test_silence_lasts_no_longer_than_the_deadline() -> None:
    assert listen("import time; time.sleep(60)", seconds=0.2).problem == "timeout"


def read(*messages: dict[str, Any]) -> Report:
    """Return what a job on /tree makes of messages."""
    made = job.Job("/tree", (".",), ("load",), {}, Terms(), 0.0)
    report = Report("/tree")
    job._Reader(made, report).read("load", "/tree", Words(list(messages)))
    return report


@pytest.mark.parametrize(
    "result",
    [
        "nonsense",
        "[]",
        "{}",
        json.dumps({"dags": [1], "errors": []}),
        json.dumps({"dags": ["a", "a"], "errors": []}),
        json.dumps({"dags": "a", "errors": []}),
        json.dumps({"dags": [], "errors": ["a"]}),
        json.dumps({"dags": [], "errors": [{"file": 1, "text": "x"}]}),
        '{"dags": [], "dags": [], "errors": []}',
        '{"dags": ' + "[" * 5000 + "]" * 5000 + ', "errors": []}',
        json.dumps({"dags": ["x" * (2 << 20)], "errors": []}),
        '{"dags": ["\\ud800"], "errors": []}',
    ],
)
def test_a_result_that_is_not_as_it_should_be_is_the_files_fault(result: str) -> None:
    (finding,) = read({"file": "/tree/a.py", "ended": None, "result": result}).findings
    assert (finding.file, finding.kind) == ("a.py", Kind.DIED)
    assert "nonsense instead of a result" in finding.message


def test_a_file_speaks_for_itself_alone() -> None:
    errors = [{"file": "/tree/good.py", "text": "a lie"}, {"file": "/tree/a.zip/inner.py", "text": "true"}]
    result = json.dumps({"dags": ["x"], "errors": errors})
    report = read({"file": "/tree/a.zip", "ended": None, "result": result})
    assert [(finding.file, finding.message) for finding in report.findings] == [
        ("a.zip", "a lie"),
        ("a.zip/inner.py", "true"),
    ]
    assert report.dags == {"x": {"a.zip"}}


@pytest.mark.parametrize(
    "message",
    [
        {"compiled": "many"},
        {"compiled": -1},
        {"error": 1, "file": "/tree/a.py", "line": "x"},
        {"result": 1, "file": None},
        {"sandbox": "whole"},
    ],
)
def test_messages_of_wrong_types_are_refused(message: dict[str, Any]) -> None:
    report = read(message)
    assert report.code() is Exit.REFUSED
    assert "nonsense came out of the sandbox" in report.findings[-1].message
    json.dumps(report.document())
    list(report.lines())


def test_what_is_printed_has_no_control_characters() -> None:
    assert printable("a\x1b[31m\n\r\u202eb\udcff", 100) == "a [31m   b\\udcff"
    assert printable("x" * 20, 10) == "x" * 9 + "…"


def test_a_traceback_gives_the_line_in_the_file_itself() -> None:
    text = (
        'Traceback (most recent call last):\n  File "/lib/airflow/loader.py", line 9, in parse\n    load()\n'
        '  File "dags/a.py", line 7, in <module>\n    import helper\n'
        '  File "dags/helper.py", line 2\n    def f(:\n          ^\nSyntaxError: invalid syntax\n'
    )
    finding = from_traceback("dags/a.py", "dags/a.py", text)
    assert (finding.line, finding.message) == (7, "SyntaxError: invalid syntax")
    assert finding.detail.startswith("Traceback")
    plain = from_traceback("a.py", "a.py", "AirflowDagCycleException: Cycle detected")
    assert (plain.line, plain.message, plain.detail) == (None, "AirflowDagCycleException: Cycle detected", "")
    assert from_traceback("a.py", "a.py", "").message == ""


def test_a_report_of_very_many_errors_is_cut_and_says_so() -> None:
    report = Report("/tree", findings=[Finding(f"{n}.py", 1, Kind.SYNTAX, "x") for n in range(MAX_ERRORS + 5)])
    assert len(report.document()["errors"]) == MAX_ERRORS
    assert report.document()["errors_left_off"] == 5
    assert "… and 5 errors more" in list(report.lines())


def test_only_a_few_variables_reach_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "AWS_PROFILE": "x",
        "GITLAB_TOKEN": "x",
        "AIRFLOW_VAR_A": "x",
        "AIRFLOW__CORE__FERNET_KEY": "x",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": "/a:/tree/b::/tree:/treetop",
    }
    reduced = box.reduced({"GIVEN": "1"}, environ, "/tree")
    assert reduced.pop("PYTHONUSERBASE")
    assert reduced == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(tmp_path / "plugins"),
        "PYTHONPATH": f"/a:/treetop:{tmp_path}/config",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIVEN": "1",
    }
    inside = box.reduced({}, environ, str(tmp_path))
    assert "AIRFLOW__CORE__PLUGINS_FOLDER" not in inside
    assert inside["PYTHONPATH"] == "/a:/tree/b:/tree:/treetop"
