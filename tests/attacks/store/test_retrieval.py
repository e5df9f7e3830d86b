"""Slow and endless retrieval by a whole puller, and a file store whose files are not what they seem."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import download
from dagferry_shared.errors import BlobMissing, DagferryError, Reason, StoreDenied, StoreUnreachable
from support.attacker import ONLY_POINTER, Target, requests_up_to, up_to_archive
from support.bundles import Published, Simulator, small_tree
from support.hostile import HostileStore
from support.pods import Pod
from support.raw_server import reply
from support.waiting import wait_for

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from support.pods import Running
    from support.raw_server import Answer

KINDS = ("pointer", "release", "archive")
MEMORY_KIB = 32 * 1024  # more than an honest pull takes


def dripping(data: bytes) -> Answer:
    """Send the truth, a byte at a time."""

    def send(connection: socket.socket) -> None:
        reply("200 OK", length=len(data))(connection)
        connection.settimeout(0.02)
        for byte in data:
            connection.sendall(bytes([byte]))
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    return send


@pytest.mark.parametrize(
    ("settings", "grace", "text"),
    [({"download_timeout": "0.2"}, 10.0, "--download-timeout"), ({"min_rate": "1M"}, 0.1, "--min-rate")],
    ids=["deadline", "rate"],
)
def test_archive_that_comes_byte_by_byte_is_given_up(
    target: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    grace: float,
    text: str,
) -> None:
    monkeypatch.setattr(download, "GRACE_SECONDS", grace)
    target.start(**settings)
    target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    with HostileStore(target.simulator.directory) as store:
        target.serve(store.reader(tmp_path))
        store.lies["archive"] = dripping
        target.fails(StoreUnreachable, text, fetched=up_to_archive(second), remembered=True)
        # What was slow is not held against the content: the next poll asks for it again.
        target.fails(StoreUnreachable, text, fetched=up_to_archive(second), remembered=False)
        store.lies.clear()
        target.accepts(second)


def memory(running: Running) -> int:
    """Return the most memory that a process ever had, in KiB."""
    lines = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def test_puller_answers_probes_while_an_archive_drips_and_goes_on_after_it(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    with HostileStore(simulator.directory) as store:
        running = pod.run(store="s3://bucket", environ=store.environ, download_timeout="1s")
        running.wait_live(first.version)
        store.lies["archive"] = dripping
        second = simulator.publish(small_tree("two"), "b")
        wait_for(lambda: any("/archives/" in asked.path for asked in store.asked[3:]), "the archive was asked for")
        for page in ("healthz", "readyz", "metrics"):
            assert running.request(f"/{page}").status == 200
        status = running.wait_problem("store-unreachable")
        assert "--download-timeout" in status["problem"]["detail"]
        assert running.ready()
        assert pod.live() == first.version
        assert pod.versions() == {first.version}, "nothing is left of it"
        store.lies.clear()
        running.wait_live(second.version)


def test_puller_ends_at_once_while_an_archive_drips(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    with HostileStore(simulator.directory) as store:
        store.lies["archive"] = dripping
        running = pod.run(store="s3://bucket", environ=store.environ)
        wait_for(lambda: any("/archives/" in asked.path for asked in store.asked), "the archive was asked for")
        assert running.stop() == 0
        assert pod.once().code == 0


def endless(_: bytes) -> Answer:
    def send(connection: socket.socket) -> None:
        reply("200 OK", length=1 << 40)(connection)
        while True:
            connection.sendall(bytes(1 << 16))

    return send


@pytest.mark.parametrize("kind", KINDS)
def test_object_without_an_end_takes_no_memory(pod: Pod, simulator: Simulator, kind: str) -> None:
    first = simulator.publish(small_tree("one"), "a")
    with HostileStore(simulator.directory) as store:
        running = pod.run(store="s3://bucket", environ=store.environ)
        running.wait_live(first.version)
        before = memory(running)
        store.lies[kind] = endless
        second = simulator.publish(small_tree("two"), "b")
        running.wait_problem("oversize")
        running.wait_syncs(3)
        assert memory(running) <= before + MEMORY_KIB
        assert running.ready()
        store.lies.clear()
        if kind != "archive":  # or it is tried again after the delay for a digest that was refused
            running.wait_live(second.version)


# A file store on a volume that the attacker can write to


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def attack(path: Path) -> None:
        path.rename(path.with_name("moved"))
        make(path)

    return attack


MISFILED: dict[str, tuple[Callable[[Path], object], type[DagferryError]]] = {
    "a FIFO": (replaced(os.mkfifo), StoreDenied),
    "a directory": (replaced(os.mkdir), BlobMissing),
    "a link to what it was": (replaced(lambda path: path.symlink_to("moved")), StoreDenied),
    "a link to a device": (replaced(lambda path: path.symlink_to("/dev/zero")), StoreDenied),
    "a link to a secret": (replaced(lambda path: path.symlink_to("/etc/shadow")), StoreDenied),
    "a link to itself": (replaced(lambda path: path.symlink_to(path)), StoreDenied),
    "a broken link": (replaced(lambda path: path.symlink_to("nowhere")), StoreDenied),
    "a device": (replaced(lambda path: os.mknod(path, 0o20644, os.makedev(1, 5))), StoreDenied),
    "nothing": (replaced(lambda _: None), BlobMissing),
    "behind a link": (lambda path: relinked(path.parent), BlobMissing),
}


def relinked(directory: Path) -> None:
    moved = directory.with_name("moved")
    directory.rename(moved)
    directory.symlink_to(moved)


def file_of(target: Target, published: Published, kind: str) -> Path:
    layout = target.simulator.layout
    keys = {
        "pointer": layout.pointer("main"),
        "release": layout.release(published.pointer.release),
        "archive": layout.archive(published.release.archive.sha256),
    }
    return target.simulator.path(keys[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MISFILED)
def test_what_is_no_plain_file_is_no_object(target: Target, kind: str, name: str) -> None:
    if "device" in name and os.geteuid():
        pytest.skip("only root can make a device")
    target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    attack, error = MISFILED[name]
    attack(file_of(target, second, kind))
    target.fails(error, "read", fetched=requests_up_to(kind, second), remembered=kind != "pointer")


@pytest.mark.parametrize("kind", KINDS)
def test_file_of_a_tebibyte_is_oversize(target: Target, kind: str) -> None:
    target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    os.truncate(file_of(target, second, kind), 1 << 40)
    target.refuses(Reason.OVERSIZE, fetched=requests_up_to(kind, second))


@pytest.mark.parametrize("size", [0, 1, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_truncated_file_is_refused(target: Target, kind: str, size: int) -> None:
    target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    file = file_of(target, second, kind)
    os.truncate(file, size if size >= 0 else file.stat().st_size - 1)
    target.refuses(Reason.MALFORMED if kind == "pointer" else Reason.WRONG_DIGEST, fetched=requests_up_to(kind, second))


def test_store_that_is_gone_is_an_outage_and_not_an_empty_store(target: Target) -> None:
    target.warm()
    target.simulator.directory.rename(target.simulator.directory.with_name("gone"))
    target.fails(StoreUnreachable, "mount it", fetched=ONLY_POINTER, remembered=False)
