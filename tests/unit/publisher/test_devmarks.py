"""Which entries are uncommitted work, also where the store does not say that a release is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.chain import Chain
from dagferry_publisher.devmarks import dev_releases, is_dev
from dagferry_shared.errors import BlobMissing, StoreDenied
from dagferry_shared.rules import Rules
from dagferry_shared.store.directory import DirectoryStore
from support.bundles import Simulator, small_tree

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_shared.store import Blob


class DenyingStore(DirectoryStore):
    """Who may not list is answered 403 for what is not there."""

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """See BlobReader.get."""
        try:
            return super().get(key, limit=limit, if_none_match=if_none_match)
        except BlobMissing as error:
            raise StoreDenied(f"may not read {key}") from error


def test_a_lost_release_that_a_store_only_denies_is_marked_as_none(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    lost = simulator.publish(small_tree("a"), "one", release_changes={"dev": True})
    work = simulator.publish(small_tree("b"), "one", release_changes={"dev": True})
    simulator.path(simulator.layout.release(lost.pointer.release)).unlink()
    chain = Chain(DenyingStore(str(tmp_path)), Rules(simulator.trust(allow_dev=True), "main"))
    assert not is_dev(chain, lost.pointer)
    assert dev_releases(chain, [work.pointer, lost.pointer]) == {work.pointer.release}
