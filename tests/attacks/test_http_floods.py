"""Floods of the HTTP port of a real puller: probes are answered, threads and memory are bounded, syncs go on."""

from __future__ import annotations

import os
import resource
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import httpwire
from support.bundles import Simulator, small_tree
from support.pods import Pod
from support.portfixtures import Port
from support.rawclient import connections, say
from support.scale import scale
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.pods import Running

PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
MANY = scale(500, 5000)
THREADS = httpwire.MAX_CONNECTIONS + 8  # more than before; some have served, and are about to end
MEMORY_KIB = 24 * 1024  # more than before
HALVES = {
    "idle": b"",
    "half a request": b"GET /healthz HTTP/1.1\r\nHost: ",
    "half a body": b"POST /notify HTTP/1.1\r\nContent-Length: 65536\r\n\r\nx",
    "half a flood of headers": b"GET /healthz HTTP/1.1\r\n" + b"A: 1\r\n" * 1300,
}


@contextmanager
def descriptors(soft: int) -> Iterator[None]:
    """Give processes that start meanwhile only so many descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def proc(running: Running, name: str) -> int:
    """Return a number of the process: Threads, or VmHWM and VmRSS in KiB."""
    lines = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def open_files(running: Running) -> int:
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


class Watch(threading.Thread):
    """Remembers the most threads that a process had while it was watched."""

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._running = running
        self._end = threading.Event()
        self.most = 0

    def run(self) -> None:
        while not self._end.wait(0.001):
            self.most = max(self.most, proc(self._running, "Threads"))

    def stop(self) -> int:
        self._end.set()
        self.join()
        return self.most


@pytest.mark.parametrize("half", HALVES)
def test_many_connections_at_once_leave_room_for_a_probe(pod: Pod, simulator: Simulator, half: str) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    before, memory = proc(running, "Threads"), proc(running, "VmHWM")
    watch = Watch(running)
    watch.start()
    with connections(running.port, MANY, HALVES[half]):
        for _ in range(3):
            assert say(running.port, PROBE).body == b"alive\n"
        second = simulator.publish(small_tree("two"), "b")
        running.wait_live(second.version)
        assert open_files(running) <= httpwire.MAX_CONNECTIONS + 40
    assert before <= watch.stop() <= before + THREADS
    assert proc(running, "VmHWM") <= memory + MEMORY_KIB
    wait_for(lambda: proc(running, "Threads") <= before, "the threads have ended")
    assert running.stop() == 0


def test_requests_from_many_threads_are_all_served_or_dropped(pod: Pod, simulator: Simulator) -> None:
    """More clients at once than there may be connections: each gets a whole answer, or none."""
    simulator.publish(small_tree("one"), "a")
    running = pod.run()
    answers: list[bytes] = []

    def ask() -> None:
        for _ in range(scale(20, 200)):
            try:
                answers.append(say(running.port, PROBE).raw)
            except ConnectionError:
                answers.append(b"")

    clients = [threading.Thread(target=ask) for _ in range(48)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    whole = [answer for answer in answers if answer]
    assert {answer.partition(b"\r\n")[0] for answer in whole} == {b"HTTP/1.1 200 OK"}
    assert all(answer.endswith(b"\r\n\r\nalive\n") for answer in whole)
    assert len(whole) > len(answers) / 2
    assert running.request("/healthz").status == 200
    assert not running.logs("error")


def test_flood_on_few_descriptors_leaves_those_that_a_sync_needs(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    with descriptors(40):
        running = pod.run()
    running.wait_live(first.version)
    with connections(running.port, 200):
        second = simulator.publish(small_tree("two"), "b")
        wait_for(lambda: pod.live() == second.version, "the update is live")
        assert say(running.port, PROBE).status == 200
        assert open_files(running) < 32
    assert running.status()["failures"] == 0
    assert not running.logs("error")


def test_puller_without_a_descriptor_left_goes_on_and_recovers(pod: Pod, simulator: Simulator) -> None:
    """Whatever took them: no connection can be accepted and no file opened, until there are some again."""
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    limits = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    with connections(running.port, 100, PROBE) as waiting:
        simulator.publish(small_tree("two"), "b")
        wait_for(lambda: "Too many open files" in running.text(), "a sync failed")
        assert running.process.poll() is None
        assert pod.read("etl.py") == "VERSION = 'one'\n"
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, limits)
        waiting[-1].settimeout(20)
        assert waiting[-1].recv(12) == b"HTTP/1.1 200"
    assert simulator.last is not None
    status = running.wait_live(simulator.last.version)
    assert status["failures"] == 0
    assert status["syncs"]["volume-failed"] >= 1
    assert pod.versions() == {first.version, simulator.last.version}
    assert running.stop() == 0


def test_connection_for_which_no_thread_can_be_had_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Port() as port:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            for _ in range(2 * httpwire.MAX_CONNECTIONS):
                assert say(port.number, b"").raw == b""
        assert say(port.number, PROBE).status == 200


def test_client_that_does_not_read_its_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpwire, "REQUEST_SECONDS", 0.3)
    with Port() as port:
        port.recorder.update(store="x" * (8 << 20))
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port.number))
            connection.sendall(b"GET /status HTTP/1.1\r\n\r\n")
            wait_for(lambda: port.open == 0, "it was dropped")
        assert say(port.number, PROBE).status == 200


def test_status_with_names_that_are_not_utf_8_is_shown(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    pod.root = pod.directory / "r\udcff"
    running = pod.run(root=str(pod.root))
    assert running.wait_live(first.version)["root"].endswith("r\udcff")
    assert running.metrics()["dagferry_puller_ready"] == 1
