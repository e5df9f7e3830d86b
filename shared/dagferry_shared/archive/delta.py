"""Delta archives: what makes the tree of one release into that of another (``shared/FORMAT.md``, "Delta archives").

Two zstd frames. The head names what is removed, and the files of the base whose content is the second frame's prefix;
the body is a canonical tar of what is new or changed. Everything is checked on the result, as for a whole archive.
"""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dagferry_shared import strictjson
from dagferry_shared.archive.frame import check_frame, decompress, walk_frame
from dagferry_shared.archive.links import check_links
from dagferry_shared.archive.reader import NOWHERE, read_entries
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Leaf, Mode, blob_id, tree_id
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_shared.archive.reader import Entries, Limits, Sink

MAX_PREFIX = 1024 * 1024  # bytes of the base's files that a body may refer to


class Base(Protocol):
    """The tree that a delta is applied to. What it hands out is checked against the leaves."""

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        """Its files and symlinks; their git tree id is the one that the delta is from."""
        ...

    def content(self, path: str, limit: int) -> bytes:
        """Return a regular file's content, or its first ``limit`` + 1 bytes if it is longer."""
        ...

    def target(self, path: str) -> str:
        """Return a symlink's target."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """What stands in front of a delta's tar.

    Attributes:
        prefix: regular files of the base whose contents, one after the other, are the prefix of the body's frame.
        removed: files and symlinks of the base that are not in the result.
    """

    prefix: tuple[str, ...]
    removed: tuple[str, ...]

    def encode(self) -> bytes:
        """Return its one encoding."""
        return strictjson.encode({"prefix": list(self.prefix), "removed": list(self.removed)})


@dataclass(frozen=True, slots=True)
class Patched:
    """What a base and a delta make, known only once all of it was read and found good.

    Attributes:
        leaves: files and symlinks of the result.
        links: target of each symlink of the result.
        changed: paths that came out of the delta, links included; everything else is as in the base.
        tree: SHA-256 git tree id of the result.
        tar_sha256: digest of the body.
        tar_size: bytes of the body.
    """

    leaves: dict[str, Leaf]
    links: dict[str, str]
    changed: frozenset[str]
    tree: str
    tar_sha256: str
    tar_size: int


def _refuse(words: str) -> Refused:
    return Refused(Reason.BAD_ARCHIVE, f"delta {words}")


def _any(value: str, _: str) -> str:
    return value


def _read_head(raw: bytes, base: Base) -> Head:
    most = len(base.leaves)
    try:
        fields = strictjson.Fields(strictjson.parse_object(raw, "delta", limit=len(raw)), "delta")
        head = Head(fields.texts("prefix", _any, most=most), fields.texts("removed", _any, most=most))
    except Refused as refusal:
        raise Refused(Reason.BAD_ARCHIVE, refusal.detail) from refusal
    for paths in (head.prefix, head.removed):
        if any(one.encode() >= two.encode() for one, two in pairwise(paths)):
            raise _refuse("names paths out of order")
        if not base.leaves.keys() >= set(paths):
            raise _refuse("names a path that its base does not have")
    if head.encode() != raw:
        raise _refuse("has a head that is not in its one encoding")
    return head


def _prefix(head: Head, base: Base) -> bytes:
    """Return the contents that the body refers to, each as the base's tree says."""
    prefix = b""
    for path in head.prefix:
        leaf = base.leaves[path]
        if leaf.mode is Mode.LINK:
            raise _refuse(f"refers to {path!r}, which is a symlink")
        content = base.content(path, MAX_PREFIX - len(prefix))
        if len(prefix) + len(content) > MAX_PREFIX:
            raise _refuse(f"refers to more than {MAX_PREFIX} bytes of its base")
        if blob_id(content) != leaf.blob:
            raise Refused(Reason.WRONG_TREE, f"{path!r} of the base is not as it was signed")
        prefix += content
    return prefix


def _links(base: Base, leaves: Mapping[str, Leaf], entries: Entries) -> dict[str, str]:
    links = {}
    for path, leaf in leaves.items():
        if leaf.mode is Mode.LINK:
            target = entries.links[path] if path in entries.links else base.target(path)
            if blob_id(target.encode()) != leaf.blob:
                raise Refused(Reason.WRONG_TREE, f"symlink {path!r} of the base is not as it was signed")
            links[path] = target
    return links


def _merge(base: Base, head: Head, entries: Entries) -> dict[str, Leaf]:
    """Return the result's leaves; refuses what could be said in another way."""
    for path, leaf in entries.leaves.items():
        if base.leaves.get(path) == leaf:
            raise _refuse(f"holds {path!r}, which the base has just so")
    if not entries.leaves.keys().isdisjoint(head.removed):
        raise _refuse("removes a path that it holds")
    leaves = {**base.leaves, **entries.leaves}
    for path in head.removed:
        del leaves[path]
    return leaves


def _check_parents(leaves: Mapping[str, Leaf], limits: Limits) -> None:
    """Refuse what is no tree, or too large a one."""
    dirs: set[str] = set()
    above = {path.rpartition("/")[0] for path in leaves} - {""}
    while above:
        dirs |= above
        above = {path.rpartition("/")[0] for path in above} - dirs - {""}
    if not leaves or not dirs.isdisjoint(leaves):
        raise _refuse("leaves nothing, or makes a file or symlink the parent of another")
    if len(leaves) + len(dirs) > limits.max_files:
        raise Refused(Reason.TOO_LARGE, f"delta leads to more than {limits.max_files} files and directories")


def read_delta(source: BinaryIO, limits: Limits, base: Base, sink: Sink | None = None) -> Patched:
    """Read a delta archive from the start of a seekable file, and apply it to the leaves of its base.

    Args:
        source: the delta.
        limits: bytes of the body, files and directories of the result.
        base: the tree that the delta is from.
        sink: gets the files that are new or changed, and no symlinks: those of the result are in what is returned.
            What it made must be thrown away if this raises.

    Raises:
        Refused: BAD_ARCHIVE or TOO_LARGE, or WRONG_TREE for a base that is not what its leaves say.
    """
    frame, start = walk_frame(source, 0)
    if frame.content_size > 64 + sum(8 * len(path) + 6 for path in base.leaves):  # two lists, each byte escaped
        raise _refuse("has a head larger than its base can need")
    source.seek(0)
    head = _read_head(b"".join(decompress(io.BytesIO(source.read(start)), frame)), base)
    frame = check_frame(source, start)
    if frame.content_size > limits.max_bytes:
        raise Refused(Reason.TOO_LARGE, f"delta unpacks to {frame.content_size} bytes, allowed {limits.max_bytes}")
    entries = read_entries(decompress(source, frame, _prefix(head, base)), limits, sink or NOWHERE)
    leaves = _merge(base, head, entries)
    _check_parents(leaves, limits)
    links = _links(base, leaves, entries)
    check_links((path for path in leaves if path not in links), links)
    return Patched(
        leaves=leaves,
        links=links,
        changed=frozenset(entries.leaves),
        tree=tree_id(leaves),
        tar_sha256=entries.stream.sha256,
        tar_size=entries.stream.taken,
    )
