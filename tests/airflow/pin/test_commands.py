"""Airflow 2.11's commands with the pin: ``dags test``, ``dags backfill``, what they start, and other Airflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.airflow2 import PIN
from support.airflowproc import AirflowHome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.airflow2 import Airflow2
    from support.deployments import Deployment

TEST = """
import sys
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.python import ExternalPythonOperator, PythonOperator
def wait():
    gate("test")
    import late
    report(f"late {late.VERSION}")
def external(function):
    return function.__name__
child = "import airflow; from airflow import settings; import late; print(late.VERSION, settings.DAGS_FOLDER)"
with DAG("commands", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    first = PythonOperator(task_id="wait", python_callable=wait)
    second = BashOperator(task_id="child", bash_command=f"{sys.executable} -c '{child}' >> {AT}/report")
    third = ExternalPythonOperator(
        task_id="external", python=sys.executable, python_callable=external, op_args=[external], expect_airflow=False
    )
    first >> second >> third
"""


def test_a_command_and_what_it_starts_see_the_version_it_began_with(deployment: Deployment, airflow: Airflow2) -> None:
    airflow.environ["PYTHONPATH"] = str(deployment.link)
    files = {"commands.py": deployment.prelude + TEST, "late.py": "VERSION = 1\n"}
    one = deployment.deploy(files)
    running = airflow.start("dags", "test", "commands", "2026-01-01")
    deployment.wait_reached("test")
    deployment.deploy(files | {"late.py": "VERSION = 2\n"})
    deployment.open("test")
    assert running.process.wait(timeout=60) == 0, running.text()
    assert deployment.reports() == ["late 1", f"1 {deployment.pod.version(one.version)}"]
    assert "state=success" in running.text()


BACKFILL = """
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator
import late as early
def work():
    import late
    report(f"{early.VERSION} {late.VERSION} {dag.relative_fileloc}")
with DAG("backfill", start_date=datetime(2026, 1, 1), schedule="@daily") as dag:
    PythonOperator(task_id="work", python_callable=work)
"""


def test_a_backfill_runs_its_tasks_in_its_version(deployment: Deployment, airflow: Airflow2) -> None:
    deployment.deploy({"backfill.py": deployment.prelude + BACKFILL, "late.py": "VERSION = 1\n"})
    airflow.call("dags", "reserialize")
    airflow.call("dags", "backfill", "backfill", "-s", "2026-01-01", "-e", "2026-01-02")
    assert deployment.reports() == ["1 1 backfill.py"] * 2


def test_parsers_that_are_spawned_are_pinned(deployment: Deployment, make_airflow: Callable[..., Airflow2]) -> None:
    spawn = "from airflow import DAG\nimport late\ndag = DAG('spawned', doc_md=__file__ + str(late.VERSION))\n"
    one = deployment.deploy({"spawned.py": spawn, "late.py": "VERSION = 1\n"})
    airflow = make_airflow(core__mp_start_method="spawn")
    airflow.scheduler()
    found = airflow.wait_parsed("spawned", f"{deployment.pod.version(one.version)}/spawned.py1")
    assert found.filelocs == (f"{deployment.link}/spawned.py",) * 4


PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
import shared
class Plug(AirflowPlugin):
    name = "plug"
    macros = []
    listeners = []
"""
PLUGGED = """
from airflow import DAG
import shared, plug
dag = DAG("plugged", doc_md=f"FILE {shared.VERSION} {plug.VERSION}")
"""


def test_modules_beside_plugins_behind_the_link_are_of_the_dag_s_version(
    deployment: Deployment, make_airflow: Callable[..., Airflow2]
) -> None:

    def tree(number: int) -> dict[str, str]:
        line = f"VERSION = {number}\n"
        dag = PLUGGED.replace("FILE", str(number))
        return {"dags/plugged.py": dag, "plugins/plug.py": PLUGIN + line, "plugins/shared.py": line}

    deployment.deploy(tree(1))
    airflow = make_airflow(deployment.link / "dags", core__plugins_folder=deployment.link / "plugins")
    airflow.scheduler()  # it loads the plugins of version 1, as long as it lives
    airflow.wait_parsed("plugged", "1 1 1")
    deployment.deploy(tree(2))
    found = airflow.wait_parsed("plugged", "2 2 2")
    assert found.filelocs == (f"{deployment.link}/dags/plugged.py",) * 4
    assert found.folder == f"{deployment.link}/dags"


def test_airflow_3_is_left_alone(tmp_path: Path, airflow3_python: Path) -> None:
    airflow = AirflowHome(tmp_path / "three", airflow3_python, {})
    (airflow.home / "config").mkdir()
    (airflow.home / "config/airflow_local_settings.py").write_text(PIN)
    printed = airflow.call("config", "get-value", "core", "executor")
    assert "it knows Airflow 2.10 and 2.11, this is 3." in printed
