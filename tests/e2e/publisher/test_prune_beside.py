"""``dagctl prune`` and history copies that are no part of the chain: while a copy stays, so does what it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.oldsites import in_the_past, publish_long_ago

if TYPE_CHECKING:
    from support.sites import Site


def begin_anew(site: Site, line: list[str]) -> None:
    """Publish weeks ago, and begin an epoch from nothing, as after a key was compromised; nothing is young."""
    publish_long_ago(site, line)
    site.dagctl("trust", "epoch")
    with in_the_past(site):
        site.publish(line[4], "--new-epoch")


def stays(site: Site, kind: str) -> int:
    return len(list((site.bundle / kind).iterdir()))


def test_what_ran_before_an_epoch_that_began_from_nothing_stays_as_long_as_its_history(
    site: Site, line: list[str]
) -> None:
    begin_anew(site, line)
    site.dagctl("prune", "--keep-days", 3650, "--yes", "--grace", "0")
    assert len(list(site.bundle.glob("channels/main/history/1-*.json"))) == 5
    assert stays(site, "archives") >= 5
    assert stays(site, "releases") == 6
    assert site.dagctl("verify", "--all", "--json").json["findings"] == []
    site.dagctl("prune", "--keep-days", 1, "--yes", "--grace", "0")
    assert not list(site.bundle.glob("channels/main/history/1-*.json"))
    assert stays(site, "releases") == 1


def test_garbage_and_a_copy_of_a_lost_release_beside_the_chain_stop_nothing(site: Site, line: list[str]) -> None:
    begin_anew(site, line)
    history = site.bundle / "channels/main/history"
    (history / "1-4.json").write_bytes(b"\xff")
    (history / "1-9.json").write_bytes(b"x" * 70000)
    live = site.pointer()["release"]
    next(path for path in (site.bundle / "releases").iterdir() if path.stem != live).unlink()
    site.dagctl("prune", "--keep-days", 3650, "--yes", "--grace", "0", "--dry-run")
