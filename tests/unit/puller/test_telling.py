"""Which files are told when, with an Airflow that behaves as 3.3.2 and 2.11.2 do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dagferry_puller.stamped import Changed
from dagferry_puller.telling import FIRST_SECONDS, NUDGE_SECONDS, Telling
from dagferry_shared.airflowapi import address
from dagferry_shared.airflowapi.client import Airflow
from dagferry_shared.airflowapi.credentials import Credentials
from dagferry_shared.airflowapi.errors import AirflowError
from dagferry_shared.airflowapi.parsed import Target
from support.fakeairflowapi import JWT, FakeAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = (f"{digit * 40}-{'0' * 64}" for digit in "ab")
LONG_AGO = "2026-01-01T00:00:00Z"


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[3, 2])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeAirflow]:
    with FakeAirflow(request.param) as server:
        yield server


@pytest.fixture
def three() -> Iterator[FakeAirflow]:
    with FakeAirflow() as server:
        yield server


def client(fake: FakeAirflow) -> Airflow:
    return Airflow(address.parse(fake.url), Credentials(token=JWT))


def target() -> Target:
    return Target(NEW, datetime.now(UTC))


def ids(looked: tuple[object, tuple]) -> list[str]:
    return [dag.dag_id for dag in looked[1]]


def test_every_file_is_told_once_and_is_then_parsed(fake: FakeAirflow, clock: Clock) -> None:
    for name in "abc":
        fake.dag(name, parsed=LONG_AGO)
    fake.dag("c2", file="c", parsed=LONG_AGO)
    telling = Telling(target(), "", clock)
    assert ids(telling.look(client(fake))) == ["a", "b", "c", "c2"]
    assert fake.tokens == ["tok.a.py", "tok.b.py", "tok.c.py"]
    assert telling.told == 3
    assert telling.told_at is not None
    assert ids(telling.look(client(fake))) == []
    assert len(fake.tokens) == 3


def test_what_is_parsed_already_is_not_told(fake: FakeAirflow, clock: Clock) -> None:
    aim = target()
    fake.dag("a")
    telling = Telling(aim, "", clock)
    assert ids(telling.look(client(fake))) == []
    assert (fake.tokens, telling.told, telling.told_at) == ([], 0, None)


def test_what_is_late_is_told_again_and_rarer_each_time(fake: FakeAirflow, clock: Clock) -> None:
    fake.dag("a", parsed=LONG_AGO)
    fake.dag("slow", parsed=LONG_AGO)
    fake.parse = lambda file: fake.parse_well(file) if file == "a" else None
    telling = Telling(target(), "", clock)
    for _ in range(400):
        telling.look(client(fake))
        clock.now += 0.25
    assert fake.tokens.count("tok.a.py") == 1
    assert 5 <= fake.tokens.count("tok.slow.py") <= 7  # after 0, 2, 6, 14, 30, 62 s


def test_a_look_may_be_forbidden_to_tell(fake: FakeAirflow, clock: Clock) -> None:
    fake.dag("a", parsed=LONG_AGO)
    assert ids(Telling(target(), "", clock).look(client(fake), tell=False)) == ["a"]
    assert fake.tokens == []


def test_news_end_a_round_of_telling(fake: FakeAirflow, clock: Clock) -> None:
    for name in "abc":
        fake.dag(name, parsed=LONG_AGO)
    telling = Telling(target(), "", clock, stop=lambda: len(fake.tokens) == 2)
    telling.look(client(fake))
    assert len(fake.tokens) == 2


def test_a_file_that_is_gone_when_it_is_told_does_not_keep_the_others_from_it(fake: FakeAirflow, clock: Clock) -> None:
    fake.dag("a", parsed=LONG_AGO)
    fake.dag("b", parsed=LONG_AGO)
    prefix = "/api/v2" if fake.major == 3 else "/api/v1"
    fake.instead[f"{prefix}/parseDagFile/tok.a.py"] = (404, b"{}")
    telling = Telling(target(), "", clock)
    telling.look(client(fake))
    assert (fake.tokens, telling.told) == (["tok.b.py"], 1)


def test_other_trouble_is_an_error_and_what_was_told_stays_told(fake: FakeAirflow, clock: Clock) -> None:
    fake.dag("a", parsed=LONG_AGO)
    fake.dag("b", parsed=LONG_AGO)
    prefix = "/api/v2" if fake.major == 3 else "/api/v1"
    fake.instead[f"{prefix}/parseDagFile/tok.b.py"] = (500, b"")
    telling = Telling(target(), "", clock)
    with pytest.raises(AirflowError):
        telling.look(client(fake))
    assert telling.told == 1


def test_a_bundle_of_ours_is_first_made_to_refresh_by_one_file_then_told_wholly(
    three: FakeAirflow, clock: Clock
) -> None:
    for name in "abc":
        three.dag(name, parsed=LONG_AGO, version=OLD)
    three.parse = lambda file: None
    telling = Telling(target(), "", clock)
    telling.look(client(three))
    telling.look(client(three))
    assert three.tokens == ["tok.a.py"]
    clock.now += NUDGE_SECONDS  # the sidecar beside Airflow may be later than we are
    telling.look(client(three))
    assert three.tokens == ["tok.a.py", "tok.a.py"]
    three.dag("a", version=NEW)
    three.dags["a"]["fileloc"] = f"/{OLD}/a.py"  # parsed out of the version before, and labelled with this one
    assert ids(telling.look(client(three))) == ["a", "b", "c"]
    assert three.tokens[2:] == ["tok.a.py", "tok.b.py", "tok.c.py"]
    for name in "abc":
        three.dag(name, version=NEW)
    assert ids(telling.look(client(three))) == []


def test_a_restart_on_a_bundle_of_ours_that_is_parsed_tells_nothing(three: FakeAirflow, clock: Clock) -> None:
    aim = target()
    three.dag("a", version=NEW)
    assert ids(Telling(aim, "", clock).look(client(three))) == []
    assert three.tokens == []


def test_an_airflow_without_dags_cannot_be_told(fake: FakeAirflow, clock: Clock) -> None:
    snapshot, waiting = Telling(target(), "", clock).look(client(fake))
    assert (snapshot.dags, waiting, fake.tokens) == ((), (), [])


def test_changed_files_are_told_alone_and_the_others_once_they_are_parsed(fake: FakeAirflow, clock: Clock) -> None:
    for name in ("a", "changed", "z"):
        fake.dag(name, parsed=LONG_AGO)
    fake.parse = lambda file: None
    telling = Telling(target(), "", clock, changed=Changed(frozenset({"changed.py", "helper.py"})))
    telling.look(client(fake))
    telling.look(client(fake))
    assert fake.tokens == ["tok.changed.py"]
    fake.parse_well("changed")
    assert ids(telling.look(client(fake))) == ["a", "z"]
    assert fake.tokens[1:] == ["tok.a.py", "tok.z.py"]


def test_a_changed_file_that_is_not_parsed_does_not_keep_the_others_from_it(fake: FakeAirflow, clock: Clock) -> None:
    for name in ("a", "changed"):
        fake.dag(name, parsed=LONG_AGO)
    fake.parse = lambda file: None
    telling = Telling(target(), "", clock, changed=Changed(frozenset({"changed.py"})))
    telling.look(client(fake))
    clock.now += FIRST_SECONDS
    telling.look(client(fake))
    assert fake.tokens == ["tok.changed.py", "tok.a.py", "tok.changed.py"]
