"""What a retention run does when others write the cut, answers get lost, or channels never stand still."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from dagferry_publisher import cuts, keyring
from dagferry_publisher.chain import Chain
from dagferry_publisher.errors import Conflict, FoundProblems
from dagferry_publisher.retention import prune
from dagferry_publisher.retention.history import Policy
from dagferry_publisher.retention.inventory import Reader
from dagferry_publisher.retention.prune import Means, Prune
from dagferry_publisher.s3store import S3Store
from dagferry_shared import times, trust
from dagferry_shared.errors import StoreUnreachable
from dagferry_shared.keys import FileSigner
from dagferry_shared.store.directory import DirectoryStore
from dagferry_shared.store.removal import DirectoryRemover
from support.faultystore import Fault, FaultyStore
from support.oldsites import PRUNE, publish_long_ago
from support.s3server import client, new_bucket, s3_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_publisher.chain import Entry
    from dagferry_shared.store import Listed
    from support.sites import Site


@pytest.fixture
def old(site: Site, line: list[str]) -> Site:
    publish_long_ago(site, line)
    return site


def cutter(site: Site, reason: str = "") -> cuts.Cutter:
    pem = keyring.read_bounded(str(site.key("ci")), "key", 4096)
    return cuts.Cutter("pruner", [FileSigner.from_pem(pem, None, "ci")], reason)


def entries(chain: Chain) -> list[Entry]:
    """The chain, oldest first."""
    return [*chain.walk(chain.live())][::-1]


def faulty(site: Site, fault: Callable[[str], Fault | None]) -> Chain:
    """The channel, over a line on which writes of the cut meet a fault."""

    def of(_: int, method: str, key: str) -> Fault | None:
        return fault(method) if key.endswith("cut.json") else None

    return Chain(FaultyStore(DirectoryStore(site.store), of), site.chain().rules)


@pytest.mark.parametrize("fault", [Fault.LOST_AFTER, Fault.CONFLICT_AFTER])
def test_a_lost_answer_to_the_cut_is_looked_for(old: Site, fault: Fault) -> None:
    chain = faulty(old, lambda method: fault if method == "create" else None)
    cuts.write(chain, entries(chain)[2], cutter(old))
    signed = old.chain().beginning().signed
    assert signed is not None
    assert signed.content.position == (1, 3)


def test_a_cut_that_never_arrived_is_said(old: Site) -> None:
    chain = faulty(old, lambda method: Fault.LOST_BEFORE if method == "create" else None)
    with pytest.raises(StoreUnreachable):
        cuts.write(chain, entries(chain)[2], cutter(old))
    assert old.chain().beginning() == cuts.Beginning()


def test_another_run_that_cuts_at_the_same_time_is_a_conflict(old: Site) -> None:
    mine, others = old.chain(), old.chain()
    whole = entries(mine)
    cuts.write(others, whole[1], cutter(old))
    with patch.object(cuts, "read", side_effect=[cuts.Beginning(), cuts.read(others)]), pytest.raises(Conflict):
        cuts.write(mine, whole[2], cutter(old))


def test_a_cut_is_never_moved_back(old: Site) -> None:
    chain = old.chain()
    whole = entries(chain)
    cuts.write(chain, whole[3], cutter(old))
    before = old.tree()
    with pytest.raises(Conflict, match="begins at 1-4 already"):
        cuts.write(chain, whole[2], cutter(old))
    cuts.write(chain, whole[3], cutter(old, "the same again is nothing"))
    assert old.tree() == before


def a_run(site: Site, remover: DirectoryRemover) -> Prune:
    reader = Reader(DirectoryStore(site.store), remover, trust.parse(site.trust.read_bytes()), lambda _: True)
    return Prune(Means(reader, remover, Policy(2, timedelta(days=10)), lambda _: cutter(site), timedelta(0)))


class Moving(DirectoryRemover):
    """A store on which the channel moves whenever it is listed."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.store)
        self._site = site
        self.moves = False

    def remove(self, found: Listed) -> bool:
        self.moves = True
        return super().remove(found)

    def now_and_then(self) -> None:
        """Move the channel."""
        if self.moves:
            self._site.dagctl("refresh")


def test_channels_that_never_stand_still_end_a_run_in_the_middle(old: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "MAX_DECISIONS", 4)
    remover = Moving(old)
    run = a_run(old, remover)
    whole = type(run._reading).moved

    def moved(reading: object) -> str | None:
        remover.now_and_then()
        return whole(reading)  # type: ignore[arg-type]

    monkeypatch.setattr(type(run._reading), "moved", moved)
    with pytest.raises(Conflict, match="1 objects were removed"):
        run.run()
    assert old.dagctl("verify", "--all", "--json").json["findings"] == []


@pytest.mark.parametrize(("what", "words"), [("archives", "archive of commit"), ("releases", "live release")])
def test_a_run_that_finds_something_of_what_is_live_gone_says_so(old: Site, what: str, words: str) -> None:
    class Careless(DirectoryRemover):
        def remove(self, found: Listed) -> bool:
            for path in (old.bundle / what).iterdir():
                path.unlink()
            return super().remove(found)

    with pytest.raises(FoundProblems, match=words):
        a_run(old, Careless(old.store)).run()


def test_what_is_written_again_between_plan_and_removal_stays(old: Site) -> None:
    run = a_run(old, DirectoryRemover(old.store))
    for path in (old.bundle / "archives").iterdir():
        path.touch()
    run.run()
    assert len(run.spared) == 3
    assert len(list((old.bundle / "archives").iterdir())) == 5


def test_on_s3_by_the_command(site: Site, line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is published now; the run happens in two months."""
    with s3_server() as server:
        bucket = new_bucket(server)
        site.dagctl.environ.update(server.environ, DAGFERRY_STORE=f"s3://{bucket}/some/prefix")
        for commit in line:
            site.publish(commit)
        now, there, later = times.now, S3Store.now, timedelta(days=60)
        monkeypatch.setattr(times, "now", lambda: now() + later)
        monkeypatch.setattr(S3Store, "now", lambda self: there(self) + later)
        document = site.dagctl(*PRUNE, "--keep", 2, "--json").json
        assert document["removed"] == document["doomed"]
        assert document["removed"]["objects"] >= 9
        assert site.dagctl("verify", "--all", "--json").json["findings"] == []
        with closing(client(server)) as s3:
            keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
        assert len([key for key in keys if "/history/" in key]) == 2
