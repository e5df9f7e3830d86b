"""The puller's thread that tells Airflow, on a server that we break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import options, prepare, tell
from dagferry_puller.exits import ConfigError
from dagferry_puller.status import LiveInfo
from dagferry_puller.tell import Teller
from dagferry_shared import times
from support.fakeairflowapi import PASSWORD, USER, FakeAirflow
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagferry_puller.recorder import Recorder

LONG_AGO = "2026-01-01T00:00:00Z"
WHO = {"DAGFERRY_AIRFLOW_USERNAME": USER, "DAGFERRY_AIRFLOW_PASSWORD": PASSWORD}


@pytest.fixture
def fake() -> Iterator[FakeAirflow]:
    with FakeAirflow() as server:
        server.dag("a", parsed=LONG_AGO)
        server.dag("b", parsed=LONG_AGO)
        yield server


@pytest.mark.parametrize(
    ("environ", "setting", "named"),
    [
        ({"DAGFERRY_AIRFLOW_TOKEN": "t", **WHO}, {}, "DAGFERRY_AIRFLOW_*"),
        ({}, {"airflow_credentials_file": "/none"}, "--airflow-credentials-file"),
        ({}, {"airflow_ca": "/none", "airflow": "https://a"}, "--airflow-ca"),
        ({}, {"airflow": "http://me:very-secret@a"}, "--airflow"),
        ({}, {"airflow": "a"}, "--airflow"),
    ],
)
def test_a_wrong_setting_ends_the_start_and_is_named_without_its_secret(
    environ: dict[str, str], setting: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def start() -> None:
        made = settings(**setting)
        prepare.open_teller(made, prepare.new_recorder(made))

    with pytest.raises(ConfigError) as caught:
        start()
    assert caught.value.setting.startswith(named)
    assert "secret" not in str(caught.value)


def settings(**given: str) -> options.Settings:
    base = {"store": "x", "bundle": "b", "channel": "c", "trust": "t", "root": "/r", "airflow": "http://127.0.0.1:1"}
    return options.resolve("run", {**base, **{name.replace("_", "-"): text for name, text in given.items()}}, {})


class Running:
    """A teller and what it says; ``live`` is what a sync would do."""

    def __init__(self, **given: str) -> None:
        self.settings = settings(**given)
        self.recorder: Recorder = prepare.new_recorder(self.settings)
        self.teller = Teller(self.settings, self.recorder)
        self.recorder.update(role="owner")

    def live(self, letter: str) -> str:
        version = f"{letter * 40}-{'0' * 64}"
        since = times.show(times.now())
        info = LiveInfo(version, letter * 40, "0" * 64, "", "", "", since=since)
        self.recorder.update(live=info)
        self.teller.looked()
        return version

    def wait(self, what: str, condition: Any) -> Any:
        return wait_for(lambda: (info := self.recorder.snapshot().airflow) and condition(info) and info, what)


def write(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


@pytest.fixture
def running(fake: FakeAirflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(tell, "uniform", lambda: 0.0)
    secret = write(tmp_path / "secret", f"username={USER}\npassword={PASSWORD}\n")
    made = Running(airflow=fake.url, airflow_credentials_file=secret, airflow_timeout="1s")
    made.teller.start()
    yield made
    made.teller.stop()


def test_only_the_newest_version_counts(running: Running, fake: FakeAirflow) -> None:
    fake.parse = lambda file: None
    running.live("a")
    running.wait("it is told", lambda info: info.files_told == 2)
    fake.parse = fake.parse_well
    newest = running.live("b")
    info = running.wait("it is parsed", lambda info: info.state == "parsed")
    assert info.version == newest
    assert info.files_told == 2


def test_the_same_version_is_followed_once(running: Running, fake: FakeAirflow) -> None:
    running.live("a")
    running.wait("it is parsed", lambda info: info.state == "parsed")
    for _ in range(50):
        running.teller.looked()
    assert not running.teller._news.is_set()
    assert len(fake.tokens) == 2


def test_a_standby_tells_nobody(running: Running) -> None:
    running.recorder.update(role="standby")
    running.live("a")
    assert not running.teller._news.is_set()


def test_what_is_not_parsed_in_time_is_late_and_is_still_looked_for(
    running: Running, fake: FakeAirflow, caplog: pytest.LogCaptureFixture
) -> None:
    fake.parse = lambda file: fake.parse_well(file) if file == "a" else None
    running.live("a")
    info = running.wait("it is late", lambda info: info.state == "late")
    assert (info.pending, info.detail, info.parsed_at) == (1, "not parsed yet: b", None)
    told = len(fake.tokens)
    fake.parse_well("b")
    running.wait("it is parsed all the same", lambda info: info.state == "parsed")
    assert len(fake.tokens) == told


def test_an_airflow_that_was_away_for_longer_than_the_timeout_is_told_when_it_is_back(
    running: Running, fake: FakeAirflow
) -> None:
    fake.instead["/api/v2/dags"] = (503, b"")
    running.live("a")
    begun = running.teller._clock()
    running.wait("the timeout is over", lambda info: running.teller._clock() > begun + 1.5)
    assert running.recorder.snapshot().airflow.state == "telling"
    del fake.instead["/api/v2/dags"]
    running.wait("it is parsed", lambda info: info.state == "parsed")
    assert fake.tokens == ["tok.a.py", "tok.b.py"]


def test_an_airflow_without_dags_is_waited_for(running: Running, fake: FakeAirflow) -> None:
    fake.dags.clear()
    running.live("a")
    info = running.wait("it answers", lambda info: info.up)
    assert info.state != "parsed"
    assert "no DAG of this bundle yet" in info.detail


def test_an_import_error_that_comes_later_is_counted(running: Running, fake: FakeAirflow) -> None:
    running.live("a")
    running.wait("it is parsed", lambda info: info.state == "parsed")
    fake.error("new")
    running.wait("it is counted", lambda info: info.import_errors == 1)


def test_credentials_that_are_rotated_are_read_again(running: Running, tmp_path: Path) -> None:
    good = (tmp_path / "secret").read_text()
    (tmp_path / "secret").write_text(good.replace(PASSWORD, "old"))
    running.live("a")
    running.wait("it is denied", lambda info: "answered 401" in (info.problem or ""))
    (tmp_path / "secret").write_text("nonsense")
    running.wait("it is wrong", lambda info: "--airflow-credentials-file" in (info.problem or ""))
    (tmp_path / "secret").write_text(good)
    running.wait("it is parsed", lambda info: info.state == "parsed")


def test_a_bug_of_ours_is_logged_counted_and_tried_again(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = tell.connect
    bugs = [ZeroDivisionError()]
    monkeypatch.setattr(tell, "connect", lambda settings: _raise(bugs.pop()) if bugs else real(settings))
    running.live("a")
    running.wait("it is parsed", lambda info: info.state == "parsed")
    assert any("a bug in dagferry" in record.message for record in caplog.records)


def _raise(error: Exception) -> Any:
    raise error


def test_many_names_are_cut(fake: FakeAirflow, running: Running) -> None:
    for number in range(9):
        fake.dag(f"d{number}", parsed=LONG_AGO)
    fake.parse = lambda file: None
    running.live("a")
    assert running.wait("it is said", lambda info: info.pending == 11).detail.endswith(" and 8 more")
