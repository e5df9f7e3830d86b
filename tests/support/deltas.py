"""Delta archives of a test's own making: heads by the standard library, bodies by hand, and any lie in between."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import zstandard

from dagferry_shared.gittree import Leaf, Mode, blob_id
from dagferry_shared.release import DeltaInfo
from support.bundles import File, Symlink, _entry, compress, tar_bytes, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.bundles import Published, Simulator


class MemoryBase:
    """A base for the delta reader, out of a test's tree."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.entries = {path: _entry(value) for path, value in tree.items()}
        self.leaves = {path: leaf_of(value) for path, value in self.entries.items()}

    def content(self, path: str, limit: int) -> bytes:
        """Return a file's content."""
        found = self.entries[path]
        assert isinstance(found, File)
        return found.data[: limit + 1]

    def target(self, path: str) -> str:
        """Return a link's target."""
        found = self.entries[path]
        assert isinstance(found, Symlink)
        return found.target


def leaf_of(value: File | Symlink) -> Leaf:
    """Return what git has of an entry."""
    if isinstance(value, Symlink):
        return Leaf(Mode.LINK, blob_id(value.target.encode()))
    return Leaf(Mode.EXECUTABLE if value.executable else Mode.FILE, blob_id(value.data))


def head(prefix: list[str], removed: list[str]) -> bytes:
    """Encode a head."""
    document = {"prefix": prefix, "removed": removed}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def body(tar: bytes, prefix: bytes = b"") -> bytes:
    """Compress a tar, with a prefix that matches may lead into."""
    if not prefix:
        return compress(tar)
    known = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        9,
        source_size=len(tar),
        dict_size=len(prefix),
        write_checksum=True,
        write_content_size=True,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=known).compress(tar)


def make(base: Mapping[str, Any], tree: Mapping[str, Any], **changes: Any) -> bytes:
    """Make the delta from one tree to another.

    Args:
        base: what it is from.
        tree: what it leads to.
        changes: ``prefix`` and ``removed`` (paths), ``entries`` (a tree), ``head`` and ``tar`` (bytes) in place of
            those that are right.
    """
    old, new = MemoryBase(base), MemoryBase(tree)
    entries = {path: value for path, value in tree.items() if old.leaves.get(path) != new.leaves[path]}
    gone = [path for path in base if path not in tree]
    touched = {path for path in base if old.leaves[path].mode is not Mode.LINK and path in (entries.keys() | set(gone))}
    prefix = changes.get("prefix", sorted(touched, key=str.encode))
    removed = changes.get("removed", sorted(gone, key=str.encode))
    raw_head = changes.get("head", head(prefix, removed))
    known = b"".join(old.content(path, 1 << 40) for path in prefix if isinstance(old.entries.get(path), File))
    return compress(raw_head) + body(changes.get("tar", tar_bytes(changes.get("entries", entries))), known)


def tar_of(base: Mapping[str, Any], tree: Mapping[str, Any]) -> bytes:
    """Return the tar in the delta from one tree to another."""
    old, new = MemoryBase(base), MemoryBase(tree)
    return tar_bytes({path: value for path, value in tree.items() if old.leaves.get(path) != new.leaves[path]})


def publish(
    simulator: Simulator,
    base: Mapping[str, Any],
    tree: Mapping[str, Any],
    word: str,
    *,
    delta: bytes | None = None,
    stored: Callable[[bytes], bytes | None] = lambda data: data,
    **told: Any,
) -> Published:
    """Publish a tree with a delta from another one.

    Args:
        simulator: the store.
        base: what the delta is from.
        tree: what is published.
        word: names the commit.
        delta: in place of the right one.
        stored: makes what is stored of it; None withholds it.
        told: what the release says of it, in place of what is true: ``base``, ``sha256``, ``size``, ``unpacked_size``.
    """
    data = make(base, tree) if delta is None else delta
    true = {
        "base": tree_of(base),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "unpacked_size": len(tar_of(base, tree)),
    }
    info = DeltaInfo(**{**true, **told})
    kept = stored(data)
    if kept is not None:
        simulator.put(simulator.layout.archive(info.sha256), kept)
    return simulator.publish(tree, word, release_changes={"archive_deltas": (info,)})
