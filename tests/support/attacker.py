"""A puller in this process whose store belongs to an attacker, and one way to say that an attack came to nothing.

A ``Target`` is real (root, volume, puller, trust file on disk); only the reader between it and the store is watched.
``refuses`` asserts the whole of an attack: the reason, the exact requests, and that nothing on the volume changed.
``accepts`` is the control: the same steps without the lie go through, so the lie is what was refused.
"""

from __future__ import annotations

import os
import signal
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import disktree, fsio, options, state
from dagferry_puller.prepare import new_recorder
from dagferry_puller.root import Root
from dagferry_puller.status import Outcome
from dagferry_puller.sync import Puller
from dagferry_puller.trustfile import TrustSource
from dagferry_puller.volume import Volume
from dagferry_shared import envelope, gittree, names
from dagferry_shared.errors import DagferryError, Reason, Refused
from dagferry_shared.store.directory import DirectoryReader
from support.bundles import Published, Simulator, small_tree
from support.recording import RecordingReader

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from dagferry_shared.rules import Seen
    from dagferry_shared.store import Blob, BlobReader

ONLY_POINTER = ["pointer"]
_META = {"envelopes", "leases", "state.json"}
_UNLIMITED = 1 << 40


def up_to_release(published: Published) -> list[str]:
    """Name the requests of a pull that ends with the release."""
    return [*ONLY_POINTER, f"release {published.pointer.release}"]


def up_to_archive(published: Published) -> list[str]:
    """Name the requests of a whole pull."""
    return [*up_to_release(published), f"archive {published.release.archive.sha256}"]


def requests_up_to(kind: str, published: Published) -> list[str]:
    """Name the requests of a pull that ends with the pointer, the release or the archive."""
    names = {"pointer": ONLY_POINTER, "release": up_to_release(published), "archive": up_to_archive(published)}
    return names[kind]


@dataclass(frozen=True)
class Sight:
    """What a reader of the volume can see.

    Attributes:
        link: where the link points; None if there is none.
        tree: gitTree behind it.
        entries: (path, inode, mode, mtime in ns) of the tree and of all in it.
        versions: names in ``versions/``.
    """

    link: str | None
    tree: str | None
    entries: tuple[tuple[str, int, int, int], ...]
    versions: frozenset[str]


class Target:
    """A pod under attack.

    Args:
        tmp_path: for store, trust file and root.
        settings: as on the command line (``max_files="4"``), for every start.

    Attributes:
        simulator: publishes to the store; every lie can be told with it.
        trust: the trust file's path.
        path: the root's path.
        reader: records what is fetched; ``serve`` puts an attacker's store behind it.
    """

    def __init__(self, tmp_path: Path, **settings: str) -> None:
        self.simulator = Simulator(tmp_path / "store")
        self.trust = self.simulator.write_trust(tmp_path / "trust.json")
        self.path = tmp_path / "root"
        self.store = DirectoryReader(tmp_path / "store")
        self.reader = RecordingReader(self.store, f"{self.simulator.bundle}/v1/")
        self._settings = settings
        self._root: Root | None = None
        self.start()

    def start(self, **changes: str) -> Puller:
        """Start, again as a new process would: nothing is remembered but what is on the volume."""
        bundle, channel = self.simulator.bundle, self.simulator.channel
        given = {"store": "file:///x", "bundle": bundle, "channel": channel, "trust": str(self.trust)}
        given |= {"root": str(self.path), **self._settings, **changes}
        given = {name.replace("_", "-"): value for name, value in given.items()}
        assert given.keys() <= {option.name for option in options.OPTIONS}
        settings = options.resolve("run", given, {})
        self.close()
        self._root = Root(str(self.path), durable=not settings.no_fsync)
        self.volume = Volume(self._root, settings)
        trust = TrustSource(settings)
        trust.rules()
        self.recorder = new_recorder(settings)
        self.puller = Puller(settings, self.reader, self.volume, trust, self.recorder)
        return self.puller

    def close(self) -> None:
        """Give the volume up, as a process that ends does."""
        if self._root is not None:
            self._root.close()

    def publish(self, word: str, **changes: Any) -> Published:
        """Publish a commit of a small tree that differs by this word; see ``Simulator.publish``."""
        return self.simulator.publish(small_tree(word), word, **changes)

    @property
    def last(self) -> Published:
        """What was published last."""
        assert self.simulator.last is not None
        return self.simulator.last

    def warm(self) -> Published:
        """Publish commit "one" honestly and bring it live."""
        published = self.publish("one")
        self.accepts(published)
        return published

    def serve(self, reader: BlobReader) -> None:
        """Put another store behind the puller."""
        self.reader.inner = reader

    def write_trust(self, **changes: Any) -> None:
        """Change the trust file, as a ConfigMap update would."""
        self.simulator.write_trust(self.trust, **changes)

    def requests(self) -> list[str]:
        """Return what was asked for since the last call: ``pointer``, ``release DIGEST``, ``archive DIGEST``, …."""
        return [_short(request) for request in self.reader.take()]

    # Assertions

    def refuses(
        self, reason: Reason, *, fetched: list[str] | None = None, text: str = "", remembered: bool | None = None
    ) -> Refused:
        """Demand that a sync is refused and that the attack changed nothing.

        Args:
            reason: exactly this one.
            fetched: exactly these requests; the pointer alone unless said otherwise.
            text: is in the message.
            remembered: whether the pointer was accepted, so that no older one counts from now on; by default it
                was, if more than the pointer was asked for.
        """
        fetched = ONLY_POINTER if fetched is None else fetched
        with self.unchanged(fetched, remembered=len(fetched) > 1 if remembered is None else remembered):
            with pytest.raises(Refused) as caught:
                self.puller.sync()
            assert caught.value.reason is reason, caught.value
            assert text in caught.value.detail
        return caught.value

    def fails(self, kind: type[DagferryError], text: str = "", *, fetched: list[str], remembered: bool) -> None:
        """Demand that a sync fails in another way than by a refusal, and that nothing changed; see ``refuses``."""
        with self.unchanged(fetched, remembered=remembered), pytest.raises(kind, match=text or None):
            self.puller.sync()

    def accepts(self, published: Published, outcome: Outcome = Outcome.SWAPPED) -> None:
        """Demand that a sync makes this live: the link, the whole tree, the memory of its pointer, and no debris."""
        assert self.puller.sync() is outcome
        self.reader.take()
        sight = self.look()
        assert sight.link == f"versions/{published.version}"
        assert sight.tree == published.release.tree
        seen = self.seen()
        assert seen is not None
        assert seen.position == published.pointer.position
        assert seen.payload_digest == envelope.parse(published.raw, "it").payload_digest
        self.assert_tidy()

    def keeps(self, published: Published) -> None:
        """Demand that a sync finds this live and changes nothing on the volume but its memory."""
        before = self.look()
        self.accepts(published, Outcome.UNCHANGED)
        assert self.look() == before

    @contextmanager
    def unchanged(self, fetched: list[str] | None = None, *, remembered: bool = False) -> Iterator[None]:
        """Demand that nothing on the volume changes meanwhile, and that exactly this is asked for (None: anything)."""
        self.reader.take()
        before, seen = self.look(), self.seen()
        yield
        asked = self.requests()
        assert fetched is None or asked == fetched
        assert self.look() == before
        assert (self.seen() != seen) is remembered, f"seen was {seen}, is {self.seen()}"
        self.assert_tidy()

    # What is on the volume

    def look(self) -> Sight:
        """See what a reader sees."""
        link = self.path / "current"
        target = os.readlink(link) if link.is_symlink() else None
        versions = frozenset(os.listdir(self.path / "versions"))
        if target is None or not link.is_dir():
            return Sight(target, None, (), versions)
        with fsio.closing(os.open(link, os.O_RDONLY | os.O_DIRECTORY)) as fd:
            found = disktree.scan(fd, max_files=_UNLIMITED, max_bytes=_UNLIMITED)
        assert not found.extra
        return Sight(target, gittree.tree_id(found.leaves), tuple(_entries(str(link))), versions)

    def seen(self) -> Seen | None:
        """Return the newest pointer that would be remembered over a crash of this moment."""
        assert self._root is not None
        return state.load(self._root).seen.get(f"{self.simulator.bundle}/{self.simulator.channel}")

    def assert_tidy(self) -> None:
        """Demand that nothing lies about: no staging, no temporary file, no object of an unknown name."""
        assert set(os.listdir(self.path)) <= {"current", "versions", ".dagferry"}
        for name in os.listdir(self.path / "versions"):
            names.split_version_id(name)
        assert set(os.listdir(self.path / ".dagferry")) <= _META
        assert all(name.endswith(".json") for name in os.listdir(self.path / ".dagferry/envelopes"))


class KilledAt:
    """A store that kills the process which asks for the first key that contains a word: SIGKILL, nothing is tidied."""

    def __init__(self, inner: BlobReader, word: str) -> None:
        self._inner = inner
        self._word = word

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """See BlobReader.get."""
        self._check(key)
        return self._inner.get(key, limit=limit, if_none_match=if_none_match)

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        """See BlobReader.stream."""
        self._check(key)
        return self._inner.stream(key, limit=limit)

    def _check(self, key: str) -> None:
        if self._word in key:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_at(target: Target, word: str) -> bool:
    """Let a copy of this process sync, and be killed when it asks for a key with this word; then start anew.

    Returns whether it asked for one.
    """
    pid = os.fork()
    if not pid:
        try:
            target.serve(KilledAt(target.store, word))
            target.puller.sync()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    target.start()
    return os.WIFSIGNALED(status)


def _short(request: str) -> str:
    _, _, key = request.partition(" ")
    if key.endswith("/pointer.json"):
        return "pointer"
    if key.endswith("/cut.json"):
        return "cut"
    *_, folder, name = key.split("/")
    return f"{folder.removesuffix('s')} {name.partition('.')[0]}"


def _entries(top: str) -> Iterator[tuple[str, int, int, int]]:
    pending = [""]
    while pending:
        path = pending.pop()
        info = os.stat(os.path.join(top, path), follow_symlinks=not path)
        yield path, info.st_ino, info.st_mode, info.st_mtime_ns
        if stat.S_ISDIR(info.st_mode):
            pending += sorted(os.path.join(path, name) for name in os.listdir(os.path.join(top, path)))
