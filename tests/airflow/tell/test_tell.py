"""``dagferry-puller run --airflow`` on a real Airflow 3 and 2.11, at their default settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.airflowsites import AirflowSite

pytestmark = pytest.mark.xdist_group("told")


def test_a_start_tells_nothing_that_is_parsed(told: AirflowSite) -> None:
    before = told.wait_parsed(told.commit)
    assert before["dags"] == 2
    told.stop()
    told.start(told=True)
    info = told.wait_parsed(told.commit)
    assert (info["files_told"], info["told_at"], info["import_errors"]) == (0, None, 0)


def test_a_swap_is_parsed_wholly_also_the_file_whose_helper_changed(told: AirflowSite) -> None:
    commit = told.publish({"dags/helper.py": "WORD = 'h2'\n", **told.dag("first", "v2")})
    info = told.wait_parsed(commit)
    assert told.descriptions() == {"first": "v2/h2", "second": "v1/h2"}
    assert (info["dags"], info["pending"], info["import_errors"], info["up"]) == (2, 0, 0, True)
    assert info["files_told"] >= 1  # 2.11 may have found the changed one before it is told
    assert info["program"].startswith(f"{told.major}.")
    metrics = told.running.metrics()
    assert metrics["dagferry_puller_airflow_parsed"] == 1
    assert metrics["dagferry_puller_airflow_swap_to_parsed_seconds"] == info["swap_to_parsed_seconds"]


def test_a_file_that_cannot_be_imported_is_shown_until_it_can(told: AirflowSite) -> None:
    broken = told.publish({"dags/first.py": "import airflow\nraise RuntimeError('no dag')\n"})
    info = told.wait_parsed(broken)
    assert info["import_errors"] == 1
    assert "first.py: RuntimeError: no dag" in info["detail"]
    assert told.running.metrics()["dagferry_puller_airflow_import_errors"] == 1
    mended = told.publish(told.dag("first", "v3"))
    told.wait_parsed(mended)
    # Later if the broken file was just being parsed again at the swap: its error is then newer than the swap.
    info = told.wait("no file fails", lambda info: info["import_errors"] == 0)
    assert info["detail"] == ""


def test_a_rollback_is_parsed(told: AirflowSite) -> None:
    old = told.commit
    told.wait_parsed(old)
    before = told.descriptions()["first"]
    told.wait_parsed(told.publish(told.dag("first", "v4")))
    assert told.descriptions()["first"] != before
    told.site.dagctl("rollback", "--no-hold")
    told.wait_parsed(old)
    assert told.descriptions()["first"] == before


def test_a_new_and_a_deleted_dag_are_seen_at_once_by_airflow_3(told: AirflowSite) -> None:
    if told.major == 2:
        return  # looks for files every dag_dir_list_interval, 300 s, and cannot be told
    told.wait_parsed(told.publish(told.dag("third", "v1")))
    told.wait("it is there", lambda info: info["dags"] == 3)
    told.wait_parsed(told.publish({"dags/third.py": None}))
    told.wait("it is not", lambda info: info["dags"] == 2)
    assert set(told.descriptions()) == {"first", "second"}


def test_an_airflow_that_is_away_does_not_hold_up_the_swap(told: AirflowSite) -> None:
    api = "api-server" if told.major == 3 else "webserver"
    told.server.end(api)
    commit = told.publish(told.dag("first", "v5"))
    told.wait_live(commit)
    info = told.wait("it is said", lambda i: (i["version"] or "").startswith(commit) and i["failures"] > 1)
    assert not info["up"]
    assert "Airflow: http://127.0.0.1" in info["problem"]
    assert told.running.metrics()["dagferry_puller_airflow_up"] == 0
    told.server.run(api)
    info = told.wait_parsed(commit)
    assert (info["up"], info["problem"], info["failures"]) == (True, None, 0)
    assert told.descriptions()["first"].startswith("v5/")
