"""``dagctl wait`` on a real Airflow 3 and 2.11, beside a puller that does not tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.airflowsites import AirflowSite, make_airflow_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=[3, 2], ids=["3", "2.11"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowSite]:
    python = request.getfixturevalue(f"airflow{request.param}_python")
    # Airflow looks at files that did not change more often, so that the tests need not wait for half a minute.
    interval = {
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "2",
    }
    site = make_airflow_site(tmp_path_factory.mktemp(f"wait{request.param}"), python, request.param, **interval)
    try:
        site.start(told=False)
        site.site.dagctl.environ |= {"DAGFERRY_AIRFLOW": site.server.url, **site.server.environ()}
        site.site.dagctl.environ |= {"DAGFERRY_PULLER": f"http://127.0.0.1:{site.running.port}"}
        yield site
    finally:
        site.close()


def test_a_publish_is_waited_for_until_it_is_parsed(place: AirflowSite) -> None:
    dagctl = place.site.dagctl
    dagctl("wait", "--timeout", "2m")
    assert dagctl("wait", "--snapshot", "before.json", "--json").json["dags"] == 2
    commit = place.publish({"dags/helper.py": "WORD = 'h2'\n", **place.dag("first", "v2")})
    found = dagctl("wait", "--baseline", "before.json", "--timeout", "2m", "--settle", "1s", "--json").json
    assert place.descriptions() == {"first": "v2/h2", "second": "v1/h2"}
    assert (found["commit"], found["after"]) == (commit, {"dags": 2, "import_errors": 0})


def test_a_broken_publish_is_rolled_back_by_itself(place: AirflowSite) -> None:
    site, good = place.site, place.commit
    site.dagctl("wait", "--snapshot", "before.json")
    place.publish({"dags/first.py": "import airflow\nraise RuntimeError('no dag')\n"})
    undo = ("--baseline", "before.json", "--rollback-on-failure", "--timeout", "2m", "--settle", "1s")
    result = site.dagctl("wait", *undo, "--json", code=12)
    assert [one["error"] for one in result.json["new_import_errors"]] == ["RuntimeError: no dag"]
    assert f"rolled back to commit {good[:12]}" in result.error["message"]
    assert site.pointer()["held"]
    place.wait_live(good)
    site.dagctl("wait", "--baseline", "before.json", "--timeout", "2m", "--settle", "1s")
