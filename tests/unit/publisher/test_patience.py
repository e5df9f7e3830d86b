"""Waiting for a store that is away: what is repeated, for how long, and what is never repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.cli.session import Cli
from dagferry_publisher.patience import GivenUp, Patience, Patient, StoreAway
from dagferry_shared.errors import DagferryError, Reason, Refused, StoreDenied, StoreUnreachable
from dagferry_shared.store.reading import Interrupted

if TYPE_CHECKING:
    from pathlib import Path


class Outage:
    """A clock, and a request that fails until a time of it."""

    def __init__(self, until: float, error: DagferryError | None = None) -> None:
        self.now = 1000.0
        self.until = 1000.0 + until
        self.error = error or StoreAway("cannot read x: refused")
        self.requests = 0
        self.said: list[str] = []
        self.patience = Patience(30.0, self.said.append, clock=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds

    def request(self) -> str:
        self.requests += 1
        if self.now < self.until:
            raise self.error
        return "answer"


@pytest.mark.parametrize("error", [StoreAway("away"), Interrupted("broke off")])
def test_a_request_is_repeated_until_the_store_is_back(error: DagferryError) -> None:
    outage = Outage(12.0, error)
    assert outage.patience.call(outage.request) == "answer"
    assert 12.0 <= outage.now - 1000.0 <= 12.0 + 2.0
    assert 8 <= outage.requests <= 25, "neither a hot loop nor one long pause"
    assert outage.said == [
        f"{error}; trying again for 30 s",
        f"the store answers again after {outage.now - 1000:.0f} s",
    ]


def test_patience_ends_with_the_last_error() -> None:
    outage = Outage(1e9)
    with pytest.raises(StoreAway, match="refused"):
        outage.patience.call(outage.request)
    assert outage.now == pytest.approx(1030.0)
    assert len(outage.said) == 1


def test_an_outage_is_waited_for_once_however_many_requests_meet_it() -> None:
    outage = Outage(1e9)
    with pytest.raises(StoreAway):
        outage.patience.call(outage.request)
    requests = outage.requests
    for ask in (outage.patience.call, outage.patience.once):
        with pytest.raises(GivenUp):
            ask(outage.request)
    assert outage.requests == requests, "a store that is silent costs a time-out for each request"
    assert outage.now == pytest.approx(1030.0)


@pytest.mark.parametrize("seconds", [0.0, 30.0, 300.0])
def test_a_store_that_is_silent_is_given_up_after_patience_and_two_time_outs(seconds: float) -> None:
    outage, timeout = Outage(1e9), 20.0
    outage.patience.seconds = seconds

    def silent() -> str:
        outage.now += timeout
        return outage.request()

    with pytest.raises(StoreAway):
        outage.patience.once(silent)
    for _ in range(10):
        with pytest.raises(StoreUnreachable):
            outage.patience.call(silent)
    assert outage.now <= 1000.0 + seconds + 2 * timeout


def test_short_failures_without_patience_are_no_reason_to_ask_no_more() -> None:
    outage = Outage(9.0)
    outage.patience.seconds = 0.0
    for _ in range(9):
        with pytest.raises(StoreAway):
            outage.patience.call(outage.request)
        outage.now += 1.0
    assert outage.patience.call(outage.request) == "answer"


def test_an_answer_to_a_request_under_way_ends_an_outage_that_was_given_up() -> None:
    outage = Outage(1e9)

    def slow() -> str:
        with pytest.raises(StoreAway):
            outage.patience.call(outage.request)
        return "answer"

    assert outage.patience.call(slow) == "answer"
    outage.until = outage.now
    assert outage.patience.call(outage.request) == "answer"


def test_the_next_outage_gets_patience_of_its_own() -> None:
    outage = Outage(20.0)
    outage.patience.call(outage.request)
    outage.until = outage.now + 20.0
    assert outage.patience.call(outage.request) == "answer"
    assert len(outage.said) == 4


@pytest.mark.parametrize(
    "error", [StoreUnreachable("not https"), StoreDenied("no"), Refused(Reason.OVERSIZE, "much")], ids=str
)
def test_what_no_waiting_makes_right_is_told_at_once(error: DagferryError) -> None:
    outage = Outage(1e9, error)
    with pytest.raises(type(error)):
        outage.patience.call(outage.request)
    assert outage.requests == 1
    assert outage.said == []


def test_an_error_answer_ends_an_outage() -> None:
    outage = Outage(1e9)

    def refused_later() -> str:
        outage.error = StoreDenied("no") if outage.now > 1005.0 else outage.error
        return outage.request()

    with pytest.raises(StoreDenied):
        outage.patience.call(refused_later)
    assert outage.said[-1].startswith("the store answers again")


def test_without_patience_nothing_is_repeated() -> None:
    outage = Outage(1e9)
    with pytest.raises(StoreAway):
        Patience().call(outage.request)
    assert outage.requests == 1


@pytest.mark.parametrize(("text", "seconds"), [("", 30.0), ("0", 0.0), ("0s", 0.0), ("90s", 90.0)])
def test_how_long_a_command_waits_is_a_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, seconds: float
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGFERRY_STORE_WAIT", text)
    store = Cli({"store": "s3://bucket/prefix"}, None).store
    assert isinstance(store, Patient)
    assert store.patience.seconds == seconds


def test_a_command_that_goes_on_may_ask_again_after_it_gave_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(name, value)
    cli = Cli({"store": "s3://bucket/prefix"}, None)
    store = cli.store
    assert isinstance(store, Patient)
    outage = Outage(60.0)
    outage.patience = store.patience = Patience(0.0, clock=lambda: outage.now, sleep=outage.sleep)
    for _ in range(2):
        with pytest.raises(StoreAway):
            outage.patience.call(outage.request)
        outage.now += 30.0
    with pytest.raises(GivenUp):
        store.patience.once(lambda: "answer")
    cli.renew_patience()
    assert store.patience.once(lambda: "answer") == "answer"
