"""Errors and kills of a puller that runs: it says what is wrong, stays, and recovers when the fault is over."""

from __future__ import annotations

import random
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from support import strace
from support.bundles import small_tree
from support.gitid import tree_of
from support.pods import Pod
from support.scale import scale

if TYPE_CHECKING:
    pass


# From so many calls of an update on: the memory of the pointer, the tree, the version, the link, what comes after.
FAULTS = [
    *(f"fsync:error=EIO:when={n}+" for n in (1, 4, 10, 15, 18, 19, 20)),
    *(f"renameat:error=ENOSPC:when={n}+" for n in (1, 3, 4, 5, 6, 7)),
    *(f"fchmod:error=EROFS:when={n}+" for n in (1, 4, 15)),
    *(f"symlinkat:error=ENOSPC:when={n}+" for n in (1, 2)),
    "mkdirat:error=ENOSPC",
    "utimensat:error=EIO",
    "renameat:error=EINTR:when=4+3",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_error_while_running_is_told_and_recovered_from(pod: Pod, fault: str) -> None:
    first = pod.simulator.publish(small_tree("one"), "a")
    running = pod.run(period="0.1")
    running.wait_live(first.version)
    log = pod.directory / "strace.log"
    with strace.attached(running.process.pid, log, fault):
        second = pod.simulator.publish(small_tree("two"), "b")
        status = running.wait_problem("volume-failed")
        assert running.process.poll() is None
        assert (status["ready"], status["damaged"]) == (True, False)
        assert status["live"]["version"] == pod.live()
        assert tree_of(pod.root / "current") in (first.release.tree, second.release.tree)
        assert pod.versions() <= {first.version, second.version}
    assert "(INJECTED)" in log.read_text()
    running.signal(signal.SIGHUP)
    running.wait_live(second.version)
    running.wait("all is well", lambda s: s["problem"] is None)
    assert not [record for record in running.logs() if "traceback" in record]
    assert tree_of(pod.root / "current") == second.release.tree
    assert running.stop() == 0


@pytest.mark.parametrize("fault", ["openat:error=EMFILE", "openat:error=ENFILE", "openat:error=EIO"])
def test_nothing_can_be_opened_for_a_while(pod: Pod, fault: str) -> None:
    first = pod.simulator.publish(small_tree("one"), "a")
    running = pod.run(period="0.1")
    running.wait_live(first.version)
    with strace.attached(running.process.pid, pod.directory / "strace.log", fault):
        running.wait("it fails", lambda s: s["failures"] >= 2)
        assert (running.process.poll(), pod.live()) == (None, first.version)
    second = pod.simulator.publish(small_tree("two"), "b")
    running.signal(signal.SIGHUP)
    running.wait_live(second.version)
    assert running.stop() == 0


@pytest.mark.parametrize("seed", range(scale(2, 10)))
def test_running_puller_that_is_killed_again_and_again(
    pod: Pod, seed: int, record_property: pytest.RecordProperty
) -> None:
    chance, kills = random.Random(seed), scale(8, 30)
    published = pod.simulator.publish(small_tree("0"), "0")
    trees = {published.release.tree, None}
    seen = (0, 0)
    settings: dict[str, Any] = {"keep": "1", "keep_hours": "0", "period": "0.05", "http": "none"}
    for word in range(1, kills + 1):
        running = pod.run(**settings)
        if chance.random() < 0.7:
            published = pod.simulator.publish(small_tree(str(word)), str(word))
            trees.add(published.release.tree)
        with suppress(subprocess.TimeoutExpired):  # a moment between its first call and an idle poll
            running.process.wait(timeout=chance.uniform(0.1, 0.5))
        running.kill()
        link = pod.root / "current"
        assert (tree_of(link) if link.exists() else None) in trees
        assert link.exists() or not link.is_symlink()
        if link.exists():
            trees.discard(None)
        if (pod.root / ".dagferry" / "state.json").exists():
            known = pod.state()["seen"].get("etl/main")
            position = (known["epoch"], known["sequence"]) if known else (0, 0)
            assert position >= seen
            seen = position
    assert pod.once(keep="1", keep_hours="0").code == 0
    assert pod.live() == published.version
    assert len(pod.versions()) <= 2
    assert not [path for path in pod.root.rglob("*") if path.name.startswith((".tmp-", ".retired-"))]
    record_property("kill points", kills)
