"""A real Airflow 3 with a ``DagferryBundle``: what it parsed, what it ran, and its clocks turned up."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.airflowproc import START_SECONDS, AirflowHome
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.airflowproc import Running

NAME = "etl"
CLASSPATH = "dagferry_puller.airflow.DagferryBundle"
PARSED_SECONDS = 60.0  # min_file_process_interval is 30 s, and stays so

_DAG = """
from __future__ import annotations
import pendulum
from airflow.sdk import DAG, task
{imports}
with DAG(dag_id={dag_id!r}, schedule=None, start_date=pendulum.datetime(2026, 1, 1), doc_md={doc}) as dag:
    @task
    def work():
{body}
    work()
"""


_GET = """
import pathlib, time
from airflow.dag_processing.bundles.manager import DagBundlesManager
bundle = DagBundlesManager().get_bundle({name!r}, version={version!r})
try:
    bundle.initialize()
    {more}
except Exception as error:
    print("FAILED", type(error).__name__, error)
else:
    print("GOT", bundle.path, bundle.get_current_version().version)
"""


def dag_file(dag_id: str, doc: str, *, imports: str = "", body: str = "        return None") -> str:
    """Return a DAG file.

    Args:
        dag_id: its id.
        doc: an expression; its value is stored by a parse, so it tells which code was parsed.
        imports: lines that go before it.
        body: lines of its one task.
    """
    return _DAG.format(dag_id=dag_id, doc=doc, imports=imports, body=body)


@dataclass(frozen=True)
class Parsed:
    """What Airflow stored of a DAG at its last parse.

    Attributes:
        doc: the value of its ``doc_md``.
        version: the bundle's version, as the DAG's newest DAG version has it.
        fileloc: path of the file that was parsed.
        code: what the Code tab shows.
        stale: whether the file is gone.
    """

    doc: str
    version: str | None
    fileloc: str
    code: str
    stale: bool


class Airflow3(AirflowHome):
    """An Airflow 3 with one bundle.

    Args:
        home: directory to make.
        python: interpreter of its environment.
        kwargs: of the bundle.
        settings: more of Airflow's, as ``section__key``.
    """

    def __init__(self, home: Path, python: Path, kwargs: Mapping[str, object], **settings: object) -> None:
        bundle = {"name": NAME, "classpath": CLASSPATH, "kwargs": {"refresh_interval": 1, **kwargs}}
        self.storage = home / "bundles"
        ours = {
            "dag_processor__dag_bundle_config_list": json.dumps([bundle]),
            "dag_processor__dag_bundle_storage_path": self.storage,
            "dag_processor__bundle_refresh_check_interval": 1,
            "api_auth__jwt_secret": "not-secret-" * 8,
            "core__auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "core__simple_auth_manager_all_admins": True,
            # A DAG that was stored less than 30 s ago would wait for its next parse; deployments are further apart.
            "core__min_serialized_dag_update_interval": 0,
        }
        super().__init__(home, python, {**ours, **settings})
        shutil.copy(_empty_database(self), self.database)

    @property
    def own_root(self) -> Path:
        """The bundle's own root."""
        return self.storage / NAME / "dagferry"

    def dag_processor(self, **environ: str) -> Running:
        """Start a dag-processor and wait until it has looked for files."""
        running = self.start("dag-processor", environ=environ)
        running.wait_log("Found ")
        return running

    def python_code(self, code: str, *, code_of_exit: int = 0) -> str:
        """Run code that uses Airflow; returns what it printed."""
        return self.execute([str(self.python), "-c", code], code=code_of_exit)

    def getting(self, version: str | None, more: str = "") -> list[str]:
        """Return the command of a process that gets a version as a task does, and says what it got."""
        return [str(self.python), "-c", _GET.format(name=NAME, version=version, more=more)]

    def get(self, version: str | None = None, more: str = "", environ: Mapping[str, str] | None = None) -> str:
        """Return the line that says what a new process got: ``GOT path version``, or ``FAILED error text``."""
        printed = self.execute(self.getting(version, more), environ=environ)
        return next(line for line in printed.splitlines() if line.startswith(("GOT", "FAILED")))

    # What Airflow knows

    def parsed(self, dag_id: str) -> Parsed | None:
        """Return what is stored of a DAG; None if it was never parsed."""
        rows = self.ask(
            "SELECT s.data, v.bundle_version, d.fileloc, d.is_stale, c.source_code FROM dag d"
            " JOIN dag_version v ON v.dag_id = d.dag_id JOIN serialized_dag s ON s.dag_version_id = v.id"
            " LEFT JOIN dag_code c ON c.dag_version_id = v.id"
            " WHERE d.dag_id = ? ORDER BY v.version_number DESC LIMIT 1",
            dag_id,
        )
        if not rows:
            return None
        row = rows[0]
        data = json.loads(row["data"])["dag"]
        return Parsed(data["doc_md"], row["bundle_version"], row["fileloc"], row["source_code"], bool(row["is_stale"]))

    def wait_parsed(self, dag_id: str, doc: str, *, seconds: float = PARSED_SECONDS) -> Parsed:
        """Wait until a DAG is stored, not stale, with this ``doc_md``."""

        def look() -> Parsed | None:
            found = self.parsed(dag_id)
            return found if found and found.doc == doc and not found.stale else None

        found = wait_for(look, f"{dag_id} is parsed as {doc!r}", seconds=seconds)
        assert found is not None
        return found

    def wait_stale(self, dag_id: str) -> None:
        """Wait until a DAG is known to be gone."""
        wait_for(lambda: (self.parsed(dag_id) or _GONE).stale, f"{dag_id} is gone", seconds=PARSED_SECONDS)

    def import_errors(self) -> dict[str, str]:
        """Return the import errors by file."""
        return {row["filename"]: row["stacktrace"] for row in self.ask("SELECT * FROM import_error")}

    def bundle_row(self) -> dict[str, Any]:
        """Return what is known of the bundle."""
        return self.ask("SELECT * FROM dag_bundle WHERE name = ?", NAME)[0]


_GONE = Parsed("", None, "", "", stale=True)


def _empty_database(airflow: Airflow3) -> Path:
    """Return a migrated database; made once for an installation, whoever comes first."""
    cache = airflow.python.parents[1]
    ready = cache / "empty.db"
    with (cache / ".empty.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = (cache / ".ready").stat().st_mtime
        if not ready.exists() or ready.stat().st_mtime < installed:
            airflow.call("db", "migrate")
            shutil.copy(airflow.database, cache / "empty.new")
            os.replace(cache / "empty.new", ready)
    return ready


__all__ = ["NAME", "START_SECONDS", "Airflow3", "Parsed", "dag_file"]
