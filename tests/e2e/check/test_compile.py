"""``dagferry-check --compile`` on directories and in checkouts: real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.airflow_dags import git
from support.checks import COMMAND, run_check, snapshot, write_tree

GOOD = {"a.py": "x = 1\n", "sub/b.py": "y = 2\n", "notes.txt": "def f(:\n"}


def test_a_good_tree_passes_and_stays_as_it_is(tmp_path: Path) -> None:
    write_tree(tmp_path, GOOD)
    before = snapshot(tmp_path)
    checked = run_check(tmp_path)
    assert (checked.code, checked.stdout, checked.stderr) == (0, "good: 0 errors; 2 files compiled\n", "")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        (b"x = 1\ndef f(:\n", 2, "SyntaxError: invalid syntax"),
        (b"if True:\nx = 1\n", 2, "IndentationError: expected an indented block"),
        (b"x = 1\ny = '\0'\n", 2, "null byte"),
        (b"x = 1\ny = '\xff'\n", 2, "'utf-8' codec can't decode"),
        (b"# coding: klingon\nx = 1\n", None, "unknown encoding: klingon"),
        (b"return 1\n", 1, "'return' outside function"),
        (b"x = " + b"(" * 300 + b")" * 300 + b"\n", 1, "too many nested parentheses"),
        (b"x = " + b"-" * 100_000 + b"1\n", None, "Error"),
        (b"x = " + b"1+" * 200_000 + b"1\n", None, ""),
        (b"#" * (16 << 20) + b"#", None, "larger than 16 MiB"),
    ],
)
def test_what_does_not_compile_is_named_with_its_line(
    tmp_path: Path, source: bytes, line: int | None, words: str
) -> None:
    write_tree(tmp_path, {**GOOD, "dags/bad.py": source})
    checked = run_check("--json", tmp_path)
    assert checked.code == 3
    (error,) = checked.report["errors"]
    assert (error["file"], error["line"], error["known"]) == ("dags/bad.py", line, False)
    assert words in error["message"]
    assert json.loads(checked.stderr)["error"]["exit_code"] == 3


def test_people_get_one_line_for_each_error(tmp_path: Path) -> None:
    write_tree(tmp_path, {**GOOD, "b/bad.py": "x = 1\ndef f(:\n", "a/worse.py": "\n\nimport\n"})
    checked = run_check(tmp_path)
    assert checked.stdout.splitlines() == [
        "a/worse.py:3: SyntaxError: invalid syntax",
        "b/bad.py:2: SyntaxError: invalid syntax",
        "refused: 2 errors; 4 files compiled",
    ]


def test_odd_entries_neither_hang_nor_hide(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", GOOD)
    write_tree(tmp_path / "outside", {"c.py": "def f(:\n"})
    os.mkfifo(tree / "fifo.py")
    os.symlink("nowhere.py", tree / "dangling.py")
    os.symlink("notes.txt", tree / "link.py")
    os.symlink("..", tree / "sub" / "loop")
    os.symlink(tmp_path / "outside", tree / "elsewhere")
    (tree / os.fsdecode(b"odd-\xff\n.py")).write_text("def f(:\n")
    checked = run_check("--json", tree)
    messages = {file: error["message"] for file, (error,) in checked.errors().items()}
    assert messages == {
        "fifo.py": "cannot be read: not a regular file",
        "dangling.py": "cannot be read: No such file or directory",
        "link.py": "SyntaxError: invalid syntax",
        "odd-\\udcff .py": "SyntaxError: invalid syntax",
    }
    assert checked.report["compiled"] == 6


def test_git_work_tree_is_checked_without_its_git_directory(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    write_tree(
        tmp_path, {"dags/a.py": "x = 1\n", ".git/hooks/b.py": "def f(:\n", "templates/c.py": "def {{ name }}():\n"}
    )
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    assert run_check(".", cwd=tmp_path).stdout.splitlines()[0] == "templates/c.py:1: SyntaxError: invalid syntax"
    assert run_check("--path", "dags", ".", cwd=tmp_path).code == 0
    two = run_check("--path", "dags", "--path", "templates", ".", cwd=tmp_path)
    assert two.stdout.splitlines()[-1] == "refused: 1 error; 2 files compiled"
    assert git(tmp_path, "status", "--porcelain") == ""


def test_what_was_broken_before_does_not_block(tmp_path: Path) -> None:
    live = write_tree(tmp_path / "live", {**GOOD, "old.py": "def f(:\n"})
    new = write_tree(tmp_path / "new", {**GOOD, "old.py": "still broken, otherwise\n"})
    checked = run_check("--baseline", live, new)
    assert (checked.code, checked.stdout.splitlines()) == (
        0,
        [
            "old.py:1: SyntaxError: invalid syntax (known before)",
            "good: 0 errors, 1 more known before; 3 files compiled",
        ],
    )
    write_tree(new, {"a.py": "def f(:\n"})
    checked = run_check("--baseline", live, "--json", new)
    assert checked.code == 3
    known = {error["file"]: error["known"] for error in checked.report["errors"]}
    assert known == {"a.py": False, "old.py": True}


def test_an_earlier_report_is_a_baseline(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {**GOOD, "old.py": "def f(:\n"})
    (tmp_path / "known.json").write_text(run_check("--json", tree).stdout)
    assert run_check("--baseline", tmp_path / "known.json", tree).code == 0
    (tmp_path / "known.json").write_text('{"errors": [1]}')
    checked = run_check("--baseline", tmp_path / "known.json", tree)
    assert checked.code == 2
    assert "is not the output of dagferry-check --json" in checked.stderr


def test_a_baseline_that_is_not_there_excuses_nothing(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {**GOOD, "old.py": "def f(:\n"})
    checked = run_check("--baseline", tmp_path / "none", tree)
    assert checked.code == 3
    assert checked.stdout.startswith("note: no baseline: ")


def test_time_that_runs_out_is_its_own_code(tmp_path: Path) -> None:
    slow = "x = [" + ",".join(f"{n}" for n in range(200_000)) + "]\n"
    write_tree(tmp_path, {f"{n:03}.py": slow for n in range(120)})
    checked = run_check("--json", "--timeout", "1s", tmp_path)
    assert (checked.code, checked.report["timed_out"]) == (11, True)
    assert checked.report["notes"][0].startswith("time ran out at ")


def test_a_compiler_that_runs_out_of_memory_is_a_finding(tmp_path: Path) -> None:
    write_tree(tmp_path, {**GOOD, "big.py": "x = [" + "f(a, b=1), " * 900_000 + "]\n"})
    checked = run_check("--json", "--memory", "256MiB", tmp_path)
    assert checked.code == 3
    assert list(checked.errors()) == ["big.py"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "'none' is not a directory"),
        (["--path", "..", "."], "--path: '..' is not a directory in "),
        (["--path", "a.py", "."], "--path: 'a.py' is not a directory in "),
        (["--import-from", "/", "."], "--import-from: '/' is not a directory in "),
        (["--env", "NO_SUCH_NAME", "."], "--env: 'NO_SUCH_NAME' is not set here"),
        (["--timeout", "soon", "."], "not a duration"),
        (["--memory", "much", "."], "not a size such as 512MiB or 4GiB"),
        ([], "DIRECTORY"),
    ],
)
def test_usage_errors_say_what_is_wrong(tmp_path: Path, arguments: list[str], words: str) -> None:
    write_tree(tmp_path, GOOD)
    checked = run_check(*arguments, cwd=tmp_path)
    assert checked.code == 2
    assert words in checked.stderr


def test_no_place_for_a_temporary_directory_is_unexpected(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": "/proc/none", "TMP": "/proc/none", "TEMP": "/proc/none"}
    code = "import sys, tempfile; tempfile.tempdir = '/proc/none'; from dagferry_puller.airflow.check import command; "
    command = [sys.executable, "-c", code + "sys.exit(command.main(sys.argv[1:]))", tmp_path]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr


def test_the_command_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    write_tree(tmp_path, GOOD)
    code = "import sys; sys.argv = sys.argv[1:]; exec(open(sys.argv[0]).read().replace('sys.exit(main())', 'main()')); "
    code += "print(sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    done = subprocess.run([sys.executable, "-c", code, COMMAND, tmp_path], capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1]
    assert "dagferry_puller" in loaded, done.stderr
    assert not any(f"'{name}'" in loaded for name in ("cryptography", "zstandard", "obstore", "airflow"))
