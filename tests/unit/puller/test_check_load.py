"""The part of a check that runs beside the code of a DAG, here without a sandbox around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import fakedagbag
from support.checks import write_tree

_LOAD = """
import json, sys
from dagferry_puller.airflow.check import loading
kind, version = loading._dagbag()
loading._enter({"directory": sys.argv[1], "first": [sys.argv[1] + "/first"]})
print(json.dumps([version, [loading.load_file(kind, path) for path in sys.argv[2:]], sys.path[0], sys.path[-1]]))
"""
_LOCK = """
import json, os, socket, sys
from dagferry_puller.airflow.check import kernel
open_directory, closed, parent = sys.argv[1:]
kernel.drop_privileges()
kernel.landlock((open_directory, "/nowhere"), network=False)
def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"
print(json.dumps({
    "abi": kernel.landlock_abi(),
    "inside": tried(lambda: open(open_directory + "/x", "w").close()),
    "null": tried(lambda: open("/dev/null", "w").close()),
    "outside": tried(lambda: open(closed + "/x", "w").close()),
    "truncated": tried(lambda: os.truncate(closed + "/there", 0)),
    "removed": tried(lambda: os.unlink(closed + "/there")),
    "connected": tried(lambda: socket.create_connection(("127.0.0.1", 1), 5)),
    "signalled": tried(lambda: os.kill(int(parent), 0)),
}))
"""


def run(code: str, *arguments: str | Path, **environ: str) -> Any:
    """Run code in a process; returns the JSON that it prints."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_file_gives_its_dags_or_its_errors(tmp_path: Path) -> None:
    files = {
        "first/names.py": "NAME = 'first'\n",
        "good.py": "from airflow import DAG\nfrom names import NAME\nDAG(NAME)\nDAG('second')\n",
        "odd.py": "from airflow import DAG\nDAG('odd', unserializable=True)\nDAG('plain')\n",
        "bad.py": "import nothing_here  # airflow\n",
        "stops.py": "raise SystemExit('enough')  # airflow\n",
    }
    tree = write_tree(tmp_path / "tree", files)
    paths = [tree / name for name in ("good.py", "odd.py", "bad.py", "stops.py")]
    environ = fakedagbag.install(tmp_path / "fake")
    version, found, first, last = run(_LOAD, tree, *paths, **environ)
    assert (version, first, last) == ("0.fake", f"{tree}/first", str(tree))
    good, odd, bad, stops = found
    assert good == {"dags": ["first", "second"], "errors": []}
    assert odd["dags"] == ["odd", "plain"]
    for result, path, words in (
        (odd, paths[1], "no way to write this down"),
        (bad, paths[2], "No module named 'nothing_here'"),
        (stops, paths[3], "SystemExit: enough"),
    ):
        (error,) = result["errors"]
        assert error["file"] == str(path)
        assert words in error["text"]


def test_landlock_forbids_writes_elsewhere_connections_and_signals(tmp_path: Path) -> None:
    write_tree(tmp_path, {"open/a": "", "closed/there": "x"})
    found = run(_LOCK, tmp_path / "open", tmp_path / "closed", str(os.getpid()))
    if not found["abi"]:
        pytest.skip("this kernel has no Landlock")
    denied = "PermissionError"
    assert (found["inside"], found["null"]) == ("done", "done")
    assert (found["outside"], found["removed"]) == (denied, denied)
    assert found["truncated"] == (denied if found["abi"] >= 3 else "done")
    assert found["connected"] == (denied if found["abi"] >= 4 else "ConnectionRefusedError")
    assert found["signalled"] == (denied if found["abi"] >= 6 else "done")
    assert (tmp_path / "closed" / "there").read_text() == ("x" if found["abi"] >= 3 else "")


def test_children_are_ended_but_for_those_of_others() -> None:
    code = """
import json, subprocess, sys
from dagferry_puller.airflow.check import kernel
ours = subprocess.Popen(["sleep", "600"])
spared = kernel.children()
more = subprocess.Popen(["sleep", "600"])
kernel.kill_children(spared=spared)
print(json.dumps([more.wait(timeout=10), ours.poll(), len(spared)]))
ours.kill()
"""
    assert run(code) in ([-9, None, 1], [0, None, 1])  # 0: it was buried before its Popen looked
