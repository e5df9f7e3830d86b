"""An Airflow of 60 lines, for tests of the sandbox in the suite that installs none: the few names that are used."""

from __future__ import annotations

from pathlib import Path

from support.checks import write_tree

FILES = {
    "airflow/__init__.py": """
__version__ = "0.fake"
REGISTERED = []
class DAG:
    def __init__(self, dag_id, schedule=None, unserializable=False):
        self.dag_id, self.unserializable, self.fileloc = dag_id, unserializable, None
        REGISTERED.append(self)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
""",
    "airflow/settings.py": "DAGS_FOLDER = None\n",
    "airflow/configuration.py": """
class conf:
    @staticmethod
    def getboolean(section, name):
        return (section, name) == ("core", "dag_discovery_safe_mode")
""",
    "airflow/models/__init__.py": "",
    "airflow/models/dagbag.py": """
import os, traceback
import airflow
class DagBag:
    def __init__(self, dag_folder, collect_dags=True):
        self.dags, self.import_errors = {}, {}
        if collect_dags:
            self.collect_dags(dag_folder)
    def collect_dags(self, dag_folder):
        ignored = os.path.join(dag_folder, ".airflowignore")
        ignored = open(ignored).read().split() if os.path.exists(ignored) else []
        seen = set()
        for top, directories, names in os.walk(dag_folder, followlinks=True):
            if os.path.realpath(top) in seen:
                raise RuntimeError("Detected recursive loop when walking DAG directory")
            seen.add(os.path.realpath(top))
            for name in names:
                path = os.path.join(top, name)
                if name.endswith(".py") and name not in ignored and "airflow" in open(path).read():
                    self.process_file(path, only_if_updated=True, safe_mode=True)
    def process_file(self, path, only_if_updated=True, safe_mode=True):
        airflow.REGISTERED.clear()
        try:
            exec(compile(open(path, "rb").read(), path, "exec"), {"__file__": path, "__name__": "dag"})
        except Exception:
            self.import_errors[path] = traceback.format_exc()
            return []
        for dag in airflow.REGISTERED:
            dag.fileloc = path
            self.dags[dag.dag_id] = dag
        return list(airflow.REGISTERED)
""",
    "airflow/serialization/__init__.py": "",
    "airflow/serialization/serialized_objects.py": """
class SerializedDAG:
    @staticmethod
    def to_dict(dag):
        if dag.unserializable:
            raise TypeError("no way to write this down")
""",
}


def install(directory: Path) -> dict[str, str]:
    """Write it below a directory; returns the environment that makes it importable."""
    return {"PYTHONPATH": str(write_tree(directory, FILES))}
