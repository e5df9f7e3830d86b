"""A new version made from the live one and a delta archive, or from the live one alone if the tree is the same.

It only saves time: whatever speaks against it is logged and counted, and the whole archive is taken instead.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_puller.backoff import BackedOff
from dagferry_puller.disktree import Made
from dagferry_puller.download import download
from dagferry_puller.exits import line_for
from dagferry_puller.logs import log
from dagferry_puller.reuse import DiskBase, Reuse
from dagferry_puller.status import Step
from dagferry_shared.archive.delta import Patched, read_delta
from dagferry_shared.archive.extract import Extractor
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Reason, Refused, StoreError
from dagferry_shared.gittree import Mode, blob_id
from dagferry_shared.layout import Layout

if TYPE_CHECKING:
    from typing import BinaryIO

    from dagferry_puller.backoff import DigestBackoff
    from dagferry_puller.download import Pace
    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.reuse import Base
    from dagferry_puller.root import Root
    from dagferry_shared.release import DeltaInfo, Release
    from dagferry_shared.store import BlobReader


class Patcher:
    """Makes versions from the live one.

    Args:
        settings: limits, and whether hard links are wanted.
        reader: the store.
        root: the volume.
        recorder: counts what came of it.
        backoff: a delta that was refused is left alone for a while.
        pace: limits of a download in time.
    """

    def __init__(
        self,
        settings: Settings,
        reader: BlobReader,
        root: Root,
        recorder: Recorder,
        backoff: DigestBackoff,
        pace: Pace,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._root = root
        self._recorder = recorder
        self._backoff = backoff
        self._pace = pace

    def make(self, content: Release, base: Base, staging: str) -> Made | None:
        """Make a release's tree under the name ``staging``; None, and nothing of that name, if it cannot be had so."""
        info = content.archive.delta_from(base.tree)
        if self._settings.reuse == "none" or (info is None and content.tree != base.tree):
            return None
        try:
            made = self._make(content, base, staging, info)
        except (Refused, BackedOff, StoreError, OSError) as error:
            discard(staging, self._root, base)
            self._report(error)
            return None
        self._recorder.patched("made")
        return made

    def _make(self, content: Release, base: Base, staging: str, info: DeltaInfo | None) -> Made:
        root = self._root
        with fsio.anonymous_file(root.meta) as file, fsio.closing(fsio.directory(base.version, root.versions)) as old:
            if info is not None and content.tree != base.tree:
                self._download(content, info, file)
            os.mkdir(staging, 0o700, dir_fd=root.versions)
            with (
                self._recorder.step(Step.UNPACK),
                fsio.closing(fsio.directory(staging, root.versions)) as fd,
                Extractor(fd) as sink,
            ):
                if info is None or content.tree == base.tree:
                    patched = _unchanged(base, DiskBase(base, old))
                else:
                    patched = self._read(content, info, file, DiskBase(base, old), sink)
                return self._fill(base, old, patched, sink)

    def _download(self, content: Release, info: DeltaInfo, file: BinaryIO) -> None:
        self._backoff.check(info.sha256)
        if max(info.size, info.unpacked_size) > self._settings.max_bytes:
            raise Refused(Reason.TOO_LARGE, "release signs a delta of more bytes than --max-bytes allows")
        key = Layout(content.bundle).archive(info.sha256)
        with self._recorder.step(Step.DOWNLOAD):
            download(self._reader, key, info, file, pace=self._pace, progress=self._recorder.fetched)

    def _read(self, content: Release, info: DeltaInfo, file: BinaryIO, base: DiskBase, sink: Extractor) -> Patched:
        limits = Limits(self._settings.max_files, info.unpacked_size)
        try:
            patched = read_delta(file, limits, base, sink)
            content.check_delta(patched, info)
        except Refused as refusal:
            self._backoff.failed(info.sha256, refusal)
            raise
        return patched

    def _fill(self, base: Base, old: int, patched: Patched, sink: Extractor) -> Made:
        """Bring over what is as in the base, then make the symlinks: all names are known to be a signed tree's."""
        # With new times for all files none may be shared: a stamped file is never a hard link to another version.
        may_link = self._settings.reuse == "link" and self._settings.touch == "changed"
        reuse = Reuse(base, old, sink, link=may_link)
        reuse.fill(path for path in patched.leaves if path not in patched.changed and path not in patched.links)
        for path, target in patched.links.items():
            sink.link(path, target)
        sink.finish()
        return Made(patched.leaves, base.linked)

    def _report(self, error: Exception) -> None:
        result = "failed"
        if isinstance(error, Refused):
            self._recorder.refused(error.reason)
            result = "refused"
        elif isinstance(error, (StoreError, BackedOff)):
            result = "unavailable"
        self._recorder.patched(result)
        log.warning("the version is not made from the live one, its whole archive is taken: %s", line_for(error))


def _unchanged(base: Base, disk: DiskBase) -> Patched:
    """Return what a base and nothing else make."""
    links = {path: disk.target(path) for path, leaf in base.leaves.items() if leaf.mode is Mode.LINK}
    for path, target in links.items():
        if blob_id(os.fsencode(target)) != base.leaves[path].blob:
            raise Refused(Reason.WRONG_TREE, f"symlink {path!r} of the live version is not as it was signed")
    return Patched(dict(base.leaves), links, frozenset(), base.tree, "", 0)


def discard(staging: str, root: Root, base: Base) -> None:
    """Remove a tree that did not get its name, and let the live version's keeper know of the links that go with it."""
    if base.linked:
        base.relinked(base.linked)
    fsio.discard(staging, root.versions)
    if base.linked:
        base.relinked(None)
        base.linked.clear()
