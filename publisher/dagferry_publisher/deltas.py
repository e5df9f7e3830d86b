"""Delta archives at a publish: from what was live on the channel to what is to become live.

They only save pullers a download, so whatever is in the way of one (a commit that is not in the clone, a release that
no longer verifies) leaves it out, and never fails a publish. Equal trees give equal deltas, before compression.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from dagferry_publisher.archive import Packed, compressed, link_targets, measured, tar_pieces, tar_size
from dagferry_publisher.errors import NotFound, UsageError
from dagferry_publisher.tree import select
from dagferry_shared.archive.delta import MAX_PREFIX, Head, read_delta
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Refused, StoreError
from dagferry_shared.gittree import Leaf, Mode, blob_hasher, tree_id
from dagferry_shared.release import DeltaInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack

    from dagferry_publisher.chain import Chain
    from dagferry_publisher.gitrepo import Repo
    from dagferry_publisher.tree import Item
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Signed

DEFAULT_DELTAS = 3
_SHARE = 2  # a delta of more than half an archive is not worth its place
_THOROUGH = 1024 * 1024  # bytes of tar up to which the highest level costs milliseconds
_THOROUGH_LEVEL = 19
_LOOK_BACK = 2  # entries of the history looked at for each delta: a refresh or a hold moves no tree


@dataclass(frozen=True, slots=True)
class Target:
    """What deltas lead to.

    Attributes:
        repo: where contents are read.
        items: what was packed.
        mtime: commit time, seconds since 1970.
        packed: the whole archive.
        level: of zstd.
        known: what dev releases hold, by digest: no commit has it.
    """

    repo: Repo
    items: Sequence[Item]
    mtime: int
    packed: Packed
    level: int
    known: Mapping[str, Sequence[Item]]


@dataclass(frozen=True, slots=True)
class Delta:
    """A finished delta archive and what a release says of it."""

    info: DeltaInfo
    file: BinaryIO


@dataclass(slots=True)
class _GitBase:
    """The tree of an earlier release, as git has it: a ``Base`` for the reader."""

    leaves: dict[str, Leaf] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)  # regular files of the prefix, and targets of symlinks

    def content(self, path: str, limit: int) -> bytes:  # noqa: ARG002 - what is kept is small enough
        """See ``Base``."""
        return self.contents[path]

    def target(self, path: str) -> str:
        """See ``Base``."""
        return self.contents[path].decode()


def _read_base(target: Target, base: Sequence[Item], same: set[str]) -> tuple[_GitBase, tuple[str, ...]]:
    """Hash what the target does not have just so; keep the symlinks' targets, and the first files that fit a prefix."""
    known, prefix, room = target.packed.manifest.leaves, [], MAX_PREFIX
    made = _GitBase({item.path: known[item.path] for item in base if item.path in same})
    wanted = [item for item in base if item.path not in same or item.mode is Mode.LINK]
    for item, pieces in zip(wanted, target.repo.blobs(item.entry for item in wanted), strict=True):
        hasher, is_link = blob_hasher(item.entry.size), item.mode is Mode.LINK
        keep = is_link or item.entry.size <= room
        kept = []
        for piece in pieces:
            hasher.update(piece)
            if keep:
                kept.append(piece)
        made.leaves[item.path] = Leaf(item.mode, hasher.hexdigest())
        if keep:
            made.contents[item.path] = b"".join(kept)
        if keep and not is_link:
            room -= item.entry.size
            prefix.append(item.path)
    return made, tuple(prefix)


def _items(target: Target, base: Signed[Release]) -> Sequence[Item] | None:
    """Return what a release holds; None for uncommitted work that nobody remembers."""
    if base.content.dev:
        return target.known.get(base.digest)
    source = base.content.source
    return select(target.repo, source.commit, source.paths, source.selection)


def _delta(target: Target, base: Release, old: Sequence[Item], files: ExitStack) -> Delta | None:
    """Make one delta; None if it is too large to be of use, or its base is not in git as it was released."""
    packed = target.packed
    new = {item.path: item for item in target.items}
    same = {item.path for item in old if item.path in new and _equal(item, new[item.path])}
    changed = [item for item in target.items if item.path not in same]
    links = link_targets(target.repo, changed)
    size = tar_size(changed, links)
    if size > packed.manifest.tar_size // _SHARE:
        return None
    tree, prefix = _read_base(target, old, same)
    if tree_id(tree.leaves) != base.tree:
        return None
    if all(item.mode is Mode.LINK for item in changed):
        prefix = ()
    head = Head(prefix, tuple(item.path for item in old if item.path not in new))
    file: BinaryIO = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack is one
    file.writelines(_frames(target, head, changed, links, b"".join(tree.contents[path] for path in prefix)))
    patched = read_delta(file, Limits(), tree)
    file.seek(0)
    info = DeltaInfo(base.tree, *measured(file), patched.tar_size)
    if patched.tree != packed.manifest.tree or info.size > packed.size // _SHARE:
        return None
    return Delta(info, file)


def _equal(one: Item, other: Item) -> bool:
    return (one.mode, one.entry.oid) == (other.mode, other.entry.oid)


def _frames(
    target: Target, head: Head, changed: Sequence[Item], links: dict[str, bytes], prefix: bytes
) -> Iterator[bytes]:
    raw, size = head.encode(), tar_size(changed, links)
    level = max(target.level, _THOROUGH_LEVEL) if size + len(prefix) <= _THOROUGH else target.level
    yield from compressed([raw], len(raw), level)
    yield from compressed(tar_pieces(target.repo, changed, links, target.mtime), size, level, prefix)


def _bases(chain: Chain, head: Signed[Pointer], count: int) -> Iterator[Signed[Release]]:
    """Yield the newest releases of the channel that still verify, at most one for a tree."""
    seen: set[str] = set()
    epoch, newest = head.content.position
    for sequence in range(newest, max(0, newest - count * _LOOK_BACK), -1):
        try:
            entry = head if sequence == newest else chain.verified_copy((epoch, sequence))
            found = chain.release_of(entry.content) if entry else None
        except (Refused, NotFound, StoreError):
            continue
        if found and found.content.tree not in seen:
            seen.add(found.content.tree)
            yield found


def make_deltas(chain: Chain, head: Signed[Pointer], target: Target, count: int, files: ExitStack) -> list[Delta]:
    """Make the deltas from what was live last, as far as they can be had and are worth it.

    Args:
        chain: the channel.
        head: what is live.
        target: what was packed.
        count: from how many trees at most.
        files: temporary ones are closed with it.
    """
    deltas: list[Delta] = []
    for number, base in enumerate(_bases(chain, head, count)):
        if number == count:
            break
        if base.content.tree == target.packed.manifest.tree:  # pullers need nothing then
            continue
        try:
            old = _items(target, base)
            delta = _delta(target, base.content, old, files) if old is not None else None
        except (Refused, NotFound, UsageError):  # the commit is not in this clone, or not as it was released
            continue
        if delta:
            deltas.append(delta)
    return deltas
