"""The starts that are disturbed: a first sync, an update, a rollback, repairs, retirements, a version beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_puller import state
from support import deltas
from support.bundles import small_tree
from support.wrecks import DAMAGED, ON, Scenario, Yard

if TYPE_CHECKING:
    from support.bundles import Published


def _first(yard: Yard) -> Published:
    return yard.publish("one")


def _update(yard: Yard) -> Published:
    yard.bring("one")
    return yard.publish("two")


def _rollback(yard: Yard) -> Published:
    first = yard.bring("one")
    yard.older = yard.bring("two")
    return yard.simulator.again(first)


def _damaged_tree(yard: Yard) -> Published:
    first, live = yard.bring("one"), yard.bring("two")
    yard.older = first
    path = yard.path / "versions" / live.version
    (path / "etl.py").chmod(0o644)
    (path / "etl.py").write_text("VERSION = 'bad'\n")
    (path / "lib").chmod(0o755)
    (path / "lib" / "__pycache__").mkdir()
    (path / "lib" / "__pycache__" / "tables.pyc").write_bytes(b"code")
    return live


def _occupied_link(yard: Yard) -> Published:
    live = yard.bring("one")
    link = yard.path / "current"
    link.unlink()
    link.mkdir()
    (link / "etl.py").write_text("VERSION = 'bad'\n")
    return live


def _retirement(yard: Yard) -> Published:
    for word in ("one", "two", "three"):
        live = yard.bring(word)
    return live


def _update_and_retirement(yard: Yard) -> Published:
    yard.bring("one")
    yard.bring("two")
    return yard.publish("three")


def _lost_state(yard: Yard) -> Published:
    yard.bring("one")
    live = yard.bring("two")
    (yard.path / ".dagferry" / state.STATE).write_bytes(DAMAGED)
    return live


def _fetch(yard: Yard) -> Published:
    other, live = yard.publish("one"), yard.bring("two")
    yard.settings |= {"pin": other.version, "no-link": ON}
    yard.older = None  # it looks at no pointer
    return live


def _update_by_delta(yard: Yard) -> Published:
    yard.bring("one")
    yard.older = yard.simulator.last
    changed = {"etl.py": "VERSION = 'two'\n", "lib/new/n.py": "N = 1\n", "names/ä.txt": None}
    tree = {path: value for path, value in (small_tree("one") | changed).items() if value is not None}
    return deltas.publish(yard.simulator, small_tree("one"), tree, "two")


def _rollback_of_delta(yard: Yard) -> Published:
    """The files of the version that comes back are shared with the one before it: they get copies with new times."""
    yard.bring("one")
    first = yard.simulator.publish(small_tree("one"), "one again")
    yard.pull(keep="9")
    yard.older = deltas.publish(yard.simulator, small_tree("one"), small_tree("two"), "two")
    yard.pull(keep="9")
    return yard.simulator.again(first)


KEEP_ONE = {"keep": "1", "keep-hours": "0"}
SCENARIOS = (
    Scenario("first-sync", _first, linkless=True),
    Scenario("update-by-delta", _update_by_delta, KEEP_ONE, forgiving=True),
    Scenario("rollback-of-delta", _rollback_of_delta, shared=True),
    Scenario("update", _update, {"link": "live/dags"}),
    Scenario("rollback", _rollback, {"touch": "all"}),
    Scenario("repair-tree", _damaged_tree),
    Scenario("repair-tree-by-renames", _damaged_tree, linkless=True, inject=("renameat2:error=EINVAL",)),
    Scenario("repair-link", _occupied_link, linkless=True),
    Scenario("retirement", _retirement, KEEP_ONE),
    Scenario("update-and-retirement", _update_and_retirement, KEEP_ONE),
    Scenario("repair-state", _lost_state),
    Scenario("fetch-beside", _fetch),
)
