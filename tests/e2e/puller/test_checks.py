"""The check command before the swap."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

from support.bundles import Simulator, commit_id, small_tree
from support.pods import Pod
from support.waiting import wait_for


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_check_gets_the_new_directory_and_lets_it_pass(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    out = pod.directory / "seen"
    code = (
        f"import os,sys; open({str(out)!r},'w').write(open(sys.argv[1]+'/etl.py').read()+os.environ['DAGFERRY_COMMIT'])"
    )
    assert pod.once(check_command=python(code)).code == 0
    assert pod.live() == first.version
    assert out.read_text() == "VERSION = 'one'\n" + commit_id("a")


def test_check_that_fails_keeps_the_old_version_and_says_why(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    simulator.publish(small_tree("two"), "b")
    result = pod.once(check_command=python("print('DAG etl is broken'); raise SystemExit(4)"))
    assert (result.code, pod.live(), pod.versions()) == (3, first.version, {first.version})
    assert "check ended with 4: DAG etl is broken" in result.stderr


def test_check_that_hangs_is_killed_with_all_it_started(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    pids = pod.directory / "pids"
    code = (
        "import os,subprocess,sys,time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    result = pod.once(check_command=python(code), check_timeout="2s")
    assert (result.code, pod.live()) == (3, None)
    assert "check did not end within 2 s" in result.stderr
    wait_for(lambda: not is_running(int(pids.read_text())), "the check's child is gone")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def test_check_that_changes_the_tree_is_refused(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    code = "import os,sys; os.chmod(sys.argv[1], 0o755); open(sys.argv[1]+'/more.py','w').write('x')"
    result = pod.once(check_command=python(code))
    assert (result.code, pod.live(), pod.versions()) == (3, None, set())
    assert "wrong-tree" in result.stderr


def test_check_that_does_not_exist_is_a_failed_check(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    result = pod.once(check_command="/does/not/exist --now")
    assert (result.code, pod.live()) == (3, None)
    assert "check-failed" in result.stderr


def test_check_sees_none_of_our_secrets(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    code = "import os; raise SystemExit('AWS_SECRET_ACCESS_KEY' in os.environ or 'DAGFERRY_NOTIFY_TOKEN' in os.environ)"
    environ = {"AWS_SECRET_ACCESS_KEY": "hush", "DAGFERRY_NOTIFY_TOKEN": "hush"}
    result = pod.once(check_command=python(code), environ=environ)
    assert result.code == 0
    assert "hush" not in result.stderr


def test_check_that_writes_without_end_is_ended(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    result = pod.once(check_command=python("while True: print('x' * 1000)"), check_timeout="1s")
    assert result.code == 3
    assert len(result.stderr) < 5000


def test_sigterm_ends_a_check_that_runs(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    pid = pod.directory / "pid"
    code = f"import os,time; open({str(pid)!r},'w').write(str(os.getpid())); time.sleep(600)"
    running = pod.run(check_command=python(code))
    wait_for(lambda: pid.exists() and pid.read_text(), "the check runs")
    running.signal(signal.SIGTERM)
    assert running.process.wait(timeout=10) == 0
    wait_for(lambda: not is_running(int(pid.read_text())), "the check is gone")
    assert pod.live() is None  # the tree that was checked may lie there still, or not any more
    assert pod.once().code == 0
    assert len(pod.versions()) == 1
