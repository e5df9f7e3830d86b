"""A real Airflow 2.11 whose DAGs folder is a puller's link, with the pin or without, and its clocks turned up."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.airflowproc import AirflowHome
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.airflowproc import Running

PIN = "from dagferry_puller.airflow import pin\n\npin.install()\n"
PARSED_SECONDS = 60.0


@dataclass(frozen=True)
class Parsed:
    """What Airflow stored of a DAG at its last parse, and where it says that the DAG is.

    Attributes:
        doc: the value of its ``doc_md``.
        filelocs: in the tables dag, serialized_dag and dag_code, and in the serialized DAG.
        folder: ``_processor_dags_folder`` of the serialized DAG.
        code: what the Code tab shows.
        active: whether the file is still there.
    """

    doc: str
    filelocs: tuple[str, str, str, str]
    folder: str
    code: str
    active: bool


class Airflow2(AirflowHome):
    """An Airflow 2.11 on SQLite, with LocalExecutor: each task is a fork of the scheduler's, as with Celery.

    Args:
        home: directory to make.
        python: interpreter of its environment.
        folder: ``dags_folder``.
        pin: whether its local settings install the pin.
        settings: more of Airflow's, as ``section__key``.
    """

    def __init__(self, home: Path, python: Path, folder: Path, *, pin: bool = True, **settings: object) -> None:
        ours = {
            "core__dags_folder": folder,
            "core__dags_are_paused_at_creation": False,
            "core__executor": "LocalExecutor",
            "core__parallelism": 3,
            # A DAG that was stored less than 30 s ago would wait for its next parse; deployments are further apart.
            "core__min_serialized_dag_update_interval": 0,
            "scheduler__min_file_process_interval": 1,
            "scheduler__dag_dir_list_interval": 300 if pin else 1,  # 300 is the default: the pin needs no less
            "scheduler__scheduler_idle_sleep_time": 0.1,
            "scheduler__enable_health_check": False,
            "metrics__timer_unit_consistency": True,  # else a warning at each start
        }
        super().__init__(home, python, {**ours, **settings})
        self.environ["_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK"] = "1"  # LocalExecutor on SQLite
        self.folder = folder
        (home / "config").mkdir()
        shutil.copy(_empty_database(self), self.database)
        if pin:
            (home / "config/airflow_local_settings.py").write_text(PIN)

    def scheduler(self) -> Running:
        """Start a scheduler, which parses too, and wait until it has looked for files."""
        running = self.start("scheduler")
        running.wait_log("Launched DagFileProcessorManager")
        return running

    # What Airflow knows

    def parsed(self, dag_id: str) -> Parsed | None:
        """Return what is stored of a DAG; None if it is not there."""
        rows = self.ask(
            "SELECT s.data, s.fileloc AS serialized, d.fileloc, d.is_active, c.fileloc AS code_at, c.source_code"
            " FROM dag d JOIN serialized_dag s ON s.dag_id = d.dag_id"
            " LEFT JOIN dag_code c ON c.fileloc_hash = s.fileloc_hash WHERE d.dag_id = ?",
            dag_id,
        )
        if not rows:
            return None
        row = rows[0]
        data = json.loads(row["data"])["dag"]
        filelocs = (row["fileloc"], row["serialized"], row["code_at"], data["fileloc"])
        doc, folder = data.get("doc_md", ""), data["_processor_dags_folder"]
        return Parsed(doc, filelocs, folder, row["source_code"], bool(row["is_active"]))

    def wait_parsed(self, dag_id: str, doc: str) -> Parsed:
        """Wait until a DAG is stored and active with this ``doc_md``."""

        def look() -> Parsed | None:
            found = self.parsed(dag_id)
            return found if found and found.doc == doc and found.active else None

        found = wait_for(look, f"{dag_id} is parsed as {doc!r}", seconds=PARSED_SECONDS)
        assert found is not None
        return found

    def wait_gone(self, dag_id: str) -> None:
        """Wait until a DAG is neither active nor serialized."""
        wait_for(lambda: self.parsed(dag_id) is None, f"{dag_id} is gone", seconds=PARSED_SECONDS)

    def import_errors(self) -> dict[str, str]:
        """Return the import errors by file."""
        return {row["filename"]: row["stacktrace"] for row in self.ask("SELECT * FROM import_error")}

    def wait_import_error(self, filename: str) -> str:
        """Wait until a file has an import error; returns its text."""
        return wait_for(lambda: self.import_errors().get(filename, ""), f"{filename} fails", seconds=PARSED_SECONDS)

    def last_parsed(self, dag_id: str) -> str:
        """Return when a DAG was parsed last."""
        rows = self.ask("SELECT last_parsed_time FROM dag WHERE dag_id = ?", dag_id)
        return str(rows[0]["last_parsed_time"])

    def wait_parsed_again(self, dag_id: str, last: str) -> None:
        """Wait until a DAG was parsed after that."""
        wait_for(lambda: self.last_parsed(dag_id) > last, f"{dag_id} is parsed again", seconds=PARSED_SECONDS)

    def docs_seen(self, dag_id: str, last: str) -> list[str]:
        """Return each ``doc_md`` that is stored, in their order, until the last one."""
        seen: list[str] = []

        def look() -> bool:
            found = self.parsed(dag_id)
            if found and found.doc not in seen[-1:]:
                seen.append(found.doc)
            return last in seen

        wait_for(look, f"{dag_id} is parsed as {last!r}", seconds=PARSED_SECONDS)
        return seen

    def trigger(self, dag_id: str, run: str) -> None:
        """Start a run."""
        self.call("dags", "trigger", dag_id, "--run-id", run)

    def wait_run(self, dag_id: str, run: str) -> dict[str, str]:
        """Wait until all of a run has ended; returns the states of its tasks."""
        query = "SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ? AND state IN ('success', 'failed')"
        wait_for(lambda: self.ask(query, dag_id, run), f"run {run} ends", seconds=PARSED_SECONDS)
        rows = self.ask("SELECT task_id, state FROM task_instance WHERE dag_id = ? AND run_id = ?", dag_id, run)
        return {row["task_id"]: row["state"] for row in rows}


def _empty_database(airflow: Airflow2) -> Path:
    """Return a migrated database; made once for an installation, whoever comes first."""
    cache = airflow.python.parents[1]
    ready = cache / "empty.db"
    with (cache / ".empty.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.stat().st_mtime < (cache / ".ready").stat().st_mtime:
            airflow.call("db", "migrate")
            shutil.copy(airflow.database, cache / "empty.new")
            os.replace(cache / "empty.new", ready)
    return ready
