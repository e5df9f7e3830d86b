"""The process: signals, triggers, a second puller on the root, and the HTTP port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.bundles import Simulator, commit_id, small_tree
from support.pods import Pod
from support.raw_server import RawServer
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stalled() -> Iterator[RawServer]:
    def stall(connection: socket.socket) -> None:
        server.stall(connection)

    with RawServer(stall) as server:
        yield server


def s3_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-store",
        "AWS_REGION": "us-east-1",
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_stalled_read_with_exit_0(pod: Pod, stalled: RawServer, number: int) -> None:
    running = pod.run(store="s3://bucket/prefix", environ=s3_environment(stalled.endpoint))
    wait_for(lambda: stalled.requests, "the read has begun")
    running.signal(number)
    assert running.process.wait(timeout=5) == 0
    assert "secret-of-the-store" not in running.text()


def test_signal_ends_an_idle_puller_with_exit_0(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run(period="1h")
    running.wait_live(first.version)
    assert running.stop() == 0


@pytest.mark.parametrize(
    ("mode", "number", "code"),
    [
        ("run", signal.SIGTERM, 0),
        ("run", signal.SIGINT, 0),
        ("once", signal.SIGTERM, 128 + signal.SIGTERM),
        ("run", signal.SIGHUP, None),
        ("once", signal.SIGHUP, None),
    ],
)
def test_signal_while_it_starts_ends_it_in_order_and_a_hangup_does_not(
    pod: Pod, simulator: Simulator, mode: str, number: int, code: int | None
) -> None:
    first = simulator.publish(small_tree("one"), "a")
    fifo = pod.directory / "fifo"
    os.mkfifo(fifo)  # the start hangs in reading its trust file
    process = subprocess.Popen(pod.arguments(mode, trust=str(fifo), **({"http": "none"} if mode == "run" else {})))
    try:
        with open(fifo, "wb") as writer:
            process.send_signal(number)
            if code is not None:
                assert process.wait(timeout=5) == code
                return
            os.replace(simulator.write_trust(pod.directory / "new"), fifo)
            writer.write(fifo.read_bytes())
        wait_for(lambda: pod.live() == first.version, "it went on")
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_signal_ends_once_with_the_code_of_the_signal(pod: Pod, stalled: RawServer) -> None:
    command = pod.arguments("once", store="s3://bucket/prefix")
    process = subprocess.Popen(
        command, env={**os.environ, **s3_environment(stalled.endpoint)}, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: stalled.requests, "the read has begun")
    process.terminate()
    assert process.wait(timeout=5) == 128 + signal.SIGTERM


def test_once_gives_up_a_stalled_read_after_its_time(pod: Pod, stalled: RawServer) -> None:
    result = pod.once(store="s3://bucket/prefix", environ=s3_environment(stalled.endpoint), timeout="2s")
    assert result.code == 11
    assert "not done after 2 s" in result.stderr


def test_sighup_makes_it_look_now(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run(period="1h")
    running.wait_live(first.version)
    second = simulator.publish(small_tree("two"), "b")
    running.signal(signal.SIGHUP)
    running.wait_live(second.version)


def test_touched_file_makes_it_look_now(pod: Pod, simulator: Simulator) -> None:
    trigger = pod.directory / "trigger"
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run(period="1h", trigger_file=str(trigger))
    running.wait_live(first.version)
    second = simulator.publish(small_tree("two"), "b")
    trigger.touch()
    running.wait_live(second.version)
    third = simulator.publish(small_tree("three"), "c")
    os.utime(trigger, (1, 1))
    running.wait_live(third.version)


def test_notification_makes_it_look_now_and_a_flood_is_one_look(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run(period="1h")
    running.wait_live(first.version)
    second = simulator.publish(small_tree("two"), "b")
    for _ in range(20):
        assert running.request("/notify", "POST", b'{"Records":[]}').status == 202
    running.wait_live(second.version)
    assert sum(running.status()["syncs"].values()) <= 4


def test_notification_needs_the_token_where_there_is_one(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run(period="1h", environ={"DAGFERRY_NOTIFY_TOKEN": "hush-hush"})
    running.wait_live(first.version)
    second = simulator.publish(small_tree("two"), "b")
    assert running.request("/notify", "POST").status == 401
    assert running.request("/notify", "POST", Authorization="Bearer wrong").status == 401
    assert running.request("/notify", "POST", Authorization="Bearer hush-hush").status == 202
    running.wait_live(second.version)
    assert "hush-hush" not in running.text()


def test_token_comes_from_a_file(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    token = pod.directory / "token"
    token.write_text("from-a-file\n")
    running = pod.run(notify_token_file=str(token))
    assert running.request("/notify", "POST", Authorization="Bearer from-a-file").status == 202
    assert running.request("/notify", "POST").status == 401


def test_standby_is_ready_and_takes_over_when_the_owner_is_killed(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    owner = pod.run()
    owner.wait_live(first.version)
    standby = pod.run()
    status = standby.wait_live(first.version)
    assert (status["role"], owner.status()["role"]) == ("standby", "owner")
    second = simulator.publish(small_tree("two"), "b")
    standby.wait_live(second.version)
    assert standby.metrics()["dagferry_puller_owner"] == 0
    owner.kill()
    standby.wait("took over", lambda s: s["role"] == "owner")
    third = simulator.publish(small_tree("three"), "c")
    standby.wait_live(third.version)


def test_standby_of_a_root_without_a_version_is_not_ready(pod: Pod, simulator: Simulator) -> None:
    owner = pod.run()
    owner.wait_problem("not-found")
    standby = pod.run()
    standby.wait("stands by", lambda s: s["role"] == "standby")
    assert not standby.ready()
    first = simulator.publish(small_tree("one"), "a")
    owner.signal(signal.SIGHUP)
    standby.wait_live(first.version)


def test_standby_sees_damage_and_leaves_it_to_the_owner(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    owner = pod.run(period="1h")
    owner.wait_live(first.version)
    standby = pod.run()
    standby.wait_live(first.version)
    pod.version(first.version).chmod(0o755)
    (pod.version(first.version) / "more").write_text("x")
    standby.wait("not ready", lambda s: not s["ready"])
    assert (pod.version(first.version) / "more").exists()


def test_once_waits_until_the_owner_has_the_pointers_version_live(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    owner = pod.run(period="1h")
    owner.wait_live(first.version)
    assert pod.once().code == 0
    second = simulator.publish(small_tree("two"), "b")
    result = pod.once(timeout="2s")
    assert (result.code, pod.live()) == (11, first.version)
    assert "run of etl/main" in result.stderr
    process = subprocess.Popen(pod.arguments("once", timeout="20s"), stderr=subprocess.DEVNULL)
    owner.signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0
    assert pod.live() == second.version


def test_once_takes_over_from_an_owner_that_dies(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    owner = pod.run(period="1h")
    owner.wait_live(first.version)
    second = simulator.publish(small_tree("two"), "b")
    process = subprocess.Popen(pod.arguments("once", timeout="20s"), stderr=subprocess.DEVNULL)
    owner.kill()
    assert process.wait(timeout=30) == 0
    assert pod.live() == second.version


def test_pin_on_a_root_that_follows_its_channel_is_an_error(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    second = simulator.publish(small_tree("two"), "b")
    owner = pod.run()
    owner.wait_live(second.version)
    result = pod.once(pin=first.version)
    assert (result.code, pod.live()) == (2, second.version)
    assert "--root" in result.stderr
    assert pod.once(pin=second.version).code == 0
    assert pod.once(commit=commit_id("b")).code == 0


def test_lock_file_that_is_removed_does_not_make_two_owners(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    owner = pod.run()
    owner.wait_live(first.version)
    (pod.root / ".dagferry/lock").unlink()
    other = pod.run()
    other.wait_live(first.version)
    roles = wait_for(
        lambda: (r := [p.status()["role"] for p in (owner, other)]).count("owner") == 1 and r, "one owner", seconds=15
    )
    assert sorted(roles) == ["owner", "standby"]


def test_endpoints_say_what_is_live(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a", reason="first try")
    running = pod.run()
    running.wait_live(first.version)
    assert running.request("/healthz").status == 200
    assert first.version in running.request("/readyz").body
    status = running.status()
    assert status["format"] == 1
    assert (status["bundle"], status["channel"], status["mode"]) == ("etl", "main", "run")
    assert status["live"]["pointer"] == first.digest
    assert status["live"]["tree"] == first.release.tree
    assert status["live"]["reason"] == "first try"
    assert status["seen"] == {"epoch": 1, "sequence": 1, "payload_digest": first.digest}
    head = running.request("/status", "HEAD")
    assert (head.status, head.body) == (200, "")
    assert head.headers["Content-Type"] == "application/json"


def test_metrics_name_the_live_release_and_old_series_disappear(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    second = simulator.publish(small_tree("two"), "b")
    running.wait_live(second.version)
    families = {f.name: f for f in text_string_to_metric_families(running.request("/metrics").body)}
    info = families["dagferry_puller_release_info"].samples
    assert [(s.labels["commit"], s.labels["sequence"], s.value) for s in info] == [(commit_id("b"), "2", 1.0)]
    assert all(family.documentation for family in families.values())
    assert families["dagferry_puller_versions"].samples[0].value == 2
    assert families["dagferry_puller_publish_to_live_seconds"].type == "histogram"
    steps = {s.labels["step"] for s in families["dagferry_puller_sync_step_seconds"].samples}
    assert {"pointer", "download", "unpack", "swap", "retire"} <= steps
    assert families["dagferry_puller_syncs"].type == "counter"
    assert families["dagferry_puller_process_resident_memory_bytes"].samples[0].value > 1e6


def test_held_channel_shows(pod: Pod, simulator: Simulator) -> None:
    from dagferry_shared.pointer import Held

    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    simulator.again(first, held=Held("ann", "freeze", first.pointer.issued))
    running.wait("held", lambda s: s["live"]["held"])
    assert running.metrics()["dagferry_puller_held"] == 1


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET //status HTTP/1.1\r\n\r\n", 404),
        (b"GET /status?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"DELETE /status HTTP/1.1\r\n\r\n", 405),
        (b"GET /notify HTTP/1.1\r\n\r\n", 405),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET http://evil/status HTTP/1.1\r\n\r\n", 400),
        (b"GET /status\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\nA: 1\r\na: 2\r\n\r\n", 400),
        (b"GET /status HTTP/1.1\r\nA : 1\r\n\r\n", 400),
        (b"POST /notify HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413),
        (b"POST /notify HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /notify HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", 400),
        (b"POST /notify HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /notify HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", 202),
        (b"GET /status HTTP/1.1\r\n" + b"A: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 100_000, 431),
        (b"GET /stat", 400),
    ],
)
def test_odd_requests_get_their_status(pod: Pod, simulator: Simulator, request_bytes: bytes, status: int) -> None:
    simulator.publish(small_tree("one"), "a")
    running = pod.run()
    answer = raw(running.port, request_bytes).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert not answer or int(answer.split()[1]) == status
    assert answer or status == 431  # closed with bytes unread, the answer may be lost
    assert running.request("/healthz").status == 200


def test_idle_connections_do_not_keep_a_probe_out(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    running = pod.run()
    idle = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(200)]
    try:
        assert running.request("/healthz").status == 200
        threads = len(os.listdir(f"/proc/{running.process.pid}/task"))
        assert threads <= 60
    finally:
        for connection in idle:
            connection.close()


def test_slow_request_is_cut(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    running = pod.run()
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(b"GET /status HT")
        assert b" 408 " in connection.recv(4096)


def test_no_port_where_none_is_wanted(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run(http="none", log_format="text")
    wait_for(lambda: pod.live() == first.version, "live")
    wait_for(lambda: f"live: {commit_id('a')[:12]} commit a" in running.text(), "the log says so")
    assert "listening" not in running.text()
    assert running.stop() == 0


def test_unchanged_polls_log_nothing_above_debug(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    before = [r for r in running.logs() if r["level"] != "debug"]
    running.wait_syncs(5, "unchanged")
    assert [r for r in running.logs() if r["level"] != "debug"] == before


def test_options_come_from_the_environment_too(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    environ = {f"DAGFERRY_{name.upper()}": value for name, value in pod.settings.items()}
    bare = dict.fromkeys(pod.settings)
    result = pod.once(
        environ={**environ, "DAGFERRY_NO_FSYNC": "1", "DAGFERRY_LINK": "live", "DAGFERRY_PERIOD": "bad"}, **bare
    )
    assert result.code == 0
    assert pod.live("live") == first.version


def test_ipv6_loopback_is_served(pod: Pod, simulator: Simulator) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    simulator.publish(small_tree("one"), "a")
    running = pod.run(http="[::1]:0")
    with socket.create_connection(("::1", running.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert b" 200 " in connection.recv(4096)


def test_json_logs_are_one_object_a_line(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    result = pod.once(log_format="json")
    records = [json.loads(line) for line in result.stderr.splitlines()]
    assert {"time", "level", "message"} <= records[0].keys()
    assert any(record.get("version") for record in records)


def test_readers_see_a_whole_version_at_every_moment(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("v0"), "0")
    running = pod.run(period="0.2")
    running.wait_live(first.version)
    torn: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            directory = Path(os.path.realpath(pod.root / "current"))
            names = sorted(p.name for p in directory.iterdir())
            if names != ["etl.py", "lib", "names", "run.sh", "same.py"]:
                torn.append(str(names))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for i in range(1, 6):
            running.wait_live(simulator.publish(small_tree(f"v{i}"), str(i)).version)
    finally:
        done.set()
        reader.join()
    assert not torn
