"""A publishing simulator: keys, trust files, archives, releases and pointers made from dagferry_shared alone.

It writes a store as a publisher would, and any lie on the way: every document can be changed before it is signed,
signed by other keys, or replaced after it was written. It knows nothing of the real publisher.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard

from dagferry_shared import envelope, gittree, pointer, release, times
from dagferry_shared.archive import header as tar
from dagferry_shared.archive.reader import Limits, read_archive
from dagferry_shared.keys import FileSigner
from dagferry_shared.layout import Layout
from dagferry_shared.trust import ChannelTrust, Role, TrustFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

REPOSITORY = "https://git.example.org/data/dags"
COMMIT_TIME = 1_700_000_000  # seconds


@dataclass(frozen=True)
class File:
    """A regular file of a tree."""

    data: bytes
    executable: bool = False


@dataclass(frozen=True)
class Symlink:
    """A symlink of a tree."""

    target: str


Tree = "Mapping[str, File | Symlink | str | bytes]"


def _entry(value: Any) -> File | Symlink:
    if isinstance(value, str):
        return File(value.encode())
    return File(value) if isinstance(value, bytes) else value


def tar_bytes(tree: Tree) -> bytes:
    """Write the canonical tar of a tree (hostile ones, too: nothing is checked)."""
    out = []
    for path, value in sorted((path.encode(), _entry(value)) for path, value in tree.items()):
        if isinstance(value, Symlink):
            out.append(tar.encode(tar.Header(path, False, 0, COMMIT_TIME, value.target.encode())))
        else:
            data = value.data
            out += [tar.encode(tar.Header(path, value.executable, len(data), COMMIT_TIME)), data]
            out.append(b"\0" * tar.padding(len(data)))
    return b"".join(out) + b"\0" * 2 * tar.BLOCK


def compress(data: bytes, level: int = 3) -> bytes:
    """Make the one zstd frame that is allowed around a tar."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, write_checksum=True, write_content_size=True, write_dict_id=False, window_log=20
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def archive_bytes(tree: Tree) -> bytes:
    """Pack a tree."""
    return compress(tar_bytes(tree))


def tree_of(tree: Tree) -> str:
    """Return the gitTree of a tree."""
    leaves = {}
    for path, raw in tree.items():
        value = _entry(raw)
        if isinstance(value, Symlink):
            leaves[path] = gittree.Leaf(gittree.Mode.LINK, gittree.blob_id(value.target.encode()))
        else:
            mode = gittree.Mode.EXECUTABLE if value.executable else gittree.Mode.FILE
            leaves[path] = gittree.Leaf(mode, gittree.blob_id(value.data))
    return gittree.tree_id(leaves)


def commit_id(word: str) -> str:
    """Make up a commit id."""
    return hashlib.sha1(word.encode()).hexdigest()


@dataclass
class Keys:
    """One signer for each role, and any other that a test wants."""

    release: FileSigner = field(default_factory=FileSigner.generate)
    pointer: FileSigner = field(default_factory=FileSigner.generate)
    other: FileSigner = field(default_factory=FileSigner.generate)


@dataclass(frozen=True)
class Published:
    """What was written for one pointer."""

    pointer: pointer.Pointer
    raw: bytes
    release_raw: bytes
    release: release.Release

    @property
    def version(self) -> str:
        """Its version id."""
        return self.pointer.version

    @property
    def digest(self) -> str:
        """Payload digest of its pointer."""
        return hashlib.sha256(self.pointer.payload()).hexdigest()


class Simulator:
    """Publishes to a directory that a ``file://`` store serves.

    Args:
        directory: the store; made if it is not there.
        bundle: name.
        channel: name.
    """

    def __init__(self, directory: Path, bundle: str = "etl", channel: str = "main") -> None:
        self.directory = directory
        self.bundle = bundle
        self.channel = channel
        self.layout = Layout(bundle)
        self.keys = Keys()
        self.epoch = 1
        self.sequence = 0
        self.last: Published | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """The store's URL."""
        return f"file://{self.directory}"

    # Trust

    def trust(self, **changes: Any) -> TrustFile:
        """Return a trust file that accepts what this simulator publishes.

        Args:
            changes: fields of the channel's entry (``floor=3``) or of the file (``epoch``, ``revoked``, ``max_ttl``,
                ``bundle``); ``channel`` names the entry.
        """
        keys = {s.public.id: s.public for s in (self.keys.release, self.keys.pointer, self.keys.other)}
        top = {name: changes.pop(name) for name in ("epoch", "revoked", "max_ttl", "bundle") if name in changes}
        channel = changes.pop("channel", self.channel)
        entry = ChannelTrust(
            repository=REPOSITORY,
            paths=("dags",),
            refs=("main",),
            selection=release.Selection(),
            release=Role(1, (self.keys.release.public.id,)),
            pointer=Role(1, (self.keys.pointer.public.id,)),
        )
        whole = TrustFile(self.bundle, self.epoch, keys, {channel: replace(entry, **changes)})
        return replace(whole, **{"revoked": frozenset(top.pop("revoked", ())), **top})

    def write_trust(self, path: Path, **changes: Any) -> Path:
        """Write a trust file as a ConfigMap update would: by a rename."""
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(self.trust(**changes).encode())
        os.replace(temporary, path)
        return path

    # Objects

    def path(self, key: str) -> Path:
        """Return where an object lies."""
        return self.directory / key

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whole."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{os.urandom(4).hex()}")
        temporary.write_bytes(data)
        os.replace(temporary, path)

    def archive(self, published: Published) -> Path:
        """Return the archive's file."""
        return self.path(self.layout.archive(published.release.archive.sha256))

    def make_release(self, tree: Tree, word: str, /, **changes: Any) -> tuple[release.Release, bytes]:
        """Describe a tree; ``changes`` replace fields of the release or, with ``source_`` or ``archive_``, of those."""
        packed = archive_bytes(tree)
        source = release.Source(
            repository=REPOSITORY,
            commit=commit_id(word),
            ref="main",
            paths=("dags",),
            selection=release.Selection(),
            committed="2026-01-01T00:00:00.000Z",
            author="Ann <ann@example.org>",
            subject=f"commit {word}",
        )
        info = release.ArchiveInfo(hashlib.sha256(packed).hexdigest(), len(packed), len(tar_bytes(tree)), len(tree))
        source = replace(source, **_with_prefix(changes, "source_"))
        info = replace(info, **_with_prefix(changes, "archive_"))
        made = release.Release(
            bundle=self.bundle,
            tree=tree_of(tree) if "tree" not in changes else changes["tree"],
            source=source,
            archive=info,
            builder=release.Builder("simulator", "1", None),
            created=times.show(times.now()),
        )
        return replace(made, **changes), packed

    def make_pointer(self, made: release.Release, release_digest: str, **changes: Any) -> pointer.Pointer:
        """Describe the next entry of the chain; ``changes`` replace its fields."""
        base = pointer.Pointer(
            bundle=self.bundle,
            channel=self.channel,
            epoch=self.epoch,
            sequence=self.sequence + 1,
            issued=times.show(times.now()),
            expires=None,
            release=release_digest,
            commit=made.source.commit,
            tip=made.source.commit,
            previous=self.last.digest if self.last else None,
            action=pointer.Action.PUBLISH,
            held=None,
            actor="simulator",
            reason="",
        )
        return replace(base, **changes)

    def sign_release(self, made: release.Release, *signers: FileSigner) -> bytes:
        """Put a release into its envelope."""
        return envelope.sign(release.PAYLOAD_TYPE, made.payload(), signers or (self.keys.release,)).encode()

    def sign_pointer(self, made: pointer.Pointer, *signers: FileSigner) -> bytes:
        """Put a pointer into its envelope."""
        return envelope.sign(pointer.PAYLOAD_TYPE, made.payload(), signers or (self.keys.pointer,)).encode()

    # Whole publishes

    def publish(
        self,
        tree: Tree,
        word: str,
        *,
        release_changes: Mapping[str, Any] | None = None,
        release_signers: Iterable[FileSigner] = (),
        pointer_signers: Iterable[FileSigner] = (),
        archive: Callable[[bytes], bytes | None] = lambda data: data,
        **pointer_changes: Any,
    ) -> Published:
        """Write archive, release, pointer and history copy of a new commit, with the lies that are asked for.

        ``archive`` makes what is stored of the packed bytes; None withholds it.
        """
        made, packed = self.make_release(tree, word, **dict(release_changes or {}))
        raw = self.sign_release(made, *release_signers)
        stored = archive(packed)
        if stored is not None:
            self.put(self.layout.archive(made.archive.sha256), stored)
        self.put(self.layout.release(envelope.digest(raw)), raw)
        entry = self.make_pointer(made, envelope.digest(raw), **pointer_changes)
        return self.point(made, raw, entry, *pointer_signers)

    def point(
        self, made: release.Release, release_raw: bytes, entry: pointer.Pointer, *signers: FileSigner
    ) -> Published:
        """Write a pointer and its history copy, and go on from there."""
        raw = self.sign_pointer(entry, *signers)
        self.put(self.layout.pointer(entry.channel), raw)
        self.put(self.layout.history_entry(entry.channel, entry.epoch, entry.sequence), raw)
        self.epoch, self.sequence = entry.epoch, entry.sequence
        self.last = Published(entry, raw, release_raw, made)
        return self.last

    def again(self, target: Published, action: pointer.Action = pointer.Action.ROLLBACK, **changes: Any) -> Published:
        """Move the channel to a release that was published before (rollback, refresh, …)."""
        entry = self.make_pointer(target.release, envelope.digest(target.release_raw), action=action, **changes)
        return self.point(target.release, target.release_raw, entry)

    def show(self, published: Published) -> None:
        """Put an old pointer back in place: a replay."""
        self.put(self.layout.pointer(self.channel), published.raw)

    def put_pointer(self, entry: pointer.Pointer, *signers: FileSigner) -> bytes:
        """Write a pointer of any content, without a history copy."""
        raw = self.sign_pointer(entry, *signers)
        self.put(self.layout.pointer(self.channel), raw)
        return raw


def _with_prefix(changes: dict[str, Any], prefix: str) -> dict[str, Any]:
    found = {name: changes.pop(name) for name in list(changes) if name.startswith(prefix)}
    return {name.removeprefix(prefix): value for name, value in found.items()}


def ago(seconds: float) -> str:
    """Return the instant so many seconds ago (negative: ahead), as documents hold it."""
    return times.show(times.now() - timedelta(seconds=seconds))


def manifest_of(packed: bytes) -> str:
    """Return the gitTree of an archive by the real reader."""
    return read_archive(BytesIO(packed), Limits()).tree


def small_tree(word: str = "one") -> dict[str, Any]:
    """Return a tree of some files, an executable one and a link, that differs by ``word`` in one file."""
    return {
        "etl.py": f"VERSION = {word!r}\n",
        "lib/__init__.py": "",
        "lib/tables.py": "TABLES = 3\n",
        "run.sh": File(b"#!/bin/sh\nexit 0\n", executable=True),
        "same.py": Symlink("lib/tables.py"),
        "names/ä.txt": "umlaut\n",
    }
