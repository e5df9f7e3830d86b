"""What a refusal looks like from outside the process: exit code, status, metrics, logs, readiness.

What is refused, attack by attack, is in tests/attacks.
"""

from __future__ import annotations

from typing import Any

import pytest

from support.bundles import Published, Simulator, ago, commit_id, small_tree
from support.pods import Pod, Running


@pytest.fixture
def warm(pod: Pod, simulator: Simulator) -> tuple[Running, Published]:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    return running, first


Warm = tuple[Running, Published]


def assert_kept(pod: Pod, warm: Warm) -> dict[str, Any]:
    running, first = warm
    status = running.status()
    assert pod.live() == first.version
    assert pod.read("etl.py") == "VERSION = 'one'\n"
    assert status["ready"]
    return status


def test_tampered_archive_is_refused_and_a_repaired_store_is_taken(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    second = simulator.publish(small_tree("two"), "b", archive=lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    warm[0].wait_problem("wrong-digest")
    status = assert_kept(pod, warm)
    assert status["refusals"]["wrong-digest"] == 1
    warm[0].wait_syncs(2, "backed-off")
    assert warm[0].status()["refusals"]["wrong-digest"] == 1
    assert pod.versions() == {warm[1].version}
    third = simulator.publish(small_tree("three"), "c")
    warm[0].wait_live(third.version)
    assert second.version not in pod.versions()


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"archive": lambda data: data[:-10]}, "wrong-digest"),
        ({"release_changes": {"tree": "0" * 64}}, "wrong-tree"),
        ({"release_changes": {"archive_size": 10**12}}, "too-large"),
        ({"issued": ago(-3600)}, "future-dated"),
    ],
)
def test_once_ends_with_3_and_says_why(pod: Pod, simulator: Simulator, lies: dict[str, Any], reason: str) -> None:
    simulator.publish(small_tree("one"), "a", **lies)
    result = pod.once()
    assert (result.code, pod.live(), pod.versions()) == (3, None, set())
    assert reason in result.stderr


@pytest.mark.parametrize(("setting", "value"), [("max_files", "4"), ("max_bytes", "1K")])
def test_local_caps_hold_whatever_was_signed(pod: Pod, simulator: Simulator, setting: str, value: str) -> None:
    simulator.publish(small_tree("one"), "a")
    result = pod.once(**{setting: value})
    assert (result.code, pod.live()) == (3, None)
    assert "too-large" in result.stderr


def test_pointer_signed_by_another_key_is_refused(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    simulator.publish(small_tree("two"), "b", pointer_signers=[simulator.keys.release])
    warm[0].wait_problem("unknown-key")
    assert_kept(pod, warm)


def test_garbage_pointer_is_refused_and_told_once(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    simulator.put(simulator.layout.pointer("main"), b"{}")
    warm[0].wait_problem("malformed")
    warm[0].wait_syncs(3, "refused")
    assert_kept(pod, warm)
    told = [record for record in warm[0].logs("warning") if record.get("reason") == "malformed"]
    assert len(told) == 1
    simulator.publish(small_tree("two"), "b")
    warm[0].wait("well", lambda s: s["problem"] is None and s["live"]["commit"] == commit_id("b"))
    assert any("well again" in record["message"] for record in warm[0].logs("info"))


def test_replayed_pointer_is_refused_while_running_and_after_a_restart(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    second = simulator.publish(small_tree("two"), "b")
    running = pod.run()
    running.wait_live(second.version)
    simulator.show(first)
    running.wait_problem("rollback")
    assert pod.live() == second.version
    running.kill()
    again = pod.run()
    again.wait_problem("rollback")
    assert again.ready()
    assert pod.live() == second.version


def test_two_pointers_of_one_sequence_are_an_alarm(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    running, first = warm
    other = simulator.make_pointer(first.release, first.pointer.release, sequence=1, previous=None, reason="forked")
    simulator.put_pointer(other)
    running.wait_problem("equivocation")
    assert_kept(pod, warm)
    assert running.metrics()["dagferry_puller_equivocations_total"] >= 1


def test_expiry_of_the_live_pointer_keeps_it_and_shows(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    running, first = warm
    simulator.again(first, expires=ago(-1))
    running.wait_problem("expired")
    assert_kept(pod, warm)
    metrics = running.metrics()
    expiry, issued = (metrics[f"dagferry_puller_pointer_{name}_timestamp_seconds"] for name in ("expiry", "issued"))
    assert expiry > issued > 0


def test_cold_pod_refuses_an_expired_pointer_unless_told_to_accept_it(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a", expires=ago(600))
    result = pod.once()
    assert (result.code, pod.live()) == (3, None)
    assert "expired" in result.stderr
    assert pod.once(accept_expired_for="5m").code == 3
    assert pod.once(accept_expired_for="1h").code == 0
    assert pod.live() == first.version


def test_revoked_release_that_is_live_is_kept_with_an_alarm(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    running, first = warm
    simulator.write_trust(pod.trust, revoked=[first.pointer.release])
    running.wait_problem("revoked")
    status = assert_kept(pod, warm)
    assert "revoked" in status["revoked"]
    assert running.metrics()["dagferry_puller_release_revoked"] == 1
    assert any("ALARM" in record["message"] for record in running.logs("error"))
    simulator.publish(small_tree("two"), "b")
    running.wait("cured", lambda s: s["live"]["commit"] == commit_id("b") and s["revoked"] is None)


def test_revoked_release_that_is_live_loses_its_link_where_that_is_wanted(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run(on_revoked="stop")
    running.wait_live(first.version)
    simulator.write_trust(pod.trust, revoked=[commit_id("a")])
    running.wait("stopped", lambda s: not s["ready"] and s["live"] is None)
    assert not (pod.root / "current").is_symlink()
    simulator.write_trust(pod.trust)
    running.wait_live(first.version)


def test_pod_does_not_start_with_a_revoked_release(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    running, first = warm
    running.stop()
    simulator.write_trust(pod.trust, revoked=[first.pointer.release])
    again = pod.run()
    again.wait_problem("revoked")
    assert not again.ready()
    assert pod.live() == first.version


def test_new_epoch_needs_a_pointer_of_it(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    simulator.epoch = 2
    simulator.write_trust(pod.trust)
    warm[0].wait_problem("wrong-epoch")
    assert_kept(pod, warm)
    simulator.sequence = 0
    second = simulator.publish(small_tree("two"), "b")
    assert warm[0].wait_live(second.version)["live"]["epoch"] == 2


@pytest.mark.parametrize("content", [b"{}", b"not json", None])
def test_trust_file_broken_while_running_keeps_the_old_version(
    pod: Pod, simulator: Simulator, warm: Warm, content: bytes | None
) -> None:
    pod.trust.unlink() if content is None else pod.trust.write_bytes(content)
    simulator.publish(small_tree("two"), "b")
    warm[0].wait_problem("malformed")
    warm[0].wait_syncs(2, "refused")
    assert_kept(pod, warm)
    simulator.write_trust(pod.trust)
    warm[0].wait("cured", lambda s: s["live"]["commit"] == commit_id("b"))


def test_missing_pointer_is_not_found_and_keeps_the_old_version(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    simulator.path(simulator.layout.pointer("main")).unlink()
    warm[0].wait_problem("not-found")
    assert_kept(pod, warm)


def test_broken_trust_file_does_not_stop_repairs_of_what_is_live(pod: Pod, simulator: Simulator, warm: Warm) -> None:
    running, first = warm
    pod.trust.write_text("{")
    running.wait_problem("malformed")
    (pod.root / "current").unlink()
    running.wait("repaired", lambda s: s["repairs"]["link"] == 1)
    assert pod.live() == first.version
