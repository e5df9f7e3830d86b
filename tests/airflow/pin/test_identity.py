"""What a real Airflow 2.11 records of a tree is the same with the pin and without, to the letter."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from support.bundles import Symlink
from support.deployments import set_times
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.airflow2 import Airflow2
    from support.deployments import Deployment

DAG = """
from airflow import DAG
from airflow.operators.bash import BashOperator
from datetime import datetime
import os
with DAG({dag_id!r}, start_date=datetime(2026, 1, 1), schedule=None, doc_md=f"{{__name__}}") as dag:
    BashOperator(task_id="template", bash_command="template.sh")
"""


def zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inner.py", text)
    return buffer.getvalue()


def tree() -> dict[str, Any]:
    plain = "from airflow import DAG\nDAG('{}')\n"
    return {
        "dags/etl.py": DAG.format(dag_id="etl"),
        "dags/template.sh": "echo template\n",
        "dags/deep/down/nested.py": "from airflow import DAG\ndag = DAG('nested', doc_md=__name__)\n",
        "dags/packed.zip": zipped("from airflow import DAG\ndag = DAG('packed', doc_md=__name__)\n"),
        "dags/linked": Symlink("../team"),
        "team/linked.py": "from airflow import DAG\ndag = DAG('linked', doc_md=__name__)\n",
        "dags/.airflowignore": "ignored\n",
        "dags/ignored/never.py": plain.format("never"),
        "dags/broken.py": "from airflow import DAG\nimport nothing_here\n",
        "dags/cycle.py": "from airflow import DAG\nfrom airflow.operators.empty import EmptyOperator\n"
        "with DAG('cycle') as dag:\n    a = EmptyOperator(task_id='a')\n    a >> EmptyOperator(task_id='b') >> a\n",
        "dags/no_dag.py": "NOTHING = 1\n",
    }


TABLES = {
    "dag": "SELECT dag_id, fileloc, processor_subdir, is_active FROM dag ORDER BY 1",
    "serialized": "SELECT dag_id, fileloc, fileloc_hash, dag_hash, data FROM serialized_dag ORDER BY 1",
    "code": "SELECT fileloc, fileloc_hash, source_code FROM dag_code ORDER BY 1",
    "errors": "SELECT filename, stacktrace, processor_subdir FROM import_error ORDER BY 1",
}


def recorded(airflow: Airflow2) -> dict[str, Any]:
    """Let a scheduler parse all; returns all that it recorded."""
    scheduler = airflow.scheduler()
    wait_for(
        lambda: len(airflow.ask(TABLES["code"])) >= 4 and len(airflow.import_errors()) >= 2, "all is parsed", seconds=60
    )
    scheduler.stop()
    found = {name: airflow.ask(query) for name, query in TABLES.items()}
    for row in found["serialized"]:
        row["data"] = json.loads(row["data"])
    return found


@pytest.mark.parametrize("below", ["dags", ""])
def test_what_is_recorded_is_the_same(
    deployment: Deployment, make_airflow: Callable[..., Airflow2], below: str
) -> None:
    files = tree()
    if not below:
        del files["dags/linked"]  # Airflow parses nothing at all if it finds a directory twice
    deployment.deploy(files)
    folder = deployment.link / below
    plain, pinned = make_airflow(folder, pin=False), make_airflow(folder)
    assert recorded(pinned) == recorded(plain)
    assert {row["dag_id"] for row in pinned.ask(TABLES["dag"])} >= {"etl", "nested", "packed", "linked"}
    assert {row["filename"] for row in pinned.ask(TABLES["errors"])} == {
        f"{deployment.link}/dags/{name}.py" for name in ("broken", "cycle")
    }


def test_equal_times_and_a_bytecode_cache_serve_nothing_stale(deployment: Deployment, airflow: Airflow2) -> None:
    airflow.environ["PYTHONPYCACHEPREFIX"] = str(deployment.directory / "bytecode")
    dag = "from airflow import DAG\nimport helper\ndag = DAG('cached', doc_md=str(helper.VERSION))\n"
    versions = [deployment.deploy({"cached.py": dag, "helper.py": f"VERSION = {number}\n"}) for number in (1, 2)]
    for version in versions:
        set_times(deployment.pod.version(version.version), 1_700_000_000)
    deployment.close()
    for number, version in enumerate(versions, 1):
        link = deployment.pod.root / "new"
        link.symlink_to(f"versions/{version.version}")
        link.replace(deployment.link)
        airflow.call("dags", "reserialize")
        assert airflow.wait_parsed("cached", str(number))
    assert any((deployment.directory / "bytecode").rglob("helper*.pyc"))
