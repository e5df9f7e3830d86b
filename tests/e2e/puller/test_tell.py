"""``run --airflow`` as a process, and a server that answers like an Airflow."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.bundles import small_tree
from support.fakeairflowapi import JWT, PASSWORD, USER, FakeAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.bundles import Simulator
    from support.pods import Pod

LONG_AGO = "2026-01-01T00:00:00Z"
WHO = {"DAGFERRY_AIRFLOW_USERNAME": USER, "DAGFERRY_AIRFLOW_PASSWORD": PASSWORD}


@pytest.fixture
def fake() -> Iterator[FakeAirflow]:
    with FakeAirflow() as server:
        server.dag("a", parsed=LONG_AGO)
        server.dag("b", parsed=LONG_AGO)
        yield server


def test_a_swap_is_told_and_the_status_and_metrics_say_so(pod: Pod, simulator: Simulator, fake: FakeAirflow) -> None:
    published = simulator.publish(small_tree("one"), "one")
    running = pod.run(environ=WHO, airflow=fake.url, airflow_bundle="dags-folder")
    info = running.wait("it is parsed", lambda s: s["airflow"]["state"] == "parsed")["airflow"]
    assert info["version"] == published.version
    assert (info["up"], info["program"], info["dags"], info["pending"], info["import_errors"]) == (
        True,
        "3.3.2",
        2,
        0,
        0,
    )
    assert (info["files_told"], info["problem"], info["failures"], info["detail"]) == (2, None, 0, "")
    assert info["told_at"] <= info["parsed_at"]
    assert info["url"] == fake.url
    metrics = running.metrics()
    assert metrics["dagferry_puller_airflow_up"] == metrics["dagferry_puller_airflow_parsed"] == 1
    assert (metrics["dagferry_puller_airflow_dags"], metrics["dagferry_puller_airflow_pending_dags"]) == (2, 0)
    assert metrics["dagferry_puller_airflow_swap_to_parsed_seconds"] >= 0
    fake.parse = fake.error  # each file of the next version breaks
    simulator.publish(small_tree("two"), "two")
    info = running.wait("it is parsed", lambda s: s["airflow"]["import_errors"] == 2)["airflow"]
    assert info["detail"].startswith("cannot be imported: a.py: RuntimeError: no, b.py")
    (warning,) = [record for record in running.logs("warning") if "Airflow" in record["message"]]
    assert "2 files with import errors" in warning["message"]
    assert PASSWORD not in running.text()
    assert JWT not in running.text()


def test_an_airflow_that_does_not_answer_is_said_once_and_does_not_hold_up_the_swap(
    pod: Pod, simulator: Simulator, fake: FakeAirflow
) -> None:
    fake.instead["/api/v2/dags"] = (503, b"")
    published = simulator.publish(small_tree(), "one")
    running = pod.run(environ=WHO, airflow=fake.url)
    running.wait_live(published.version)
    info = running.wait("it is said", lambda s: s["airflow"]["failures"] >= 2)["airflow"]
    assert (info["up"], info["state"]) == (False, "telling")
    assert "answered 503" in info["problem"]
    assert running.metrics()["dagferry_puller_airflow_up"] == 0
    assert "dagferry_puller_airflow_swap_to_parsed_seconds" not in running.metrics()
    assert sum("503" in record["message"] for record in running.logs("warning")) == 1
    del fake.instead["/api/v2/dags"]
    running.wait("it is parsed", lambda s: s["airflow"]["state"] == "parsed" and s["airflow"]["problem"] is None)


def test_a_puller_without_airflow_says_nothing_of_it_and_does_not_load_http(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree(), "one")
    running = pod.run()
    assert running.status()["airflow"] is None
    assert not any("airflow" in name for name in running.metrics())
    code = "import sys; from dagferry_puller import cli, daemon, prepare, status; print('http.client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
