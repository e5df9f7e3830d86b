"""What lies on a root, as a sync sees it: versions, link, kept envelopes and the remembered state."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dagferry_puller import disktree, fsio, retire, state
from dagferry_puller.envelopes import Envelopes
from dagferry_puller.link import Link
from dagferry_shared import names, times
from dagferry_shared.errors import Refused
from dagferry_shared.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dagferry_puller.glance import Glance
    from dagferry_puller.options import Settings
    from dagferry_puller.root import Root
    from dagferry_shared.gittree import Leaf
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Seen, Signed


class Volume:
    """The content of a root. Only its owner calls what writes.

    Attributes:
        root: the open root.
        link: the link.
        envelopes: kept releases and pointers.
        state: what is remembered; until ``recall`` no more than what this process has seen before.
    """

    def __init__(self, root: Root, settings: Settings, seen: Mapping[str, Seen] | None = None) -> None:
        self.root = root
        self.link = Link(root, settings.link)
        self.envelopes = Envelopes(root)
        self.state = state.State(seen=seen or {})
        self._channel = f"{settings.bundle}/{settings.channel}"
        self._policy = retire.Policy(settings.keep, settings.keep_hours * 3600)

    # What is there

    def versions(self) -> list[str]:
        """List the version ids on the volume."""
        found = []
        for name in os.listdir(self.root.versions):
            with suppress(Refused):
                names.split_version_id(name)
                found.append(name)
        return found

    def has_history(self) -> bool:
        """Tell whether a puller has worked here before: then whatever is in the link's place is not the user's."""
        return bool(self.versions()) or fsio.read_file(state.STATE, self.root.meta, limit=0) is not None

    @contextmanager
    def opened(self, version: str | None) -> Iterator[int | None]:
        """Open a version's directory; None if there is none. OSError is the volume's fault."""
        fd = None
        try:
            fd = fsio.directory(version, self.root.versions) if version else None
        except OSError as error:
            if error.errno not in disktree.DAMAGE:
                raise
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    def scan(self, version: str, release: Release) -> disktree.Found | None:
        """Read a version from disk; None if there is no such directory."""
        with self.opened(version) as fd:
            return None if fd is None else disktree.scan_for(fd, release)

    def glance(self, version: str, leaves: Mapping[str, Leaf] | None = None) -> Glance | None:
        """Note what stat tells of a version; None if it cannot tell: then the version is worth reading again.

        Args:
            version: id.
            leaves: what was read of it, or written, if that is known.
        """
        from dagferry_puller.glance import Glance  # noqa: PLC0415 - a cold pod's once looks at nothing again

        with suppress(OSError), self.opened(version) as fd:
            return None if fd is None else Glance(fd, leaves)
        return None

    def holds(self, version: str, before: Glance, share: float = 1.0) -> bool:
        """Tell whether stat still tells the same of a version, or of a share of it."""
        with suppress(OSError), self.opened(version) as fd:
            return fd is not None and before.holds(fd, share)
        return False

    def relinked(self, version: str, before: Glance, ctimes: Mapping[str, int] | None = None) -> None:
        """Let a glance know that this process made or removed hard links to files of the version."""
        with suppress(OSError), self.opened(version) as fd:
            if fd is not None:
                before.relinked(fd, ctimes)

    def stamp(self, version: str) -> int:
        """Return the whole second that a version got when it last went live: each swap gives a higher one."""
        return int(os.stat(version, dir_fd=self.root.versions, follow_symlinks=False).st_mtime)

    # Memory

    @property
    def seen(self) -> Seen | None:
        """The newest pointer accepted on this channel."""
        return self.state.seen.get(self._channel)

    def recall(self) -> bool:
        """Read the state; True if a damaged file was rebuilt from the stored pointers.

        Raises:
            Refused: the file is damaged, and no stored pointer tells what this channel has seen. Guessing would let
                old pointers in, so a person decides.
        """
        stored = _newest(self.envelopes.seen(), self.state.seen)
        rebuilt = False
        try:
            self.state = state.load(self.root)
        except Refused as error:
            if self._channel not in stored:
                path = os.path.join(self.root.path, ".dagferry", state.STATE)
                raise Refused(
                    error.reason,
                    f"{error.detail}; no pointer is followed, since what was seen is not known. "
                    f"To forget it and go on: rm {path}",
                ) from error
            self.state, rebuilt = state.State(), True
        self.update(seen=_newest(self.state.seen, stored), force=rebuilt)
        return rebuilt

    def update(self, *, force: bool = False, **changes: object) -> None:
        """Change the state and write it, durably, if it is another one then."""
        new = replace(self.state, **changes)
        if new != self.state or force:
            state.save(self.root, new)
            self.state = new

    def remember(self, pointer: Signed[Pointer], seen: Seen) -> None:
        """Make sure that nothing older than this pointer is ever accepted again; only then may it be acted on."""
        if self.seen != seen:
            self.envelopes.keep_pointer(pointer.content.bundle, pointer.content.channel, pointer.raw)
            self.update(seen={**self.state.seen, self._channel: seen})

    def went_live(self, version: str) -> None:
        """Make a swap durable and record it: what was live before is previous, and its grace time starts."""
        self.link.make_durable()
        old = self.state.live
        left = dict(self.state.left)
        previous = old.previous if old else None
        if old and old.version != version:
            previous = old.version
            left[previous] = int(time.time())  # here, so that ``retire`` finds it and need not write the state again
        left.pop(version, None)
        self.update(live=state.Live(version, previous, times.show(times.now())), left=left)

    def wanted(self, version: str) -> None:
        """Record that a version which is not live is wanted: its grace time starts anew."""
        self.update(left={**self.state.left, version: int(time.time())})

    # Cleaning

    def clean(self) -> None:
        """Make durable what a crash kept from being so, and remove what it left: by the names that only we make."""
        self._remove_leftovers()
        retire.drop_orphan_leases(self.root, self.versions())
        for fd in (self.root.versions, self.root.envelopes, self.root.meta, self.root.fd):
            self.root.fsync(fd)
        self.link.make_durable()

    def _remove_leftovers(self) -> None:
        for fd in (self.root.meta, self.root.versions, self.root.envelopes):
            for name in os.listdir(fd):
                if fsio.is_leftover(name):
                    fsio.discard(name, fd)
        self.link.remove_leftovers()

    def retire(self, *, unlinking: Callable[[], None] | None = None, relinked: Callable[[], None] | None = None) -> int:
        """Remove versions that nobody needs, and what could not be removed before; returns how many are left.

        Args:
            unlinking: called before any goes: its files may be hard links to those of the live version.
            relinked: called when some went.
        """
        self._remove_leftovers()
        now, versions = int(time.time()), sorted(self.versions(), key=self.stamp, reverse=True)
        live = self.state.live
        self.update(left={v: self.state.left.get(v, now) for v in versions if not live or v != live.version})
        plan = retire.plan(
            {version: self.state.left.get(version, now) for version in versions},
            live=live.version if live else self.link.read(),
            previous=live.previous if live else None,
            policy=self._policy,
            now=now,
        )
        linked = self.link.read()
        old = [version for version, why in plan.items() if why is retire.Why.OLD and version != linked]
        if old and unlinking is not None:
            unlinking()
        gone = {version for version in old if retire.retire(self.root, version)}
        if gone and relinked is not None:
            relinked()
        kept = set(versions) - gone
        self.update(left={v: t for v, t in self.state.left.items() if v in kept})
        self.envelopes.forget_releases(names.split_version_id(version)[1] for version in kept)
        return len(kept)


def _newest(one: Mapping[str, Seen], other: Mapping[str, Seen]) -> dict[str, Seen]:
    merged = {channel: state.newest(one.get(channel), other.get(channel)) for channel in {*one, *other}}
    return {channel: seen for channel, seen in merged.items() if seen}
