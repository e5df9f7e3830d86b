"""Deployments under a real Airflow 2.11 scheduler with the pin: what it stores is the new version, all of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from support.waiting import wait_for

if TYPE_CHECKING:
    from support.airflow2 import Airflow2
    from support.deployments import Deployment

    Running = tuple[Deployment, Airflow2]

NUMBERS = itertools.count(1)
DAG = """
from airflow import DAG
from datetime import datetime
import {helper}
doc = f"file={number} helper={{{helper}.VERSION}}"
dag = DAG({dag_id!r}, start_date=datetime(2026, 1, 1), schedule=None, doc_md=doc)
"""


def dag_file(dag_id: str, number: int, helper: str = "helper") -> str:
    return DAG.format(dag_id=dag_id, number=number, helper=helper)


def doc(number: int) -> str:
    return f"file={number} helper={number}"


def tree(number: int, **changes: str | None) -> dict[str, str]:
    files = {"etl": dag_file("etl", number), "helper": f"VERSION = {number}\n", **changes}
    return {f"{name}.py": text for name, text in files.items() if text is not None}


def test_update_and_rollback_are_stored_whole_under_the_path_through_the_link(running: Running) -> None:
    deployment, airflow = running
    old, new = next(NUMBERS), next(NUMBERS)
    first = deployment.deploy(tree(old))
    for number in (old, new, old):
        if number == new:
            deployment.deploy(tree(new))
        elif deployment.pod.live() != first.version:
            deployment.back_to(first)
        found = airflow.wait_parsed("etl", doc(number))
        assert found.filelocs == (f"{deployment.link}/etl.py",) * 4
        assert found.folder == str(deployment.link)
        assert found.code == dag_file("etl", number)


def test_a_new_dag_appears_and_a_deleted_one_goes(running: Running) -> None:
    deployment, airflow = running
    number = next(NUMBERS)
    deployment.deploy(tree(number, more=dag_file("more", number)))
    airflow.wait_parsed("more", doc(number))
    number = next(NUMBERS)
    deployment.deploy(tree(number))
    airflow.wait_gone("more")
    airflow.wait_parsed("etl", doc(number))


def test_a_helper_module_may_be_renamed(running: Running) -> None:
    deployment, airflow = running
    number = next(NUMBERS)
    deployment.deploy(tree(number))
    airflow.wait_parsed("etl", doc(number))
    number = next(NUMBERS)
    deployment.deploy(tree(number, helper=None, etl=dag_file("etl", number, "other"), other=f"VERSION = {number}\n"))
    airflow.wait_parsed("etl", doc(number))
    assert airflow.import_errors() == {}


def test_an_import_error_is_recorded_under_the_link_and_goes_with_its_fix(running: Running) -> None:
    deployment, airflow = running
    deployment.deploy(tree(next(NUMBERS), helper=None))
    error = airflow.wait_import_error(f"{deployment.link}/etl.py")
    assert "No module named 'helper'" in error
    assert "versions/" not in error
    number = next(NUMBERS)
    deployment.deploy(tree(number))
    airflow.wait_parsed("etl", doc(number))
    wait_for(lambda: not airflow.import_errors(), "no import errors")


def test_parses_go_on_while_the_store_is_away(running: Running) -> None:
    deployment, airflow = running
    number = next(NUMBERS)
    deployment.deploy(tree(number))
    airflow.wait_parsed("etl", doc(number))
    away = deployment.simulator.directory.with_name("away")
    deployment.simulator.directory.rename(away)
    airflow.wait_parsed_again("etl", airflow.last_parsed("etl"))
    airflow.wait_parsed("etl", doc(number))
    away.rename(deployment.simulator.directory)
    number = next(NUMBERS)
    deployment.deploy(tree(number))
    airflow.wait_parsed("etl", doc(number))


def test_a_swap_within_a_parse_does_not_reach_it(deployment: Deployment, airflow: Airflow2) -> None:
    gated = tree(1)
    gated["etl.py"] = f"{deployment.prelude}\ngate('parse')\n{gated['etl.py']}"
    deployment.start(keep="1", keep_hours="0")
    one = deployment.deploy(gated)
    airflow.scheduler()
    deployment.wait_reached("parse")
    for number in (2, 3, 4):
        deployment.deploy(tree(number))
    assert one.version in deployment.pod.versions()  # neither live nor previous nor kept: leased
    deployment.open("parse")
    assert airflow.docs_seen("etl", doc(4))[0] == doc(1)
    deployment.deploy(tree(5))
    deployment.wait_retired(one)
