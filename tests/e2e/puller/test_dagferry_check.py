"""``dagferry-check`` as the check of a real puller."""

from __future__ import annotations

import shlex
from pathlib import Path

from support.bundles import Simulator, small_tree
from support.checks import COMMAND
from support.pods import Pod

COMPILE = f"{shlex.quote(str(COMMAND))} --compile"


def test_a_version_that_does_not_compile_never_goes_live(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once(check_command=COMPILE).code == 0
    broken = simulator.publish({**small_tree("two"), "dags/bad.py": b"x = 1\ndef f(:\n"}, "b")
    result = pod.once(check_command=COMPILE)
    assert (result.code, pod.live(), pod.versions()) == (3, first.version, {first.version})
    assert "check ended with 3: dags/bad.py:2: SyntaxError: invalid syntax | refused: 1 error; " in result.stderr
    assert broken.version not in pod.versions()


def test_a_file_that_is_broken_in_the_live_version_does_not_hold_up_the_next(pod: Pod, simulator: Simulator) -> None:
    bad = {"old.py": b"def f(:\n"}
    simulator.publish({**small_tree("one"), **bad}, "a")
    check = f"{COMPILE} --baseline {shlex.quote(str(pod.root / 'current'))}"
    assert pod.once(check_command=check).code == 3  # nothing is live that could excuse it
    assert pod.once().code == 0
    second = simulator.publish({**small_tree("two"), **bad}, "b")
    assert pod.once(check_command=COMPILE).code == 3
    assert pod.once(check_command=check).code == 0
    assert pod.live() == second.version


def test_the_check_leaves_no_trace_in_the_version(pod: Pod, simulator: Simulator) -> None:
    release = simulator.publish(small_tree("one"), "a")
    assert pod.once(check_command=COMPILE).code == 0
    version: Path = pod.version(release.version)
    assert not list(version.rglob("__pycache__"))
