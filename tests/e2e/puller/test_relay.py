"""The relay: one notification reaches every pod, whatever some of them, the resolver or the sender do."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support import tls
from support.bundles import Simulator, small_tree
from support.pods import Pod, Running
from support.portfixtures import Port
from support.raw_server import RawServer, reply
from support.relays import relay
from support.resolver import Resolver
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORDS = b'{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"x"},"object":{"key":"y"}}}]}'
SECRET = "PASSWORDSHOWNNOWHERE"


@pytest.fixture
def port() -> Iterator[Port]:
    with Port() as made:
        yield made


def url(port: Port | int) -> str:
    return f"http://127.0.0.1:{port if isinstance(port, int) else port.number}"


def started(running: Running, pods: int) -> None:
    """Wait until the pods were told of the relay's own start."""
    running.wait("the first round", lambda s: sum(s["seconds"]["counts"]) + s["failed"] >= pods)


def test_notification_brings_a_publish_live_on_every_pod(simulator: Simulator, tmp_path: Path) -> None:
    first = simulator.publish(small_tree("one"), "a")
    pods = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        pods.append(Pod(tmp_path / name, simulator))
    try:
        running = [pod.run(period="1h") for pod in pods]
        for one in running:
            one.wait_live(first.version)
        with relay(tmp_path, targets=",".join(url(one.port) for one in running)) as told:
            started(told, 3)
            second = simulator.publish(small_tree("two"), "b")
            assert told.request("/notify", "POST", RECORDS).status == 202
            for one in running:
                status = one.wait_live(second.version)
                assert status["proven"], "the notification found a newer pointer"
    finally:
        for pod in pods:
            pod.close()


def test_any_body_or_none_is_taken_and_pods_are_told_at_the_start(port: Port, tmp_path: Path) -> None:
    with relay(tmp_path, targets=url(port)) as running:
        wait_for(lambda: port.looks >= 1, "pods are told of the start: what came before was lost")
        for body in (b"", b"look", RECORDS, b"\xff" * 1000):
            before = port.looks
            assert running.request("/notify", "POST", body).status == 202
            wait_for(lambda before=before: port.looks > before, f"told after {body[:10]!r}")
        running.signal(signal.SIGHUP)
        wait_for(lambda: running.status()["notifications"] == 6, "SIGHUP tells them, too")


def test_flood_is_one_round_a_second(port: Port, tmp_path: Path) -> None:
    with relay(tmp_path, targets=url(port)) as running:
        begun = time.monotonic()
        for _ in range(300):
            assert running.request("/notify", "POST").status == 202
        running.wait("all counted", lambda s: s["notifications"] == 301)
        wait_for(lambda: port.looks >= 2, "and one more round at its end")
        assert port.looks <= time.monotonic() - begun + 2


def test_pods_beyond_a_hundred_are_told_at_the_rate(tmp_path: Path) -> None:
    nobody = [f"http://127.1.0.{number}:1" for number in range(1, 104)]
    begun = time.monotonic()
    with relay(tmp_path, targets=",".join(nobody), rate="1") as running:
        running.wait("the first hundred, at once", lambda s: s["failed"] >= 100)
        status = running.wait("the rest", lambda s: s["failed"] == 103)
        assert time.monotonic() - begun >= 3
        assert status["fanouts"] == 1


def test_tokens_are_asked_for_and_sent_and_shown_nowhere(tmp_path: Path) -> None:
    mine, theirs = "MINE-" + SECRET, "THEIRS-" + SECRET
    file = tmp_path / "token"
    file.write_text(theirs + "\n")
    with (
        Port(theirs.encode()) as port,
        relay(
            tmp_path, targets=url(port), target_token_file=str(file), environ={"DAGFERRY_NOTIFY_TOKEN": mine}
        ) as running,
    ):
        started(running, 1)
        assert running.request("/notify", "POST").status == 401
        assert running.request("/notify", "POST", Authorization=f"Bearer {theirs}").status == 401
        before = port.looks
        assert running.request("/notify", "POST", Authorization=f"Bearer {mine}").status == 202
        wait_for(lambda: port.looks > before, "told with the pods' token")
        shown = running.text() + running.request("/status").body + running.request("/metrics").body
    assert SECRET not in shown


def test_pods_that_want_another_token_are_named(tmp_path: Path) -> None:
    with Port(b"another") as port, relay(tmp_path, targets=url(port)) as running:
        running.wait("it failed", lambda s: s["failed"] >= 1)
        (record,) = running.logs("warning")
        assert f"127.0.0.1:{port.number} was not told: it answered 401 (the pods' token" in record["message"]


def test_pod_that_fails_once_is_told_again(tmp_path: Path) -> None:
    with (
        RawServer(reply("503 Not Yet"), reply("202 Accepted")) as pod,
        relay(tmp_path, targets=pod.endpoint.replace("localhost", "127.0.0.1")) as running,
    ):
        started(running, 1)
        assert len(pod.requests) == 2
        assert running.status()["failed"] == 0


def test_dead_pods_delay_nobody_else(port: Port, tmp_path: Path) -> None:
    """One accepts and says nothing, one drips, one is gone; each costs its own deadline only."""
    with RawServer(lambda connection: dead.stall(connection)) as dead, RawServer(drip) as slow:  # noqa: PLW0108
        targets = [url(int(server.endpoint.rpartition(":")[2])) for server in (dead, slow)]
        with relay(tmp_path, targets=",".join([*targets, url(1), url(port)]), deadline="30s") as running:
            wait_for(lambda: port.looks == 1, "told at the start")
            for round_ in range(2, 5):
                running.request("/notify", "POST")
                wait_for(lambda round_=round_: port.looks == round_, "told while others stall", seconds=10)
            running.signal(signal.SIGTERM)
            assert running.process.wait(timeout=5) == 0, "nor do they delay its end"


def drip(connection: Any) -> None:
    try:
        while True:
            connection.sendall(b"H")
            time.sleep(0.2)
    except OSError:
        return


def test_deadline_holds_for_a_pod_that_drips(tmp_path: Path) -> None:
    with (
        RawServer(drip) as pod,
        relay(tmp_path, targets=url(int(pod.endpoint.rpartition(":")[2])), deadline="0.5") as running,
    ):
        running.wait("given up", lambda s: s["failed"] == 1)
        assert "no answer within 0.5 s" in running.logs("warning")[0]["message"]


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 \r\n\r\n", b"x" * 100_000, b"HTTP/1.1 2 OK\r\n"])
def test_what_does_not_speak_http_is_not_told(said: bytes, tmp_path: Path) -> None:
    with (
        RawServer(lambda connection: connection.sendall(said)) as pod,
        relay(tmp_path, targets=url(int(pod.endpoint.rpartition(":")[2]))) as running,
    ):
        running.wait("given up", lambda s: s["failed"] == 1)
        assert running.status()["pods"] == 1


# Names


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    if os.geteuid():
        pytest.skip("needs root: the relay gets an /etc/hosts of its own")
    return tmp_path / "hosts"


def names(hosts: Path, *addresses: str) -> None:
    """Say what the name ``pods`` is; the file stays the same, as it is mounted."""
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{address} pods\n" for address in addresses))


def test_every_address_of_a_name_is_told_as_pods_come_and_go(hosts: Path, tmp_path: Path) -> None:
    with Port(address=("127.0.0.2", 0)) as one, Port(address=("127.0.0.3", one.number)) as two:
        names(hosts, "127.0.0.2")
        with relay(tmp_path, etc={"hosts": hosts}, targets=f"dns://pods:{one.number}") as running:
            started(running, 1)
            assert (one.looks, two.looks) == (1, 0)
            names(hosts, "127.0.0.2", "127.0.0.3", "127.0.0.2")
            running.request("/notify", "POST")
            wait_for(lambda: (one.looks, two.looks) == (2, 1), "a new pod is told, none twice")
            assert running.status()["pods"] == 2
            names(hosts, "127.0.0.3")
            running.request("/notify", "POST")
            wait_for(lambda: two.looks == 2, "the one that is left is told")
            assert (one.looks, running.status()["pods"]) == (2, 1)


def test_ipv6_pods_are_told_too(hosts: Path, tmp_path: Path) -> None:
    with Port() as four, Port(address=("::1", four.number)) as six:
        names(hosts, "127.0.0.1", "::1")
        with relay(tmp_path, etc={"hosts": hosts}, targets=f"dns://pods:{four.number}"):
            wait_for(lambda: (four.looks, six.looks) == (1, 1), "both families are told")


def test_name_that_cannot_be_resolved_keeps_its_last_addresses(hosts: Path, tmp_path: Path) -> None:
    with Port(address=("127.0.0.2", 0)) as port:
        names(hosts, "127.0.0.2")
        with relay(tmp_path, etc={"hosts": hosts}, targets=f"dns://pods:{port.number}") as running:
            started(running, 1)
            names(hosts)
            running.request("/notify", "POST")
            wait_for(lambda: port.looks == 2, "told where it last was")
            assert running.status()["unresolved"] == 1
            assert f"dns://pods:{port.number} cannot be resolved" in running.logs("warning")[0]["message"]
            assert running.ready()


def test_resolver_that_hangs_delays_no_pod_that_is_known_and_no_end(hosts: Path, tmp_path: Path) -> None:
    with Resolver(tmp_path, "127.0.0.3") as resolver, Port(address=("127.0.0.2", 0)) as port, Port() as other:
        names(hosts, "127.0.0.2")
        targets = f"dns://pods:{port.number},{url(other)}"
        with relay(tmp_path, etc={**resolver.etc, "hosts": hosts}, targets=targets) as running:
            started(running, 2)
            assert resolver.asked == 0
            names(hosts)  # from now on, DNS is asked for the name
            for round_ in range(2, 5):
                running.request("/notify", "POST")
                wait_for(lambda round_=round_: (port.looks, other.looks) == (round_, round_), "both are told")
            assert resolver.asked == 2, "one look-up, for both kinds of addresses, which still hangs"
            assert running.status()["unresolved"] == 0, "nobody said anything about the name"
            running.signal(signal.SIGTERM)
            assert running.process.wait(timeout=10) == 0


def test_pod_of_an_answer_that_comes_late_is_told_when_it_comes(hosts: Path, tmp_path: Path) -> None:
    with Resolver(tmp_path, "127.0.0.3") as resolver, Port(address=("127.0.0.3", 0)) as port, Port() as other:
        names(hosts)
        targets = f"dns://pods:{port.number},{url(other)}"
        with relay(tmp_path, etc={**resolver.etc, "hosts": hosts}, targets=targets) as running:
            wait_for(lambda: other.looks == 1 and resolver.asked == 2, "who needs no resolver is told")
            assert port.looks == 0
            resolver.speaks.set()
            wait_for(lambda: port.looks == 1, "told by the late answer")
            running.request("/notify", "POST")
            wait_for(lambda: (port.looks, other.looks) == (2, 2), "told in time")
            assert running.status()["pods"] == 2


# Probes


def test_probes_and_metrics(port: Port, tmp_path: Path) -> None:
    with relay(tmp_path, targets=url(port)) as running:
        started(running, 1)
        assert running.request("/healthz").status == 200
        assert running.ready()
        families = {f.name: f for f in text_string_to_metric_families(running.request("/metrics").body)}
        assert families["dagferry_relay_pods"].samples[0].value == 1
        assert families["dagferry_relay_notifications"].samples[0].value == 1
        assert "dagferry_relay_connected" not in families
        assert running.status()["targets"] == [url(port)]
        assert running.request("/notify").status == 405
        assert running.request("/x").status == 404


def test_broker_that_is_away_makes_it_not_ready_and_http_goes_on(port: Port, tmp_path: Path) -> None:
    environ = {"DAGFERRY_AMQP": f"amqp://relay:{SECRET}@127.0.0.1:1/dags"}
    with relay(tmp_path, targets=url(port), environ=environ) as running:
        status = running.wait("a failed attempt", lambda s: s["problem"])
        assert status["connected"] is False
        assert status["broker"] == "127.0.0.1:1"
        assert "Connection refused" in status["problem"]
        assert not running.ready()
        assert running.request("/healthz").status == 200
        before = port.looks
        assert running.request("/notify", "POST").status == 202
        wait_for(lambda: port.looks > before, "HTTP is still relayed")
        assert SECRET not in running.text() + running.request("/status").body + running.request("/readyz").body
        assert running.metrics()["dagferry_relay_connected"] == 0


def test_broker_with_a_wrong_certificate_is_told_once_and_in_one_line(port: Port, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    server = tls.context(tls.Authority(tmp_path).server())
    ca = tls.Authority(tmp_path / "other", "another CA").path
    with RawServer(reply("200 OK"), tls=server) as broker:
        url = broker.endpoint.replace("https:", "amqps:")
        with relay(tmp_path, targets=f"http://127.0.0.1:{port.number}", amqp=url, amqp_ca=str(ca)) as running:
            problem = running.wait("refused", lambda s: s["problem"])["problem"]
            assert f"is not signed by the CA in {ca}: set --amqp-ca" in problem
            ca.unlink()
            running.wait("the file is missed", lambda s: f"--amqp-ca: cannot read {ca}" in s["problem"])
    assert len(running.logs("warning")) == 2
