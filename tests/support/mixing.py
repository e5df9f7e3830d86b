"""The mixing experiment: a real Airflow parses and runs without pause while a real puller swaps versions under it."""

from __future__ import annotations

import json
import random
import shutil
import socket
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support import mixdags
from support.airflow2 import Airflow2
from support.airflowproc import AirflowHome
from support.bundles import Simulator
from support.deployments import Deployment
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.mixdags import Outcome

FIRST_SECONDS = 120.0  # until a whole Airflow has run a task, on two busy cores


@dataclass(frozen=True)
class System:
    """An Airflow and how it gets at the puller's root.

    Attributes:
        airflow: 2 or 3: the major version.
        what: of the DAGs folder or bundle, for people.
        make: an Airflow of a home, an interpreter and a root; with its processes running.
    """

    airflow: int
    what: str
    make: Callable[[Path, Path, Path], AirflowHome]


def _two(*, pin: bool) -> Callable[[Path, Path, Path], AirflowHome]:
    def make(home: Path, python: Path, root: Path) -> AirflowHome:
        airflow = Airflow2(home, python, root / "current", pin=pin, scheduler__min_file_process_interval=0)
        airflow.scheduler()
        return airflow

    return make


def _three(classpath: str, kwargs: Callable[[Path], dict[str, object]]) -> Callable[[Path, Path, Path], AirflowHome]:
    def make(home: Path, python: Path, root: Path) -> AirflowHome:
        bundle = {"name": "etl", "classpath": classpath, "kwargs": {"refresh_interval": 1, **kwargs(root)}}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        airflow = AirflowHome(
            home,
            python,
            {
                "dag_processor__dag_bundle_config_list": json.dumps([bundle]),
                "dag_processor__dag_bundle_storage_path": home / "bundles",
                "dag_processor__bundle_refresh_check_interval": 1,
                "dag_processor__min_file_process_interval": 0,
                "core__min_serialized_dag_update_interval": 0,
                "core__dags_are_paused_at_creation": False,
                "core__executor": "LocalExecutor",
                "core__parallelism": 3,
                "core__simple_auth_manager_all_admins": True,
                "core__execution_api_server_url": f"http://127.0.0.1:{port}/execution/",
                "api__port": port,
                "api__host": "127.0.0.1",
                "api__base_url": f"http://127.0.0.1:{port}",
                "api__workers": 1,
                "api_auth__jwt_secret": "not-secret-" * 8,
                "scheduler__enable_health_check": False,
            },
        )
        airflow.call("db", "migrate")
        for service in ("api-server", "dag-processor", "scheduler"):
            airflow.start(service)
        return airflow

    return make


LOCAL = "airflow.dag_processing.bundles.local.LocalDagBundle"
DAGFERRY = "dagferry_puller.airflow.DagferryBundle"
SYSTEMS = {
    "2-link": System(2, "dags_folder is the link", _two(pin=False)),
    "2-pin": System(2, "dags_folder is the link, with the pin", _two(pin=True)),
    "3-link": System(3, "LocalDagBundle on the link", _three(LOCAL, lambda root: {"path": str(root / "current")})),
    "3-bundle": System(3, "DagferryBundle", _three(DAGFERRY, lambda root: {"root": str(root)})),
}


def experiment(
    system: System, directory: Path, python: Path, swaps: int, *, until: Callable[[Outcome], bool] = lambda _: False
) -> tuple[Outcome, int, float]:
    """Swap versions under an Airflow.

    Args:
        system: to be watched.
        directory: empty.
        python: interpreter of its Airflow.
        swaps: how many.
        until: ends it early.

    Returns:
        What was seen, the number of swaps, and the seconds that they took.
    """
    report, pauses = directory / "report", random.Random(swaps)
    with closing(Deployment(directory, Simulator(directory / "store"))) as deployment:
        deployment.start(period="0.05", log_level="info")
        deployment.deploy(mixdags.tree(1, report, airflow=system.airflow))
        with closing(system.make(directory / "airflow", python, deployment.pod.root)):
            wait_for(lambda: mixdags.outcome(report).runs, "a task runs", seconds=FIRST_SECONDS)
            start, done = time.monotonic(), 0
            while done < swaps and not until(mixdags.outcome(report)):
                done += 1
                deployment.deploy(mixdags.tree(done + 1, report, airflow=system.airflow))
                time.sleep(pauses.uniform(0.2, 1.2))  # not to wait for anything: swaps fall where they may
            seconds = time.monotonic() - start
    shutil.rmtree(deployment.pod.root / "versions", ignore_errors=True)
    return mixdags.outcome(report), done, seconds
