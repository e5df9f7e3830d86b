"""An hour without the store, in virtual time: the daemon's own loop, attempts and delays, with a clock that jumps."""

from __future__ import annotations

import os
import random
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import backoff, daemon, logs, options, prepare
from dagferry_puller.s3reader import S3Reader, Timeouts
from dagferry_puller.status import Outcome
from dagferry_shared.errors import StoreUnreachable
from support.bundles import Simulator, small_tree
from support.clocks import Hours
from support.proxy import FaultyProxy
from support.scale import scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_puller.recorder import Recorder

HOUR = 3600.0
PERIOD = 5.0
LONGEST = 60.0 * (1 + backoff.JITTER)  # no wait is longer


class Pod:
    """A daemon in virtual time; what it does in a turn is given.

    Attributes:
        looks: when each turn began.
        outcomes: how each ended.
    """

    def __init__(self, settings: options.Settings, turn: Callable[[], Outcome], recorder: Recorder) -> None:
        self.clock = Hours()
        self.looks: list[float] = []
        self.outcomes: list[str] = []
        self._turn = turn
        self.recorder = recorder
        self.daemon = daemon.Daemon(settings, self, recorder, self.clock)  # type: ignore[arg-type]

    def turn(self) -> Outcome:
        self.looks.append(self.clock.now)
        return self._turn()

    def work(self, seconds: float) -> None:
        """Run the worker's loop until then."""

        def stop() -> None:
            self.daemon._stopping = True
            self.daemon.triggers.stop()

        self.clock.at(seconds, stop)
        self.daemon._work()

    def waits(self) -> list[float]:
        return [after - before for before, after in pairwise(self.looks)]


def settings_for(**given: str) -> options.Settings:
    fixed = {"store": "s3://bucket/dags", "bundle": "etl", "channel": "main", "trust": "t", "root": "/r"}
    named = {name.replace("_", "-"): value for name, value in given.items()}
    return options.resolve("run", {**fixed, "period": "5s", **named}, {})


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        logs.log.to = nowhere
        yield
        logs.log.to = None


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """What jitter is made of, seeded."""
    source = random.Random(17)
    monkeypatch.setattr(daemon, "uniform", source.random)
    return source


def away() -> Outcome:
    raise StoreUnreachable("refused")


def stand_in(turn: Callable[[], Outcome] = away, **given: str) -> Pod:
    settings = settings_for(**given)
    return Pod(settings, turn, prepare.new_recorder(settings))


def test_hour_of_refused_connections_is_survived_by_the_whole_pull_path(tmp_path: Path, chance: random.Random) -> None:
    simulator = Simulator(tmp_path / "store")
    first, environ = simulator.publish(small_tree("one"), "a"), {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with serving(simulator) as proxy:
        settings = settings_for(trust=str(simulator.write_trust(tmp_path / "trust")), root=str(tmp_path / "root"))
        recorder = prepare.new_recorder(settings)
        reader = S3Reader(
            "bucket",
            "dags",
            environ={**environ, "AWS_ENDPOINT_URL": proxy.endpoint},
            home=tmp_path,
            timeouts=Timeouts(2.0, 5.0, 5.0, 5.0),
        )
        session = prepare.open_session(settings, reader, prepare.open_trust(settings), recorder)
        pod = Pod(settings, session.turn, recorder)
        pod.clock.at(60.0, proxy.down)
        pod.clock.at(60.0 + HOUR, lambda: simulator.publish(small_tree("two"), "b") and proxy.up())
        pod.work(60.0 + HOUR + LONGEST + PERIOD)
        session.close()
    assert simulator.last is not None
    status = recorder.snapshot()
    assert (status.problem, status.failures) == (None, 0)
    assert status.live is not None
    assert status.live.version == simulator.last.version != first.version
    assert status.syncs[Outcome.UNREACHABLE] == len([at for at in pod.looks if 60.0 < at < 60.0 + HOUR])
    assert_within_bounds(pod)


def serving(simulator: Simulator) -> FaultyProxy:
    """A store that answers out of the simulator's directory: moto adds nothing here."""

    def answer(exchange: object) -> None:
        name = exchange.path.removeprefix("/bucket/dags/")  # type: ignore[attr-defined]
        data = (simulator.directory / name).read_bytes()
        head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\nETag: "{hash(data):x}"\r\nConnection: close\r\n'
        date = "Last-Modified: Sun, 22 Nov 2026 16:49:08 GMT\r\n\r\n"
        exchange.send((head + date).encode() + data)  # type: ignore[attr-defined]

    proxy = FaultyProxy("http://127.0.0.1:9")
    proxy.fail(answer)
    return proxy


def assert_within_bounds(pod: Pod) -> None:
    """The documented ones: the period, doubled for each failure up to 60 s, give or take a fifth."""
    assert all(PERIOD * (1 - backoff.JITTER) <= wait <= LONGEST for wait in pod.waits()), pod.waits()
    in_outage = [at for at in pod.looks if 60.0 < at < 60.0 + HOUR]
    assert HOUR / LONGEST <= len(in_outage) <= HOUR / (LONGEST - 2 * 60 * backoff.JITTER) + 5


@pytest.mark.parametrize("period", ["1s", "5s", "30s", "90s", "10m"])
def test_waits_in_an_outage_stay_between_the_period_and_the_longest(period: str, chance: random.Random) -> None:
    pod = stand_in(period=period)
    pod.work(HOUR)
    seconds = settings_for(period=period).period
    most = max(60.0, seconds)
    expected = [min(seconds * 2**failures, most) for failures in range(1, len(pod.looks))]
    for wait, middle in zip(pod.waits(), expected, strict=True):
        assert middle * (1 - backoff.JITTER) <= wait <= middle * (1 + backoff.JITTER)
    assert len(pod.looks) <= HOUR / (most * (1 - backoff.JITTER)) + 8


@pytest.mark.parametrize("until", range(100, 3600, 500))
def test_store_that_comes_back_is_found_within_one_longest_wait(until: int, chance: random.Random) -> None:
    def turn() -> Outcome:
        return away() if pod.clock.now < until else Outcome.UNCHANGED

    pod = stand_in(turn)
    pod.work(HOUR + 200)
    well = [at for at in pod.looks if at >= until]
    assert well[0] - until <= LONGEST
    assert all(after - before <= PERIOD * (1 + backoff.JITTER) for before, after in pairwise(well))
    assert pod.recorder.snapshot().failures == 0


def test_two_hundred_pods_that_failed_together_do_not_come_back_together(chance: random.Random) -> None:
    pods = scale(200, 2000)
    looks: list[list[float]] = []
    for _ in range(pods):
        pod = stand_in()
        pod.work(HOUR)
        looks.append(pod.looks)
    assert {one[0] for one in looks} == {0.0}
    after_ten_minutes = Counter(int(at) for one in looks for at in one if at > 600)
    # Spread evenly, a second has 3.3 of 200 pods; all at once would be 200.
    assert max(after_ten_minutes.values()) <= pods * 0.1
    last_waits = [min(at for at in one if at > 3000) for one in looks]
    assert max(last_waits) - min(last_waits) > 0.5 * LONGEST
    assert len({round(at, 3) for at in last_waits}) > 0.9 * pods


def test_jitter_is_even_and_goes_both_ways() -> None:
    waits = [backoff.jittered(60.0, backoff.uniform()) for _ in range(4000)]
    assert 48.0 <= min(waits) < 49.0
    assert 71.0 < max(waits) <= 72.0
    assert 59.0 < sum(waits) / len(waits) < 61.0


@pytest.mark.parametrize("kind", ["signal or notification", "trigger file"])
def test_trigger_is_looked_at_at_once_in_a_backoff(kind: str, chance: random.Random, tmp_path: Path) -> None:
    trigger = tmp_path / "trigger"
    pod = stand_in(trigger_file=str(trigger) if kind == "trigger file" else "")
    asked = [1000.0 + 7 * number for number in range(20)]
    for at in asked:
        pod.clock.at(at, trigger_touch(trigger, at) if kind == "trigger file" else pod.daemon.triggers.look_now)
    pod.work(2000.0)
    for at in asked:
        assert any(at <= look <= at + daemon.MIN_GAP_SECONDS for look in pod.looks), at


def trigger_touch(path: Path, at: float) -> Callable[[], None]:
    def touch() -> None:
        path.touch()
        os.utime(path, (at, at))

    return touch


def test_triggers_without_end_cost_the_store_one_request_a_second(chance: random.Random) -> None:
    pod = stand_in()
    for number in range(10_000):
        pod.clock.at(100.0 + number / 100, pod.daemon.triggers.look_now)
    pod.work(200.0)
    seconds = Counter(int(at) for at in pod.looks)
    assert max(seconds.values()) <= 2
    assert all(wait >= daemon.MIN_GAP_SECONDS - 1e-6 for wait in pod.waits())
    assert len([at for at in pod.looks if at >= 100]) >= 95


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), MemoryError(), RecursionError(), ZeroDivisionError(), KeyError()]
)
def test_loop_survives_an_hour_of_any_error(error: Exception, chance: random.Random) -> None:
    def turn() -> Outcome:
        raise error

    pod = stand_in(turn)
    pod.work(HOUR)
    assert pod.recorder.snapshot().failures == len(pod.looks) >= HOUR / LONGEST
