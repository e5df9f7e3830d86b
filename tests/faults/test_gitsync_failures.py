"""How git-sync fails, each as a test of ours; its hooks, credentials and port; and that GIT-SYNC.md is complete."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import faults
from support.bundles import Simulator, small_tree
from support.looks import assert_live, look, run_quietly
from support.pods import Pod
from support.waiting import wait_for

if TYPE_CHECKING:
    from support.proxy import Exchange, Fault
    from support.s3site import S3Site

HERE = Path(__file__).parent
PAGE = (HERE / "GIT-SYNC.md").read_text()


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


# How it fails


@pytest.mark.parametrize("name", ["tmp-link", ".tmp-link", ".tmp-0123456789abcdef", "current.tmp", ".current.new"])
@pytest.mark.parametrize("kind", ["link", "directory"])
def test_leftover_of_a_link_wedges_no_later_swap(pod: Pod, simulator: Simulator, name: str, kind: str) -> None:
    simulator.publish(small_tree("one"), "a")
    running = run_quietly(pod)
    leftover = pod.root / name
    if kind == "link":
        leftover.symlink_to("versions/nothing")
    else:
        leftover.mkdir()
    second = simulator.publish(small_tree("two"), "b")
    assert look(running)["live"]["version"] == second.version == pod.live()


def test_stale_lock_with_the_store_away_loses_no_tree(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    killed = run_quietly(pod)
    killed.kill()
    (pod.root / "versions/.tmp-0123456789abcdef").mkdir()  # as a kill in the middle of an update leaves it
    simulator.directory.rename(pod.directory / "away")
    running = pod.run()
    status = running.wait_problem("store-unreachable")
    assert (status["ready"], status["role"]) == (True, "owner")
    assert_live(pod, first)


def test_check_that_could_not_end_is_no_corruption(pod: Pod, simulator: Simulator) -> None:
    """Stopped in the middle of checking the live tree, again and again: it is checked anew, never given up."""
    first = simulator.publish({f"dag_{number}.py": f"A = {number}\n" for number in range(800)}, "a")
    assert pod.once("--no-fsync").code == 0
    before = (pod.root / "current/dag_7.py").stat().st_ino
    simulator.directory.rename(pod.directory / "away")
    for _ in range(2):
        running = pod.run(http="none")
        wait_for(lambda r=running: "owns the root" in r.text(), "it has begun to check")  # type: ignore[misc]
        running.kill()
    pod.run().wait_problem("store-unreachable")
    assert_live(pod, first)
    assert (pod.root / "current/dag_7.py").stat().st_ino == before


def test_reader_with_a_resolved_path_misses_nothing_after_pushes(pod: Pod, simulator: Simulator) -> None:
    """One push, default settings: 119 of 300 files ENOENT with git-sync."""
    tree = {f"dag_{number}.py": "A = 1\n" for number in range(300)}
    simulator.publish(tree, "a")
    running = run_quietly(pod, environ={"DAGFERRY_NO_FSYNC": "1"})
    resolved = (pod.root / "current").resolve()
    for number in range(2):
        published = simulator.publish({**tree, "dag_0.py": f"A = {number}\n"}, f"b{number}")
        assert look(running)["live"]["version"] == published.version
    assert [(resolved / name).read_text() for name in tree] == list(tree.values())


def test_history_of_another_repository_is_refused(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = run_quietly(pod)
    elsewhere = {"source_repository": "https://git.example.org/some/fork"}
    simulator.publish(small_tree("two"), "unrelated", release_changes=elsewhere)
    assert look(running)["problem"]["reason"] == "wrong-repository"
    assert_live(pod, first)


# Its hooks: ours is a check before the swap


@pytest.mark.parametrize(("ends", "code"), [(0, 0), (1, 3)], ids=["success_once", "fail_once"])
def test_exechook_once(pod: Pod, simulator: Simulator, ends: int, code: int) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once(check_command=python(f"raise SystemExit({ends})")).code == code
    assert pod.live() == (None if ends else first.version)


def test_exechook_fail_retry(pod: Pod, simulator: Simulator) -> None:
    """A check that fails is asked again, after a delay; what it lets pass then goes live by itself."""
    simulator.publish(small_tree("one"), "a")
    gate = pod.directory / "gate"
    running = pod.run(check_command=python(f"import os; raise SystemExit(not os.path.exists({str(gate)!r}))"))
    assert not running.wait_problem("check-failed")["ready"]
    gate.touch()
    running.wait("let pass", lambda status: status["ready"])


def test_exechook_startup_after_crash(pod: Pod, simulator: Simulator) -> None:
    """Killed while the check runs: the next start checks again, before anything goes live."""
    first = simulator.publish(small_tree("one"), "a")
    runs = pod.directory / "runs"
    code = f"open({str(runs)!r}, 'a').write('x'); import sys, time; time.sleep(0 if sys.argv[1:-1] else 60)"
    running = pod.run(http="none", check_command=python(code))
    wait_for(runs.exists, "the check runs")
    running.kill()
    assert pod.live() is None
    assert pod.once(check_command=f"{python(code)} quick").code == 0
    assert (pod.live(), runs.read_text()) == (first.version, "xx")


# Its credentials and its port


def test_auth_password_file_reload(s3_site: S3Site, s3_pod: Pod, tmp_path: Path) -> None:
    """A rotated Secret is used by the next look, without a restart."""

    def only_new(exchange: Exchange) -> Fault | None:
        return None if "Credential=new/" in exchange.headers["authorization"] else faults.UNKNOWN_KEY

    def write(key: str) -> None:
        path = tmp_path / "next"
        path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")
        os.replace(path, tmp_path / "credentials")

    first = s3_site.publish()
    write("old")
    s3_site.proxy.script = only_new
    plain = {**s3_site.environ, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    environ = {**plain, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    running = s3_pod.run(environ=environ)
    assert "check AWS_ACCESS_KEY_ID" in running.wait_problem("store-denied")["problem"]["detail"]
    write("new")
    running.wait_live(first.version)


def test_auth_that_is_sometimes_wrong(s3_site: S3Site, s3_pod: Pod) -> None:
    """askpass_url_sometimes_wrong, _flaky: a denial now and then is told, and over with the next look."""
    first = s3_site.publish()
    running = s3_pod.run(environ=s3_site.environ)
    running.wait_live(first.version)
    s3_site.proxy.script = lambda exchange: faults.DENIED if exchange.number % 5 == 0 else None
    second = s3_site.publish()
    running.wait("denied now and then", lambda status: status["syncs"]["store-denied"] >= 2)
    running.wait_live(second.version)


def test_expose_http_after_restart(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    killed = pod.run()
    killed.wait_live(first.version)
    killed.kill()
    again = pod.run(http=f"127.0.0.1:{killed.port}")
    again.wait_live(first.version)
    assert again.port == killed.port
    assert [again.request(path).status for path in ("/healthz", "/readyz", "/metrics", "/status")] == [200] * 4
    again.signal(signal.SIGTERM)
    assert again.process.wait(timeout=10) == 0


# The page

NAMES = [name for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) for name in block.split()]
ROWS = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE, re.MULTILINE))


def test_each_of_its_scenarios_has_a_row_on_the_page() -> None:
    assert len(NAMES) == 70
    assert sorted(NAMES) == sorted(ROWS)


def test_each_row_names_tests_that_exist_or_says_why_it_does_not_apply() -> None:
    for name, answer in ROWS.items():
        named = re.findall(r"`(\S+\.py)::(test_\w+)`", answer)
        assert named or answer.startswith("does not apply: "), name
        for path, test in named:
            assert f"def {test}(" in (HERE.parent / path).read_text(), f"{name}: {path}::{test}"


def test_each_of_its_failures_has_an_answer_on_the_page() -> None:
    section = PAGE.partition("## How it fails")[2]
    answers = re.findall(r"^\| [^|]+ \| (.+) \|$", section, re.MULTILINE)[2:]
    assert len(answers) == 10
    for answer in answers:
        named = re.findall(r"`(\S+\.py)::(test_\w+)`", answer)
        assert named, answer
        for path, test in named:
            assert f"def {test}(" in (HERE.parent / path).read_text(), test
