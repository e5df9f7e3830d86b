"""What a store, or the network before it, does wrong, at each object of a pull, to a real puller on ``s3://``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from support import faults
from support.pods import Pod, Running
from support.s3site import S3Site
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.moto_server import MotoServer
    from support.proxy import Exchange, Fault

POINTER, RELEASE, ARCHIVE = OBJECTS = ("pointer.json", "/releases/", "/archives/")
NOUN = {POINTER: "pointer", RELEASE: "release", ARCHIVE: "archive"}  # what a problem's text names
UNREACHABLE, DENIED, REFUSED = "store-unreachable", "store-denied", "refused"


class Case(NamedTuple):
    """A fault, and how it is told."""

    fault: Fault
    outcome: str
    words: str
    code: int = 7


LINE_FAULTS = [
    Case(faults.reset_before, UNREACHABLE, "the connection broke"),
    Case(faults.reset_after, UNREACHABLE, "the connection broke"),
    Case(faults.close_before, UNREACHABLE, "closed without an answer"),
    Case(faults.reset_in_body, UNREACHABLE, "to its end: the connection broke"),
    Case(faults.cut_short, UNREACHABLE, "to its end: the connection broke"),
    Case(faults.length_too_large, UNREACHABLE, "the connection broke"),
    Case(faults.not_http, UNREACHABLE, "not an HTTP server: check the endpoint"),
]
ANSWERS = [
    Case(faults.INTERNAL, UNREACHABLE, "an error of its own or is overloaded (500 InternalError)"),
    Case(faults.BAD_GATEWAY, UNREACHABLE, "overloaded (502)"),
    Case(faults.SLOW_DOWN, UNREACHABLE, "overloaded (503 SlowDown)"),
    Case(faults.RETRY_AFTER, UNREACHABLE, "overloaded (503)"),
    Case(faults.XML_GARBAGE, UNREACHABLE, "an error of its own"),
    Case(faults.DENIED, DENIED, "no permission: these credentials may not do this", 9),
    Case(faults.UNKNOWN_KEY, DENIED, "check AWS_ACCESS_KEY_ID and the endpoint", 9),
    Case(faults.WRONG_SECRET, DENIED, "check AWS_SECRET_ACCESS_KEY", 9),
    Case(faults.EXPIRED_TOKEN, DENIED, "the session token has expired", 9),
    Case(faults.skewed(), DENIED, "the clock of this machine is wrong", 9),
]
# What comes is whole for HTTP and is not what was signed.
DAMAGE = [
    Case(faults.short_with_a_fitting_length, REFUSED, "refused (", 3),
    Case(faults.length_too_small, REFUSED, "refused (", 3),
    Case(faults.long_with_a_fitting_length, REFUSED, "refused (", 3),
    Case(faults.empty_body, REFUSED, "refused (", 3),
]
CASES = [*LINE_FAULTS, *ANSWERS, *DAMAGE]


def named(cases: list[Case]) -> list[str]:
    return [case.fault.__name__ for case in cases]


class Warm(NamedTuple):
    """A pod that has lived through all faults so far."""

    site: S3Site
    pod: Pod
    running: Running


@pytest.fixture(scope="module")
def shared_pod(tmp_path_factory: pytest.TempPathFactory, moto: MotoServer) -> Iterator[Warm]:
    folder = tmp_path_factory.mktemp("warm")
    with S3Site(folder / "store", moto) as site:
        pod = Pod(folder, site.simulator)
        site.publish()
        yield Warm(site, pod, pod.run(store=site.store, environ=site.environ, period="0.1"))
        pod.close()


@pytest.fixture
def warm(shared_pod: Warm) -> Warm:
    shared_pod.site.proxy.heal()
    assert shared_pod.site.simulator.last is not None
    shared_pod.running.wait_live(shared_pod.site.simulator.last.version)
    return shared_pod


def assert_no_debris(pod: Pod) -> None:
    """Nothing half-done is left on the volume."""
    assert not [name for name in pod.versions() if name.startswith(".")]
    assert not [name for name in os.listdir(pod.root / ".dagferry") if name.startswith(".")]


def met(running: Running, site: S3Site, case: Case, where: str) -> dict[str, Any]:
    """Let a fault begin, make the pod look, and wait until it tells of this fault at this object."""
    site.proxy.fail(case.fault, where)
    running.signal(signal.SIGHUP)

    def told(status: dict[str, Any]) -> bool:
        problem = status["problem"] or {"detail": "", "outcome": ""}
        return (
            problem["outcome"] == case.outcome and case.words in problem["detail"] and NOUN[where] in problem["detail"]
        )

    return running.wait(f"{case.fault.__name__} at {where} is told", told)


def count_of(running: Running, outcome: str) -> float:
    return running.metrics()[f'dagferry_puller_syncs_total{{outcome="{outcome}"}}']


@pytest.mark.parametrize("case", CASES, ids=named(CASES))
def test_warm_pod_keeps_what_it_has_names_the_fault_and_recovers_by_itself(
    warm: Warm, case: Case, record_property: Any
) -> None:
    site, pod, running = warm
    before = site.simulator.last
    assert before is not None
    counted = count_of(running, case.outcome)
    site.proxy.fail(case.fault, POINTER)
    after = site.publish()
    for where in OBJECTS:
        status = met(running, site, case, where)
        assert (status["live"]["version"], pod.live()) == (before.version, before.version)
        assert status["failures"] > 0
        assert running.request("/healthz").status == 200
        assert running.ready()
        assert count_of(running, case.outcome) > counted
        assert_no_debris(pod)
    assert running.metrics()["dagferry_puller_consecutive_failures"] > 0
    assert case.words in running.text()
    site.proxy.heal()
    if case in DAMAGE:  # the content is backed off for seconds; other content is not
        after = site.publish()
    running.wait_live(after.version)
    status = running.wait("the look that brought it is over", lambda status: status["problem"] is None)
    assert (status["ready"], status["failures"]) == (True, 0)
    assert running.process.poll() is None
    assert_no_debris(pod)
    record_property("faults", len(OBJECTS))


@pytest.mark.parametrize("cases", [LINE_FAULTS, ANSWERS, DAMAGE[:1]], ids=["line", "answers", "damage"])
def test_cold_pod_is_not_ready_in_any_fault_and_ready_after_the_last(
    s3_site: S3Site, s3_pod: Pod, cases: list[Case], record_property: Any
) -> None:
    first = s3_site.publish()
    s3_site.proxy.fail(cases[0].fault)
    running = s3_pod.run(environ=s3_site.environ, period="0.1")
    for where in OBJECTS:
        for case in cases:
            status = met(running, s3_site, case, where)
            assert (status["ready"], status["live"], s3_pod.live()) == (False, None, None)
            reply = running.request("/readyz")
            assert (reply.status, case.words in reply.body) == (503, True)
            assert running.request("/healthz").status == 200
            assert_no_debris(s3_pod)
    s3_site.proxy.heal()
    last = s3_site.publish() if cases[0] in DAMAGE else first
    running.signal(signal.SIGHUP)  # the delay has grown with each of so many failures
    running.wait_live(last.version)
    assert s3_pod.live() is not None
    assert_no_debris(s3_pod)
    record_property("faults", len(OBJECTS) * len(cases))


@pytest.mark.parametrize("group", [LINE_FAULTS, ANSWERS, DAMAGE], ids=["line", "answers", "damage"])
def test_once_ends_with_the_code_and_the_words_of_the_fault(
    s3_site: S3Site, tmp_path: Path, group: list[Case], record_property: Any
) -> None:
    """All at once: each process has an access key of its own, by which the proxy knows what to do to it."""
    s3_site.publish()

    def script(exchange: Exchange) -> Fault | None:
        number = int(re.findall(r"Credential=case(\d+)/", exchange.headers["authorization"])[0])
        return group[number].fault if OBJECTS[number % 3] in exchange.path else None

    s3_site.proxy.script = script
    started = []
    for number in range(len(group)):
        (tmp_path / str(number)).mkdir()
        pod = Pod(tmp_path / str(number), s3_site.simulator)
        environ = {**os.environ, **s3_site.environ, "AWS_ACCESS_KEY_ID": f"case{number}"}
        command = pod.arguments("once", store=s3_site.store, timeout="2s")
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environ)
        started.append((group[number], pod, process))
    for case, pod, process in started:
        _, told = process.communicate(timeout=60)
        assert (process.returncode, pod.live()) == (case.code, None), (case, told)
        assert case.words in told.decode()
        assert "Traceback" not in told.decode()
        assert_no_debris(pod)
    record_property("faults", len(group))


def test_once_waits_out_a_burst_of_errors(s3_site: S3Site, s3_pod: Pod) -> None:
    first = s3_site.publish()
    s3_site.proxy.fail(faults.SLOW_DOWN, ARCHIVE, times=1)
    assert s3_pod.once(environ=s3_site.environ).code == 0
    assert s3_pod.live() == first.version


def test_once_with_offline_ok_keeps_the_verified_version_in_an_outage(s3_site: S3Site, s3_pod: Pod) -> None:
    first = s3_site.publish()
    assert s3_pod.once(environ=s3_site.environ).code == 0
    s3_site.publish()
    s3_site.proxy.down()
    assert s3_pod.once("--offline-ok", environ=s3_site.environ).code == 0
    result = s3_pod.once(environ=s3_site.environ, timeout="1s")
    assert (result.code, s3_pod.live()) == (7, first.version)
    assert "connection refused: is the endpoint right, and the store up?" in result.stderr


def test_outage_keeps_a_warm_pod_ready_shows_its_age_and_a_restart_serves_what_was_verified(
    s3_site: S3Site, s3_pod: Pod
) -> None:
    first = s3_site.publish()
    running = s3_pod.run(environ=s3_site.environ)
    running.wait_live(first.version)
    s3_site.proxy.down()
    status = running.wait_problem(UNREACHABLE)
    assert "connection refused" in status["problem"]["detail"]
    age = running.metrics()["dagferry_puller_since_last_success_seconds"]
    wait_for(lambda: running.metrics()["dagferry_puller_since_last_success_seconds"] > age, "the age grows")
    assert running.metrics()["dagferry_puller_ready"] == 1
    assert running.stop() == 0
    again = s3_pod.run(environ=s3_site.environ)
    assert again.wait_problem(UNREACHABLE)["ready"]
    second = s3_site.publish()
    s3_site.proxy.up()
    again.wait_live(second.version)


def test_skewed_clock_is_told_with_both_clocks(s3_site: S3Site, s3_pod: Pod) -> None:
    s3_site.publish()
    s3_site.proxy.fail(faults.skewed(-7200))
    result = s3_pod.once(environ=s3_site.environ)
    assert result.code == 9
    moments = re.search(r", it is (\S+)T\S+Z here and (\S+)T\S+Z at the store", result.stderr)
    assert moments, result.stderr


def test_archive_that_breaks_off_is_resumed_three_times_and_no_more(s3_site: S3Site, s3_pod: Pod) -> None:
    first = s3_site.publish()
    s3_site.proxy.fail(faults.reset_in_body, ARCHIVE, times=3)
    running = s3_pod.run(environ=s3_site.environ, period="1h")
    assert running.wait_live(first.version)["syncs"]["swapped"] == 1
    assert ["range" in asked.headers for asked in s3_site.proxy.asked(ARCHIVE)] == [False, True, True, True]
    second = s3_site.publish()
    s3_site.proxy.fail(faults.reset_in_body, ARCHIVE, times=4)
    running.signal(signal.SIGHUP)
    running.wait_problem(UNREACHABLE)
    running.signal(signal.SIGHUP)
    running.wait_live(second.version)
    assert_no_debris(s3_pod)


def test_resumed_archive_that_fails_otherwise_is_told_and_taken_later(s3_site: S3Site, s3_pod: Pod) -> None:
    s3_site.publish()
    running = s3_pod.run(environ=s3_site.environ)
    running.wait("live", lambda s: s["ready"])
    second = s3_site.publish({"large.bin": os.urandom(4 << 20)})  # more than sockets buffer
    resets = iter([faults.reset_in_body, faults.SLOW_DOWN])
    s3_site.proxy.script = lambda exchange: next(resets, None) if ARCHIVE in exchange.path else None
    running.wait_live(second.version)
    assert running.status()["syncs"][UNREACHABLE] == 1


def test_connections_that_are_cut_while_idle_are_made_again(warm: Warm) -> None:
    site, _, running = warm
    for _ in range(5):
        site.proxy.hang_up()
        running.wait_syncs(1, "unchanged")
    running.wait_live(site.publish().version)


@pytest.mark.parametrize("case", [LINE_FAULTS[-1], ANSWERS[-1]], ids=["not HTTP", "clock"])
def test_repeated_fault_is_one_line_in_the_log(s3_site: S3Site, s3_pod: Pod, case: Case) -> None:
    first = s3_site.publish()
    running = s3_pod.run(environ=s3_site.environ, period="0.05")
    running.wait_live(first.version)
    s3_site.proxy.fail(case.fault)
    running.wait_syncs(4, case.outcome)
    s3_site.proxy.heal()
    running.wait("well", lambda s: s["problem"] is None)
    assert len([record for record in running.logs("warning") if case.words in record["message"]]) == 1
    assert any(record["message"].startswith("well again after") for record in running.logs("info"))
