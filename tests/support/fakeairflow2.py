"""The few parts of Airflow 2.11 that the pin changes, as plain modules with Airflow's names and signatures.

Only what the pin touches is there, written as Airflow writes it; whether Airflow still is like this, ``tests/airflow``
shows on the real one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.dagctl import TOP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SETTINGS = """
import os, sys
DAGS_FOLDER = os.environ.get("AIRFLOW__CORE__DAGS_FOLDER", os.environ["FOLDER"])
PLUGINS_FOLDER = os.environ.get("AIRFLOW__CORE__PLUGINS_FOLDER", os.path.join(os.environ["FOLDER"], "plugins"))
def get_dagbag_import_timeout(path):
    asked.append(path)
    return 30
asked = []
def initialize():
    sys.path.append(PLUGINS_FOLDER)
    import airflow_local_settings
    if DAGS_FOLDER not in sys.path:
        sys.path.append(DAGS_FOLDER)
"""
_FILE = """
import hashlib, os
def get_unique_dag_module_name(path):
    return "unusual_" + hashlib.sha1(path.encode()).hexdigest() + "_" + os.path.basename(path)[:-3]
def list_py_file_paths(directory, safe_mode=True, include_examples=None):
    if os.path.isfile(directory):
        return [str(directory)]
    return sorted(os.path.join(at, name) for at, _, names in os.walk(directory) for name in names if "dag" in name)
def correct_maybe_zipped(path):
    return path
def open_maybe_zipped(path, mode="r"):
    return open(path, mode)
"""
_DAG = """
import os, pathlib, sys
from airflow import settings
class DAG:
    def __init__(self, dag_id):
        self.dag_id = dag_id
        self._processor_dags_folder = None
        self.fileloc = sys._getframe().f_back.f_code.co_filename
    @property
    def relative_fileloc(self):
        return pathlib.Path(self.fileloc).relative_to(self._processor_dags_folder or settings.DAGS_FOLDER)
    @property
    def folder(self):
        return os.path.dirname(self.fileloc)
"""
_DAGBAG = """
import importlib.util, os, sys
from airflow import settings
from airflow.utils.file import correct_maybe_zipped, get_unique_dag_module_name, list_py_file_paths
class DagBag:
    def __init__(self, folder=None):
        self.dags, self.file_last_changed, self.import_errors, self.captured_warnings = {}, {}, {}, {}
        self.parsed = 0
        for path in list_py_file_paths(folder or settings.DAGS_FOLDER):
            self.process_file(path)
    def process_file(self, filepath, only_if_updated=True, safe_mode=True):
        from airflow.models.dag import DAG
        if filepath is None or not os.path.isfile(filepath):
            return []
        changed = os.path.getmtime(filepath)
        if only_if_updated and self.file_last_changed.get(filepath) == changed:
            return []
        self.parsed += 1
        settings.get_dagbag_import_timeout(filepath)
        name = get_unique_dag_module_name(filepath)
        spec = importlib.util.spec_from_file_location(name, filepath)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            self.import_errors[filepath] = f"{filepath}: {error}"
            return []
        self.captured_warnings[filepath] = (f"{filepath}:1: old", "else")
        found = [value for value in vars(module).values() if isinstance(value, DAG)]
        for dag in found:
            dag.fileloc = module.__file__
            self.dags[dag.dag_id] = dag
        self.file_last_changed[filepath] = changed
        return found
"""
_CODE = """
import os
from airflow.utils.file import correct_maybe_zipped, open_maybe_zipped
def code(fileloc):
    os.path.getmtime(correct_maybe_zipped(fileloc))
    with open_maybe_zipped(fileloc, "r") as file:
        return file.read()
"""
_MANAGER = """
import pathlib
from datetime import UTC, datetime
from airflow import settings
from airflow.utils.file import list_py_file_paths
class DagFileProcessorManager:
    def __init__(self):
        self._dag_directory = pathlib.Path(settings.DAGS_FOLDER)
        self.last_dag_dir_refresh_time = datetime.fromtimestamp(0, UTC)
    def get_dag_directory(self):  # as in 2.10
        return str(self._dag_directory.resolve())
    def _refresh_dag_dir(self):
        now = datetime.now(UTC)
        if (now - self.last_dag_dir_refresh_time).total_seconds() < 300:
            return False
        self._file_paths = list_py_file_paths(settings.DAGS_FOLDER)
        self.last_dag_dir_refresh_time = now
        return True
"""
_PYTHON = """
class _BasePythonVirtualenvOperator:
    def _execute_python_callable_in_subprocess(self, python_path):
        return self.callable.__code__.co_filename == self.dag.fileloc
"""
MODULES = {
    "__init__": '__version__ = "2.11.2"\nfrom airflow import settings\nsettings.initialize()\n',
    "settings": _SETTINGS,
    "utils/__init__": "",
    "utils/file": _FILE,
    "models/__init__": "",
    "models/dag": _DAG,
    "models/dagbag": _DAGBAG,
    "models/dagcode": _CODE,
    "dag_processing/__init__": "",
    "dag_processing/manager": _MANAGER,
    "serialization/__init__": "",
    "serialization/serialized_objects": "from airflow.settings import DAGS_FOLDER\n",
    "operators/__init__": "",
    "operators/python": _PYTHON,
}
_LOCAL_SETTINGS = "from dagferry_puller.airflow import pin\npin.install()\n"


@dataclass
class FakeAirflow:
    """An installation of it, and processes that use it.

    Args:
        directory: to make.
        folder: the DAGs folder.
        changes: modules to write otherwise.
    """

    directory: Path
    folder: Path
    changes: Mapping[str, str] = field(default_factory=dict)
    local_settings: str = _LOCAL_SETTINGS

    def __post_init__(self) -> None:
        for name, text in {**MODULES, **self.changes}.items():
            path = self.directory / "airflow" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.directory / "airflow_local_settings.py").write_text(self.local_settings)

    def run(self, code: str, *argv: str, **environ: str) -> tuple[Any, str]:
        """Run code in a process of its own; returns the JSON of its last line, if it printed any, and its errors.

        Args:
            code: Python.
            argv: after ``airflow``.
            environ: more variables.
        """
        source = os.pathsep.join(str(TOP / part) for part in ("shared", "puller"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "DAGFERRY"))}
        paths = os.pathsep.join([str(self.directory), source, *filter(None, [environ.pop("PYTHONPATH", "")])])
        done = subprocess.run(
            [sys.executable, "-c", f"import json, os, sys\nsys.argv[0] = 'airflow'\n{code}", *argv],
            env={**kept, "PYTHONPATH": paths, "FOLDER": str(self.folder), **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return (json.loads(done.stdout.splitlines()[-1]) if done.stdout else None), done.stderr


# What a process of it may use: swap, is_leased, fork.
SWAP = """
def swap(version):
    root = os.path.dirname(os.environ["FOLDER"])
    os.symlink("versions/" + version, root + "/new")
    os.replace(root + "/new", root + "/current")
def is_leased(version):
    import fcntl
    with open(os.path.dirname(os.environ["FOLDER"]) + "/.dagferry/leases/" + version) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
def fork(work):
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, json.dumps(work()).encode())
        sys.exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        found = json.load(file)
    os.wait()
    return found
"""
BAG = """
import airflow
from airflow.models.dagbag import DagBag
"""


def parse(airflow: FakeAirflow, code: str, *argv: str, **environ: str) -> Any:
    found, errors = airflow.run(SWAP + BAG + code, *argv, **environ)
    assert errors == "", errors
    return found
