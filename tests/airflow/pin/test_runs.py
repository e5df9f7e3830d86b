"""Tasks and callbacks of a real Airflow 2.11 while versions change: each sees one, and keeps it from going."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.bundles import File

if TYPE_CHECKING:
    from support.airflow2 import Airflow2
    from support.deployments import Deployment

DAG = """
import json, subprocess
from datetime import datetime
from airflow import DAG, settings
from airflow.configuration import conf
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator
HERE = os.path.dirname(__file__)
def text(*path):
    return open(os.path.join(*path)).read().strip()
def seen():
    import late
    return [
        NUMBER, late.VERSION, text(HERE, "data.txt"), text(conf.get("core", "dags_folder"), "data.txt"),
        text(settings.DAGS_FOLDER, "data.txt"), text(dag.folder, "data.txt"),
        subprocess.run(["sh", f"{HERE}/script.sh"], capture_output=True, text=True).stdout.strip(),
        subprocess.run(["cat $AIRFLOW__CORE__DAGS_FOLDER/data.txt"], shell=True, capture_output=True, text=True).stdout,
    ]
def work():
    gate("python")
    report("python " + json.dumps(seen()))
def failed(context):
    gate("callback")
    report("callback " + json.dumps(seen()))
def fail():
    raise ValueError("on purpose")
command = "echo bash NUMBER {{ gate('bash') or '' }} {% include 'part.txt' %} $(sh {{ dag.folder }}/script.sh) >> "
once = {"schedule": "@once", "start_date": datetime(2026, 1, 1), "doc_md": "NUMBER"}
with DAG("run", user_defined_macros={"gate": gate}, **once) as dag:
    PythonOperator(task_id="python", python_callable=work)
    BashOperator(task_id="bash", bash_command=command + AT + "/report")
with DAG("failing", on_failure_callback=failed, **once):
    PythonOperator(task_id="fail", python_callable=fail)
"""


def tree(deployment: Deployment, number: int) -> dict[str, object]:
    return {
        "run.py": deployment.prelude + DAG.replace("NUMBER", str(number)),
        "late.py": f"VERSION = {number}\n",
        "data.txt": str(number),
        "part.txt": str(number),
        "script.sh": File(f"echo {number}\n".encode(), executable=True),
    }


def test_a_task_and_a_callback_see_their_version_to_the_end_and_keep_it(
    deployment: Deployment, airflow: Airflow2
) -> None:
    deployment.start(keep="1", keep_hours="0")
    one = deployment.deploy(tree(deployment, 1))
    airflow.scheduler()
    for gate in ("python", "bash", "callback"):
        deployment.wait_reached(gate)
    for number in (2, 3, 4):
        deployment.deploy(tree(deployment, number))
    assert one.version in deployment.pod.versions()  # neither live nor previous nor kept: leased
    for gate in ("python", "bash", "callback"):
        deployment.open(gate)
    for start in ("python ", "callback "):
        assert deployment.wait_report(start) == '[1, 1, "1", "1", "1", "1", "1", "1"]'
    assert deployment.wait_report("bash ") == "1 1 1"
    airflow.wait_run("run", "scheduled__2026-01-01T00:00:00+00:00")
    airflow.wait_parsed("run", "4")
    deployment.deploy(tree(deployment, 5))
    deployment.wait_retired(one)
