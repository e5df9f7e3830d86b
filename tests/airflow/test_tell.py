"""``dagferry-puller run --airflow`` on a real Airflow 3 and 2.11, at their default settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.airflowsites import AirflowSite, make_airflow_site

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("tell")


@pytest.fixture(scope="module", params=[3, 2], ids=["3", "2.11"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowSite]:
    """A site whose puller tells Airflow."""
    major = request.param
    python = request.getfixturevalue(f"airflow{major}_python")
    site = make_airflow_site(tmp_path_factory.mktemp(f"told{major}"), python, major)
    try:
        site.wait_parsed(site.start(told=True))
        yield site
    finally:
        site.close()


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
    assert info["files_told"] >= 2
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
    info = told.wait_parsed(mended)
    assert (info["import_errors"], info["detail"]) == (0, "")


def test_a_rollback_is_parsed(told: AirflowSite) -> None:
    old = told.commit
    told.wait_parsed(told.publish(told.dag("first", "v4")))
    told.site.dagctl("rollback", "--no-hold")
    told.wait_parsed(old)
    assert told.descriptions()["first"].startswith("v3/")


def test_a_new_and_a_deleted_dag_are_seen_at_once_by_airflow_3(told: AirflowSite) -> None:
    if told.major == 2:
        return  # looks for files every dag_dir_list_interval, 300 s, and cannot be told
    commit = told.publish({"dags/second.py": None, **told.dag("third", "v1")})
    told.wait_parsed(commit)
    told.wait("the new one is there and the deleted one is not", lambda info: info["dags"] == 2)
    assert set(told.descriptions()) == {"first", "third"}


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
