"""An attacker who does anything at all with the bucket, in any order, while an honest publisher goes on.

Every step is followed by a sync and by what must hold whatever happened: the memory of what was seen never goes back;
what is live was published, is whole, and is what the newest accepted pointer named when it came; nothing lies about.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_shared import envelope
from dagferry_shared.errors import DagferryError
from dagferry_shared.keys import FileSigner
from support.attacker import Sight, Target, kill_at
from support.bundles import Published
from support.lies import signatures_of, with_signatures
from support.scale import scale

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = 50
STRANGER = FileSigner.generate()


class Walk:
    """The moves, and what is known of the honest side.

    Args:
        target: the pod.
        chance: decides everything.
    """

    def __init__(self, target: Target, chance: random.Random) -> None:
        self.target = target
        self.simulator = target.simulator
        self.chance = chance
        self.archives: dict[str, bytes] = {}
        self.revoked: set[str] = set()
        self.published = [target.warm()]
        self._note()

    def moves(self) -> list[Callable[[], Any]]:
        """List what may happen: the first four are honest."""
        return [
            self.publish,
            self.roll_back,
            self.restore,
            self.revoke,
            self.target.start,
            self.replay,
            self.forge,
            self.damage,
            self.delete,
            self.mix,
        ]

    def publish(self) -> None:
        """Publish a new commit."""
        self.published.append(self.target.publish(f"commit {len(self.published)}"))
        self._note()

    def roll_back(self) -> None:
        """Move the channel to any release there was."""
        self.published.append(self.simulator.again(self.chance.choice(self.published)))

    def restore(self) -> None:
        """Put everything right in the store, as its owner would."""
        for one in self.published:
            self.simulator.put(self.simulator.layout.release(one.pointer.release), one.release_raw)
            self.simulator.put(self._archive(one), self.archives[one.release.archive.sha256])
        self.simulator.show(self.published[-1])

    def revoke(self) -> None:
        """Change the trust file."""
        one = self.chance.choice(self.published).pointer
        self.revoked = set() if self.revoked else {one.release}
        self.target.write_trust(revoked=self.revoked)

    def replay(self) -> None:
        """Show any pointer there was."""
        self.simulator.show(self.chance.choice(self.published))

    def forge(self) -> None:
        """Sign a pointer, high or low, without the key."""
        one = self.chance.choice(self.published)
        sequence = self.chance.choice([1, self.simulator.sequence, self.simulator.sequence + 1, 2**50])
        entry = self.simulator.make_pointer(one.release, one.pointer.release, sequence=sequence)
        raw = self.simulator.put_pointer(entry, STRANGER)
        if self.chance.random() < 0.5:  # under the id of the right key
            trusted, [(_, signature)] = self.simulator.keys.pointer.public.id, signatures_of(raw)
            raw = with_signatures(raw, [(trusted, signature)])
        self.simulator.put(self.simulator.layout.pointer("main"), raw)

    def damage(self) -> None:
        """Flip a bit of any object, or cut it off."""
        path = self.chance.choice(self._objects())
        data = bytearray(path.read_bytes())
        if not data or self.chance.random() < 0.3:
            del data[self.chance.randrange(len(data) + 1) :]
        else:
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
        path.write_bytes(data)

    def delete(self) -> None:
        """Take any object away."""
        if len(self._objects()) > 1:
            self.chance.choice(self._objects()).unlink()

    def mix(self) -> None:
        """Put any object in the place of any other."""
        self.chance.choice(self._objects()).write_bytes(self.chance.choice(self._objects()).read_bytes())

    def step(self) -> None:
        """Make some moves; now and then the pod is killed on its way after them."""
        for _ in range(self.chance.choice([1, 1, 2, 4])):
            self.chance.choice(self.moves())()
        if self.chance.random() < 0.1:
            kill_at(self.target, self.chance.choice(["pointer.json", "releases/", "archives/"]))

    def _note(self) -> None:
        last = self.published[-1]
        self.archives[last.release.archive.sha256] = self.simulator.archive(last).read_bytes()

    def _archive(self, one: Published) -> str:
        return self.simulator.layout.archive(one.release.archive.sha256)

    def _objects(self) -> list[Path]:
        return sorted(
            path
            for path in self.simulator.directory.rglob("*.*")
            if path.is_file() and "history" not in path.parts  # which no pull looks at
        )

    # What must hold

    def check(self, before: Sight, seen: Any, *, synced: bool) -> None:
        """Demand what no attack changes, after a step that began with ``before`` and ``seen``."""
        now, newest = self.target.look(), self.target.seen()
        assert newest is not None
        assert newest.position >= seen.position
        assert newest.position > seen.position or newest == seen
        [named] = [one for one in self.published if one.digest == newest.payload_digest]
        assert now.link in {f"versions/{named.version}"} | (set() if synced else {before.link})
        [tree] = {one.release.tree for one in self.published if now.link == f"versions/{one.version}"}
        assert now.tree == tree
        if now.link != before.link:
            assert named.pointer.release not in self.revoked
        if len(self.target.requests()) > 1:  # it was acted on, so it must have been remembered before
            shown = self.simulator.path(self.simulator.layout.pointer("main")).read_bytes()
            assert envelope.parse(shown, "it").payload_digest == newest.payload_digest
        self.target.assert_tidy()


@pytest.mark.parametrize("seed", range(scale(6, 100)))
def test_no_order_of_moves_takes_a_pod_back_or_brings_anything_else_in(
    cold: Target, seed: int, record_property: Callable[[str, int], None]
) -> None:
    target = cold
    walk = Walk(target, random.Random(seed))
    for _ in range(STEPS):
        before, seen = target.look(), target.seen()
        walk.step()
        target.requests()
        synced = False
        with suppress(DagferryError):
            target.puller.sync()
            synced = True
        walk.check(before, seen, synced=synced)
    target.write_trust()
    walk.restore()
    walk.publish()
    target.start()
    target.accepts(walk.published[-1])
    record_property("attacks", STEPS)
