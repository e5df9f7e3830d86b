"""``dagctl wait --airflow`` against a server that answers like an Airflow."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.fakeairflowapi import PASSWORD, USER, FakeAirflow
from support.raw_server import RawServer, reply
from support.statuses import a_live, a_status
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.dagctl import Result
    from support.sites import Site

LONG_AGO = "2026-01-01T00:00:00Z"
QUICK = ("--settle", "0", "--delivery", "0", "--timeout", "20s")


@pytest.fixture(params=[3, 2])
def fake(request: pytest.FixtureRequest, site: Site) -> Iterator[FakeAirflow]:
    with FakeAirflow(request.param) as server:
        for name in "abc":
            server.dag(name, parsed=LONG_AGO)
        admit(site, server)
        yield server


@pytest.fixture
def three(site: Site) -> Iterator[FakeAirflow]:
    with FakeAirflow() as server:
        for name in "abc":
            server.dag(name, parsed=LONG_AGO)
        admit(site, server)
        yield server


def admit(site: Site, server: FakeAirflow) -> None:
    site.dagctl.environ |= {
        "DAGFERRY_AIRFLOW": server.url,
        "DAGFERRY_AIRFLOW_USERNAME": USER,
        "DAGFERRY_AIRFLOW_PASSWORD": PASSWORD,
    }


def wait(site: Site, *arguments: object, code: int = 0) -> Result:
    return site.dagctl("wait", *QUICK, *arguments, code=code)


def meanwhile(fake: FakeAirflow, change: Callable[[], object], looks: int = 2) -> threading.Thread:
    """Change something once Airflow was asked for its import errors so many times."""

    def run() -> None:
        wait_for(lambda: sum("/importErrors" in asked for asked in fake.asked) >= looks, "it is asked")
        change()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def parse_all(fake: FakeAirflow) -> None:
    for name in "abc":
        fake.parse_well(name)


def version(site: Site) -> str:
    pointer = site.pointer()
    return f"{pointer['commit']}-{pointer['release']}"


def test_it_ends_when_every_dag_is_parsed(site: Site, fake: FakeAirflow, line: list[str]) -> None:
    site.publish(line[0])
    thread = meanwhile(fake, lambda: parse_all(fake))
    result = wait(site, "--json")
    thread.join()
    assert result.json["commit"] == line[0]
    assert result.json["version"] == version(site)
    assert result.json["parsed_at"] > result.json["issued"]
    assert result.json["waiting"] == result.json["new_import_errors"] == []
    assert result.json["before"] == result.json["after"] == {"dags": 3, "import_errors": 0}
    assert result.json["rollback"] is None
    assert fake.tokens == []  # it asks, and tells nothing


def test_a_person_sees_progress_and_a_table(site: Site, fake: FakeAirflow, line: list[str]) -> None:
    fake.error("old", at=LONG_AGO)
    site.publish(line[0])
    thread = meanwhile(fake, lambda: parse_all(fake))
    result = wait(site)
    thread.join()
    assert f"… waiting for commit {line[0][:12]}" in result.err
    assert "… parsed 0 of 3 DAGs, 1 files with import errors" in result.err
    assert "… parsed 3 of 3 DAGs" in result.err
    assert f"{line[0][:12]} is parsed, " in result.out
    assert [word.split() for word in result.out.splitlines()[-2:]] == [
        ["DAGs", "3", "3"],
        ["import", "errors", "1", "1"],
    ]


def test_a_new_import_error_is_exit_12_and_an_old_one_is_not(site: Site, fake: FakeAirflow, line: list[str]) -> None:
    fake.error("old", "E: old")
    wait(site, "--snapshot", "before.json")
    site.publish(line[0])
    parse_all(fake)
    fake.error("old", "E: another one, in the same file")
    assert wait(site, "--baseline", "before.json", "--json").json["new_import_errors"] == []
    fake.error("b", "E: new")
    result = wait(site, "--baseline", "before.json", "--json", code=12)
    (found,) = result.json["new_import_errors"]
    assert (found["file"], found["error"], found["unsure"]) == (fake.place("b"), "E: new", False)
    assert result.json["before"] == {"dags": 3, "import_errors": 1}
    assert result.json["after"] == {"dags": 3, "import_errors": 2}
    assert result.error["reason"] == "import-errors"
    assert fake.place("b") in result.error["message"]
    assert site.live() == line[0]
    shown = wait(site, "--baseline", "before.json", code=12)
    assert f"new import error: {fake.place('b')}: E: new" in shown.out


def test_without_a_baseline_an_error_that_may_be_new_counts_as_new(
    site: Site, fake: FakeAirflow, line: list[str]
) -> None:
    site.publish(line[0])
    parse_all(fake)
    fake.error("b")  # Airflow was faster than the wait: nobody knows what was before
    result = wait(site, "--json", code=12)
    assert result.json["new_import_errors"][0]["unsure"] is True
    assert "use --baseline" in wait(site, code=12).out


def test_an_error_that_comes_while_nothing_may_change_is_found(site: Site, fake: FakeAirflow, line: list[str]) -> None:
    wait(site, "--snapshot", "before.json")
    site.publish(line[0])
    parse_all(fake)
    thread = meanwhile(fake, lambda: fake.error("new_file"), looks=3)
    result = wait(site, "--baseline", "before.json", "--settle", "1s", "--json", code=12)
    thread.join()
    assert result.json["new_import_errors"][0]["file"] == fake.place("new_file")


def test_what_is_not_parsed_in_time_is_exit_11_and_named(site: Site, three: FakeAirflow, line: list[str]) -> None:
    site.publish(line[0])
    three.parse_well("a")
    result = wait(site, "--timeout", "1s", "--json", code=11)
    assert result.json["waiting"] == ["b", "c"]
    assert result.json["parsed_at"] is None
    assert result.error["reason"] == "timeout"
    assert "not parsed yet: b, c" in result.error["message"]
    three.dags.clear()
    assert "Airflow has no DAGs" in wait(site, "--timeout", "1s", "--json", code=11).error["message"]


def test_versions_of_dagferrys_bundle_are_proof(site: Site, three: FakeAirflow, line: list[str]) -> None:
    site.publish(line[0])
    old = version(site)
    site.publish(line[1])
    for name in "abc":
        three.dag(name, version=old)
    assert wait(site, "--timeout", "1s", "--json", code=11).json["waiting"] == ["a", "b", "c"]
    for name in "abc":
        three.dag(name, version=version(site))
    three.dags["b"]["fileloc"] = f"/versions/{old}/b.py"  # labelled with the new one, and parsed from the old one
    assert wait(site, "--timeout", "1s", "--json", code=11).json["waiting"] == ["b"]
    three.dag("b", version=version(site))
    wait(site, "--delivery", "1h")  # which is for others


def test_without_them_a_parse_must_have_begun_when_pods_are_assumed_to_have_it(
    site: Site, three: FakeAirflow, line: list[str]
) -> None:
    site.publish(line[0])
    parse_all(three)
    wait(site)
    assert wait(site, "--delivery", "1h", "--timeout", "1s", "--json", code=11).json["waiting"] == ["a", "b", "c"]


def test_a_puller_says_when_it_is_live(site: Site, three: FakeAirflow, line: list[str]) -> None:
    site.publish(line[0])
    parse_all(three)

    def status(live: Any) -> Any:
        return reply("200 OK", a_status(live=live))

    mine = a_live(version(site))
    with RawServer(status(None), status({**mine, "since": None}), status(mine)) as server:
        result = wait(site, "--puller", server.endpoint, "--delivery", "1h")
        assert "… waiting until the puller has it live" in result.err
        assert len(server.requests) == 3
    with RawServer(status({**mine, "since": "2100-01-01T00:00:00.000Z"})) as server:
        wait(site, "--puller", server.endpoint, "--timeout", "1s", code=11)
    other = a_live(f"{'a' * 40}-{'b' * 64}")
    for answer in (status(other), status({**mine, "version": "x"}), reply("500 Bad"), reply("200 OK", b"{")):
        with RawServer(answer) as server:
            result = wait(site, "--puller", server.endpoint, "--timeout", "1s", "--json", code=11)
            assert "the puller" in result.error["message"]


def test_a_puller_whose_name_nobody_knows_is_no_puller(site: Site, three: FakeAirflow, line: list[str]) -> None:
    site.publish(line[0])
    result = wait(site, "--puller", "http://a..b", "--timeout", "1s", "--json", code=11)
    assert "the puller at http://a..b:9474: the name cannot be resolved" in result.error["message"]


def test_an_airflow_that_is_away_is_waited_for(site: Site, three: FakeAirflow, line: list[str]) -> None:
    wait(site, "--snapshot", "before.json")
    site.publish(line[0])
    parse_all(three)
    three.instead["/api/v2/dags"] = (503, b"")
    result = wait(site, "--baseline", "before.json", "--timeout", "1s", "--json", code=11)
    assert "answered 503" in result.error["message"]
    assert result.json["after"] is None
    assert "?" in wait(site, "--baseline", "before.json", "--timeout", "1s", code=11).out
    asked = len(three.asked)

    def come_back() -> None:
        wait_for(lambda: len(three.asked) > asked + 2, "it is asked")
        del three.instead["/api/v2/dags"]

    thread = threading.Thread(target=come_back)
    thread.start()
    assert "answered 503" in wait(site, "--baseline", "before.json").err
    thread.join()


@pytest.mark.parametrize(("status", "code", "reason"), [(403, 9, "denied"), (404, 8, "not-found")])
def test_an_airflow_that_denies_us_is_not_waited_for(
    site: Site, three: FakeAirflow, line: list[str], status: int, code: int, reason: str
) -> None:
    wait(site, "--snapshot", "before.json")
    site.publish(line[0])
    three.instead["/api/v2/dags"] = (status, b"")
    result = wait(site, "--baseline", "before.json", "--json", code=code)
    assert result.error["reason"] == f"airflow-{reason}"
    assert PASSWORD not in result.err + result.out


def test_a_snapshot_of_an_airflow_that_is_away_is_exit_7_or_3_and_writes_nothing(
    site: Site, three: FakeAirflow, line: list[str]
) -> None:
    three.instead["/api/v2/dags"] = (503, b"")
    wait(site, "--snapshot", "before.json", code=7)
    three.instead["/api/v2/dags"] = (200, b"<html>")
    wait(site, "--snapshot", "before.json", code=3)
    assert not (site.root / "before.json").exists()


def test_a_channel_that_moves_on_ends_the_wait(site: Site, three: FakeAirflow, line: list[str]) -> None:
    site.publish(line[0])
    thread = meanwhile(three, lambda: site.dagctl.process("publish", "--commit", line[1], "--ref", "main"))
    result = wait(site, "--json", code=4)
    thread.join()
    assert f"publish to commit {line[1][:12]}" in result.error["message"]


# --rollback-on-failure


def test_new_import_errors_roll_the_channel_back_and_hold_it(site: Site, fake: FakeAirflow, line: list[str]) -> None:
    site.publish(line[0])
    wait(site, "--snapshot", "before.json")
    site.publish(line[1])
    parse_all(fake)
    undo = ("--baseline", "before.json", "--rollback-on-failure", "--json")
    assert wait(site, *undo).json["rollback"] is None
    assert site.live() == line[1]
    fake.error("b")
    result = wait(site, *undo, code=12)
    assert "rolled back to commit " + line[0][:12] in result.error["message"]
    assert result.json["rollback"]["pointer"]["commit"] == line[0]
    pointer = site.pointer()
    assert (pointer["commit"], pointer["action"]) == (line[0], "rollback")
    assert pointer["held"]["reason"] == f"new import errors in Airflow: {fake.place('b')}"


def test_nothing_is_rolled_back_that_was_not_waited_for(
    site: Site, three: FakeAirflow, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish(line[0])
    site.publish(line[1])
    wait(site, "--snapshot", "before.json")
    parse_all(three)
    three.error("b")

    def overtake(*_: object) -> None:
        monkeypatch.undo()
        site.dagctl.process("publish", "--commit", line[2], "--ref", "main")

    from dagferry_publisher.cli.waitreport import Report

    real = Report.roll_back
    monkeypatch.setattr(Report, "roll_back", lambda *given: (overtake(), real(*given)))
    result = wait(site, "--baseline", "before.json", "--rollback-on-failure", "--json", code=12)
    assert "NOT rolled back: channel main has moved on" in result.error["message"]
    assert site.live() == line[2]


def test_a_channel_with_nothing_before_it_says_that_it_was_not_rolled_back(
    site: Site, three: FakeAirflow, line: list[str]
) -> None:
    wait(site, "--snapshot", "before.json")
    site.publish(line[0])
    parse_all(three)
    three.error("b")
    result = wait(site, "--baseline", "before.json", "--rollback-on-failure", "--json", code=12)
    assert "NOT rolled back: nothing was live before" in result.error["message"]


def test_a_timeout_is_no_reason_to_roll_back(site: Site, three: FakeAirflow, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    wait(site, "--snapshot", "before.json")
    undo = ("--baseline", "before.json", "--rollback-on-failure")
    wait(site, *undo, "--timeout", "1s", code=11)
    assert site.live() == line[1]


# Settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--airflow", "nowhere"), "--airflow is not http"),
        (("--airflow", "http://me:very-secret@host"), "takes no credentials"),
        (("--puller", "x"), "--puller: 'x' is not dns://NAME:PORT or http"),
        (("--airflow-credentials-file", "none"), "--airflow-credentials-file: cannot read it"),
        (("--airflow", "https://host", "--airflow-ca", "none.pem"), "--airflow-ca none.pem: no certificates"),
        (("--rollback-on-failure",), "needs --baseline"),
        (("--snapshot", "x", "--rollback-on-failure"), "for before a publish"),
        (("--snapshot", "x", "--baseline", "y"), "for before a publish"),
        (("--baseline", "none"), "cannot be read"),
        (("--baseline", "bad.json"), "bad.json: "),
    ],
)
def test_a_wrong_setting_is_exit_2(
    site: Site, three: FakeAirflow, line: list[str], arguments: tuple[str, ...], words: str
) -> None:
    site.publish(line[0])
    (site.root / "bad.json").write_text("{}")
    result = wait(site, *arguments, code=2)
    assert words in result.err
    assert "secret" not in result.err


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"failing": 5}, {"failing": [5]}, {"failing": [["a", 1]]}, {"failing": [["a"]]}, {"dags": "1"}],
)
def test_a_baseline_that_is_none_is_refused(
    site: Site, three: FakeAirflow, line: list[str], change: dict[str, Any]
) -> None:
    site.publish(line[0])
    (site.root / "b.json").write_text(json.dumps({"format": 1, "dags": 1, "failing": [], **change}))
    assert "--baseline b.json: " in wait(site, "--baseline", "b.json", code=2).err


def test_credentials_and_airflow_may_come_from_files_and_contexts(
    site: Site, three: FakeAirflow, tmp_path: Path
) -> None:
    (site.root / "who").write_text(f"username={USER}\npassword={PASSWORD}\n")
    (site.root / "dagctl.toml").write_text(
        f'context="x"\n[contexts.x]\nairflow="{three.url}"\nairflow_credentials_file="who"\nairflow_bundle="none"\n'
    )
    for name in ("", "_USERNAME", "_PASSWORD"):
        del site.dagctl.environ[f"DAGFERRY_AIRFLOW{name}"]
    result = wait(site, "--snapshot", "before.json", "--json")
    assert result.json == {"snapshot": "before.json", "dags": 0, "import_errors": 0}
    assert "3 DAGs, 0 import errors" in wait(site, "--snapshot", "before.json", "--airflow-bundle", "dags-folder").out


def test_a_snapshot_that_cannot_be_written_leaves_no_draft(site: Site, three: FakeAirflow) -> None:
    (site.root / "taken").mkdir()
    before = {path.name for path in site.root.iterdir()}
    with pytest.raises(OSError, match="taken"):
        wait(site, "--snapshot", "taken")
    assert {path.name for path in site.root.iterdir()} == before
