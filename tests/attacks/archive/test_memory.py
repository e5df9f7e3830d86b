"""Peak memory of a real puller: a constant plus the zstd window, whatever comes out of the archive.

The peak is what the kernel counted (``ru_maxrss``). A process inherits the count of the one that it was forked from, so
a small launcher stands between; this test process is larger than any puller.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from support import handmade
from support.bundles import Simulator, small_tree, tar_bytes
from support.hostile import HostileStore
from support.pods import Pod
from support.scale import scale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
CONTENT = 64 * MIB
WINDOW_MIB = 8  # what FORMAT.md allows
CONSTANT_MIB = 8  # buffers of download, hash, decoder and tar over those of a pull of six small files
LAUNCHER = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Pull:
    """How a ``once`` ended, and the most memory that it had at once."""

    code: int
    peak_mib: float
    log: str


class Site:
    """A pod, and a store behind a directory or an S3 port.

    Args:
        directory: for all of it.
        store: the S3 port, None for ``file://``.
    """

    def __init__(self, directory: Path, store: HostileStore | None) -> None:
        self.simulator = Simulator(directory / "store")
        self.pod = Pod(directory, self.simulator)
        self._store = store

    def pull(self, **settings: str) -> Pull:
        """Run the real command."""
        s3 = {"store": "s3://bucket"} if self._store else {}
        command = self.pod.arguments("once", "--no-fsync", **{"timeout": "60s", **s3, **settings})
        environ = {**os.environ, **(self._store.environ if self._store else {})}
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
        done = subprocess.run(launcher, capture_output=True, text=True, env=environ, timeout=120, check=True)
        code, peak = done.stdout.split()
        return Pull(int(code), int(peak) / 1024, done.stderr)

    def publish(self, archive: bytes, **signed: Any) -> str:
        """Publish any bytes as an archive; ``signed`` is what the release says of it."""
        told = {"archive_sha256": hashlib.sha256(archive).hexdigest(), "archive_size": len(archive), **signed}
        made = self.simulator.publish(small_tree("big"), "big", release_changes=told, archive=lambda _: archive)
        return made.version

    def baseline(self) -> float:
        """Return the peak of a pull of six small files."""
        self.simulator.publish(small_tree(), "small")
        pull = self.pull()
        assert pull.code == 0, pull.log
        return pull.peak_mib


@pytest.fixture(params=["file", "s3"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "file":
        yield Site(tmp_path, None)
        return
    with HostileStore(tmp_path / "store") as store:
        yield Site(tmp_path, store)


def with_window(data: bytes, window_log: int) -> bytes:
    """Compress at a fast level with a window of 2^window_log bytes."""
    flags = {"write_checksum": True, "write_content_size": True, "write_dict_id": False}
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log, **flags)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


CONTENTS: dict[str, Callable[[], dict[str, bytes]]] = {
    "one incompressible file": lambda: {"model.bin": os.urandom(CONTENT)},
    "one compressible file": lambda: {"data.csv": b"1,2,3,4\n" * (CONTENT // 8)},
    "a thousand files": lambda: {f"d{n % 40}/f{n}.py": os.urandom(CONTENT // 2048) * 2 for n in range(1024)},
}


@pytest.mark.parametrize("content", CONTENTS)
def test_pull_of_64_mib_takes_a_constant_and_the_window(site: Site, content: str, record_property: Record) -> None:
    baseline = site.baseline()
    tree = CONTENTS[content]()
    plain = tar_bytes(tree)
    archive = with_window(plain, 23)
    made, _ = site.simulator.make_release(tree, "big")
    told = {"archive_unpacked_size": len(plain), "archive_files": len(tree), "tree": made.tree}
    version = site.publish(archive, **told)
    pull = site.pull()
    assert (pull.code, site.pod.live()) == (0, version), pull.log
    assert pull.peak_mib <= baseline + WINDOW_MIB + CONSTANT_MIB
    record_property("peak MiB of a small pull", round(baseline))
    record_property("peak MiB while pulling 64 MiB", round(pull.peak_mib))
    record_property("attacks", 1)


def test_entries_take_a_kibibyte_each_at_most(tmp_path: Path, record_property: Record) -> None:
    """What is remembered of an archive is its names: here thousands of 40 bytes."""
    site = Site(tmp_path, None)
    baseline, count = site.baseline(), scale(5_000, 50_000)
    tree = {f"team_{number // 500:03d}/a_file_with_a_name_{number:08d}.py": b"" for number in range(count)}
    plain = tar_bytes(tree)
    made, _ = site.simulator.make_release(tree, "big")
    told = {"archive_unpacked_size": len(plain), "archive_files": count, "tree": made.tree}
    version = site.publish(with_window(plain, 20), **told)
    pull = site.pull()
    assert (pull.code, site.pod.live()) == (0, version), pull.log
    assert pull.peak_mib <= baseline + CONSTANT_MIB + count / 1024
    record_property("peak MiB while pulling thousands of files", round(pull.peak_mib))
    record_property("attacks", 1)


def bomb(*, claimed: int, unpacked: int, window: int = WINDOW_MIB * MIB) -> bytes:
    """Return a frame of one huge file of zeros: four bytes for every 128 KiB."""
    step = 128 * 1024
    exponent = window.bit_length() - 11
    head = handmade.header(b"zeros", size=8**11 - 1)
    zeros = handmade.block(b"\0", kind=1, size=step, last=False) * (unpacked // step)
    blocks = handmade.block(head, last=False) + zeros + handmade.block(b"")
    return handmade.frame(b"", window=bytes([exponent << 3]), size=claimed, blocks=blocks, end=b"\0" * 4)


TEN_GIB = 10 * 1024 * MIB
BOMBS: dict[str, tuple[bytes, int, str]] = {
    "claims what it is": (bomb(claimed=TEN_GIB + 512, unpacked=TEN_GIB), 2**31, "too-large"),
    "claims what is signed": (bomb(claimed=CONTENT, unpacked=TEN_GIB), CONTENT, "bad-archive"),
    "claims and is what is signed, and is not what it claims": (
        bomb(claimed=CONTENT, unpacked=CONTENT),
        CONTENT,
        "bad-archive",
    ),
    "signs more than the cap": (bomb(claimed=TEN_GIB + 512, unpacked=TEN_GIB), TEN_GIB + 512, "too-large"),
    "window of 16 MiB": (bomb(claimed=CONTENT, unpacked=TEN_GIB, window=16 * MIB), CONTENT, "bad-archive"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_zstd_bomb_takes_a_constant_and_the_window(tmp_path: Path, name: str, record_property: Record) -> None:
    site = Site(tmp_path, None)
    archive, signed, reason = BOMBS[name]
    baseline = site.baseline()
    before = site.pod.live()
    site.publish(archive, archive_unpacked_size=signed)
    pull = site.pull()
    assert pull.code == 3
    assert f"refused ({reason}): " in pull.log
    assert site.pod.live() == before
    assert site.pod.versions() == {before}
    assert pull.peak_mib <= baseline + WINDOW_MIB + CONSTANT_MIB
    record_property("peak MiB while refusing a zstd bomb", round(pull.peak_mib))
    record_property("attacks", 1)
