"""Who can reach the HTTP port: whoever the setting says, and nobody else unless told."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import options
from support.bundles import Simulator, small_tree
from support.pods import Pod
from support.rawclient import Said, everything
from support.waiting import wait_for

if TYPE_CHECKING:
    from support.pods import Running

_LISTEN = "0A"


@pytest.fixture(autouse=True)
def published(simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")


def listening(running: Running) -> list[tuple[str, int]]:
    """Return the addresses on which a process listens, from the kernel's own table."""
    inodes = set()
    for path in Path(f"/proc/{running.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(path))
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        path = Path(f"/proc/{running.process.pid}/net/{table}")
        for row in path.read_text().splitlines()[1:] if path.exists() else ():
            words = row.split()
            if words[3] == _LISTEN and f"socket:[{words[9]}]" in inodes:
                host, _, port = words[1].partition(":")
                raw = b"".join(bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8))
                found.append((socket.inet_ntop(family, raw), int(port, 16)))
    return found


def without_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return False
    except OSError:
        return True


def test_default_is_loopback() -> None:
    given = {"store": "file:///x", "bundle": "etl", "channel": "main", "trust": "/x", "root": "/x"}
    assert options.resolve("run", given, {}).http == ("127.0.0.1", 9474)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "127.0.0.2", "[::1]", "[::]"])
def test_it_binds_where_it_is_told_and_nowhere_else(pod: Pod, host: str) -> None:
    if ":" in host and without_ipv6():
        pytest.skip("this machine has no IPv6")
    bare = host.strip("[]")
    running = pod.run(http=f"{host}:0")
    assert listening(running) == [(bare, running.port)]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bare, bare)
    with socket.create_connection((local, running.port), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert Said(everything(connection)).status == 200
    assert f'"address": "http://{host}:{running.port}"' in running.text()


def test_port_on_loopback_is_not_reachable_on_another_address(pod: Pod) -> None:
    running = pod.run()
    with socket.socket() as connection, pytest.raises(ConnectionRefusedError):
        connection.connect(("127.0.0.2", running.port))


def test_none_opens_no_port_at_all(pod: Pod) -> None:
    running = pod.run(http="none")
    wait_for(pod.live, "a version is live")
    assert listening(running) == []


def test_port_that_is_taken_is_a_wrong_setting(pod: Pod) -> None:
    message = r"(?s)ended with 2: .*--http: cannot listen on 127\.0\.0\.1"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AssertionError, match=message):
        pod.run(http=f"127.0.0.1:{taken.getsockname()[1]}")
    assert pod.live() is None


@pytest.mark.parametrize("address", ["192.0.2.1:0", "127.0.0.1", ":9474", "127.0.0.1:65536", "127.0.0.1:-1"])
def test_address_that_cannot_be_had_is_a_wrong_setting(pod: Pod, address: str) -> None:
    with pytest.raises(AssertionError, match=r"(?s)ended with 2: .*--http"):
        pod.run(http=address)
