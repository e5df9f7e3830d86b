"""From a verified release to the volume, and from there to the link: get, unpack, check, stamp, rename; swap.

A start repairs a crash anywhere.

Order makes it safe: a version is whole and durable before it has its name, and has its name before the link
names it.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagferry_puller import fsio, retire, stamps
from dagferry_puller.disktree import Made
from dagferry_puller.download import Pace, download
from dagferry_puller.logs import fields, log
from dagferry_puller.root import VERSIONS
from dagferry_puller.status import Repair, Step
from dagferry_shared import names
from dagferry_shared.archive.extract import extract_archive
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from dagferry_puller.backoff import DigestBackoff
    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.reuse import Base
    from dagferry_puller.volume import Volume
    from dagferry_shared.gittree import Leaf
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Signed
    from dagferry_shared.store import BlobReader


class Activator:
    """Brings a verified release onto the volume, and makes it live.

    Args:
        settings: limits, check command, what to touch.
        reader: the store.
        volume: the root.
        recorder: times the steps.
        backoff: content that failed is left alone for a while.
    """

    def __init__(
        self, settings: Settings, reader: BlobReader, volume: Volume, recorder: Recorder, backoff: DigestBackoff
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._volume = volume
        self._recorder = recorder
        self._backoff = backoff
        self._pace = Pace(settings.download_timeout, settings.min_rate, time.monotonic)

    def activate(self, signed: Signed[Release], base: Base | None = None) -> tuple[str, Made]:
        """Make a release's version live; returns its id and what is in it. What is live stays so until the last step.

        Args:
            signed: the release.
            base: what is live, if it is whole: most of the new version can be made from it.

        Raises:
            Refused, BackedOff: the archive, the tree or the check; the old version stays.
            StoreError: the archive cannot be had.
            OSError: the volume's fault; nothing is left behind.
        """
        version, made = self.bring(signed, base, to_swap=True)
        with self._recorder.step(Step.SWAP):
            self._volume.link.swap(version)
        return version, made

    def bring(self, signed: Signed[Release], base: Base | None, *, to_swap: bool = False) -> tuple[str, Made]:
        """Bring a release's version onto the volume, whole, durable and ready to be leased; see ``activate``.

        Args:
            signed: the release.
            base: what is live, if it is whole.
            to_swap: whether the link is swapped next, which takes new modification times. Without it a whole version
                is left as it is: processes may be reading it.
        """
        content, volume = signed.content, self._volume
        version = names.version_id(content.source.commit, signed.digest)
        is_live = volume.link.names(version) or (volume.state.live and volume.state.live.version == version)
        with self._recorder.step(Step.VERIFY):
            found = volume.scan(version, content)
        if found is not None and found.is_tree(content.tree):
            made = Made(found.leaves)
            if to_swap:
                self._stamp(version, made, base)
            volume.root.fsync(volume.root.versions)  # the one after its rename may have failed
        else:
            with self._unpacked(content, base) as (staging, made):
                self._stamp(staging, made, base)
                self._install(staging, version)
            if found is not None or is_live:
                self._report_damage(version, found.differences(made.leaves) if found else sorted(made.leaves))
        volume.envelopes.keep_release(signed.raw)
        retire.make_lease(volume.root, version)
        if base is not None and not to_swap:
            base.relinked(base.linked)
        return version, made

    @contextmanager
    def _unpacked(self, content: Release, base: Base | None) -> Iterator[tuple[str, Made]]:
        """Provide a new, verified tree under a temporary name in ``versions/``; removed unless it gets its own name."""
        digest, root = content.archive.sha256, self._volume.root
        self._backoff.check(digest)
        staging = fsio.random_name(fsio.TEMPORARY)
        try:
            self._check_limits(content)
            made = self._patched(content, base, staging) if base else None
            if made is None:
                with fsio.anonymous_file(root.meta) as archive:
                    self._download(content, archive)
                    made = Made(self._unpack(content, archive, staging))
            self._check(content, staging)
            self._backoff.succeeded(digest)
            yield staging, made
            fsio.discard(staging, root.versions)  # the damaged tree that had the name before
        except BaseException as error:
            self._discard(staging, base)
            if isinstance(error, Refused):
                self._backoff.failed(digest, error)
            raise

    def _patched(self, content: Release, base: Base, staging: str) -> Made | None:
        from dagferry_puller.patch import Patcher  # noqa: PLC0415 - a cold pod has nothing to make it from

        patcher = Patcher(self._settings, self._reader, self._volume.root, self._recorder, self._backoff, self._pace)
        return patcher.make(content, base, staging)

    def _discard(self, staging: str, base: Base | None) -> None:
        root = self._volume.root
        if base is None:
            fsio.discard(staging, root.versions)
            return
        from dagferry_puller.patch import discard  # noqa: PLC0415 - as above

        discard(staging, root, base)

    def _check_limits(self, content: Release) -> None:
        signed, limits = content.archive, self._settings
        if max(signed.size, signed.unpacked_size) > limits.max_bytes:
            raise Refused(Reason.TOO_LARGE, f"release signs more bytes than --max-bytes {limits.max_bytes} allows")
        if signed.files > limits.max_files:
            raise Refused(Reason.TOO_LARGE, f"release signs {signed.files} files, --max-files is {limits.max_files}")

    def _download(self, content: Release, into: BinaryIO) -> None:
        key = Layout(content.bundle).archive(content.archive.sha256)
        with self._recorder.step(Step.DOWNLOAD):
            download(self._reader, key, content.archive, into, pace=self._pace, progress=self._recorder.fetched)

    def _unpack(self, content: Release, archive: BinaryIO, staging: str) -> dict[str, Leaf]:
        signed, limits, root = content.archive, self._settings, self._volume.root
        os.mkdir(staging, 0o700, dir_fd=root.versions)
        with self._recorder.step(Step.UNPACK), fsio.closing(fsio.directory(staging, root.versions)) as fd:
            most = Limits(limits.max_files, min(limits.max_bytes, signed.unpacked_size))
            manifest = extract_archive(archive, fd, most, digest=False)
        content.check_archive(manifest)
        return manifest.leaves

    def _check(self, content: Release, staging: str) -> None:
        """Run the check command, then read the whole tree again: the command may have changed it."""
        if not self._settings.check_command:
            return
        from dagferry_puller.check import Check  # noqa: PLC0415 - subprocess is not needed without a check

        path = os.path.join(self._volume.root.path, VERSIONS, staging)
        details = {"DAGFERRY_COMMIT": content.source.commit, "DAGFERRY_TREE": content.tree}
        with self._recorder.step(Step.CHECK):
            Check(self._settings.check_command, self._settings.check_timeout).run(path, details)
        with self._recorder.step(Step.VERIFY):
            found = self._volume.scan(staging, content)
        if found is None or not found.is_tree(content.tree):
            raise Refused(Reason.WRONG_TREE, "the check command changed the tree that it was to check")

    def _stamp(self, name: str, made: Made, base: Base | None) -> None:
        """Give the incoming tree its times, relative to the version being left, and make it durable."""
        volume, settings = self._volume, self._settings
        leaving = volume.link.read() or (volume.state.live.version if volume.state.live else None)
        if settings.touch == "all" or leaving == name:
            leaving = None
        known = base if base is not None and base.version == leaving else None
        last = max([volume.state.stamp, *(volume.stamp(v) for v in volume.versions())])
        stamp = stamps.next_stamp(time.time(), last)
        volume.update(stamp=stamp)
        with self._recorder.step(Step.STAMP), volume.opened(leaving) as left:
            alone = stamps.linked_as_they_are(known, made.linked, stamp) if known is not None else ()
            kept = stamps.times_of(left, made.leaves, stamp, known, alone)
            stamper = stamps.Stamper(kept, stamp, linked=alone)
            with fsio.closing(fsio.directory(name, volume.root.versions)) as fd:
                stamper.directory(fd)
                if volume.root.durable:
                    stamper.make_durable(fd)

    def _install(self, staging: str, version: str) -> None:
        """Give a finished tree its name; a damaged one of that name is exchanged for it in one step, then removed."""
        root = self._volume.root
        try:
            os.rename(staging, version, src_dir_fd=root.versions, dst_dir_fd=root.versions)
        except OSError:
            if not self._exists(version):
                raise
            fsio.exchange(staging, version, root.versions)
        root.fsync(root.versions)

    def _exists(self, version: str) -> bool:
        return version in os.listdir(self._volume.root.versions)

    def _report_damage(self, version: str, differences: list[str]) -> None:
        self._recorder.repaired(Repair.TREE, len(differences))
        shown = ", ".join(differences[:5])
        log.warning(
            "repaired a version with %d entries that were not as signed: %s",
            len(differences),
            shown,
            extra=fields(version=version, tampered=len(differences)),
        )
