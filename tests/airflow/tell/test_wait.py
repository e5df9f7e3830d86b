"""``dagctl wait`` on a real Airflow 3 and 2.11."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.airflowsites import AirflowSite
    from support.dagctl import Dagctl

pytestmark = pytest.mark.xdist_group("told")
QUICK = ("--timeout", "2m", "--settle", "1s", "--json")


@pytest.fixture
def dagctl(told: AirflowSite) -> Dagctl:
    environ = {"DAGFERRY_AIRFLOW": told.server.url, **told.server.environ()}
    told.site.dagctl.environ |= {**environ, "DAGFERRY_PULLER": f"http://127.0.0.1:{told.running.port}"}
    return told.site.dagctl


def test_a_publish_is_waited_for_until_it_is_parsed(told: AirflowSite, dagctl: Dagctl) -> None:
    assert dagctl("wait", "--snapshot", "before.json", "--json").json["dags"] == 2
    commit = told.publish({"dags/helper.py": "WORD = 'waited'\n", **told.dag("first", "waited")})
    found = dagctl("wait", "--baseline", "before.json", *QUICK).json
    assert told.descriptions()["first"] == "waited/waited"
    assert told.descriptions()["second"].endswith("/waited")
    assert (found["commit"], found["after"]) == (commit, {"dags": 2, "import_errors": 0})


def test_a_broken_publish_is_rolled_back_by_itself(told: AirflowSite, dagctl: Dagctl) -> None:
    good = told.commit
    dagctl("wait", "--snapshot", "before.json")
    broken = told.publish({"dags/first.py": "import airflow\nraise RuntimeError('no dag')\n"})
    undo = ("--baseline", "before.json", "--rollback-on-failure")
    result = dagctl("wait", *undo, *QUICK, code=12)
    assert [one["error"] for one in result.json["new_import_errors"]] == ["RuntimeError: no dag"]
    assert f"rolled back to commit {good[:12]}" in result.error["message"]
    assert result.json["commit"] == broken
    assert told.site.pointer()["held"]
    told.wait_live(good)
    dagctl("wait", "--baseline", "before.json", *QUICK)
    dagctl("resume")
    told.publish(told.dag("first", "mended"))
