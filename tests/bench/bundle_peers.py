"""Airflow's own bundles as peers, and the list of all peers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from bench import measure
from bench.measure import Cost
from bench.peers import CACHE, AwsSync, Dagferry, Floor, GitClone, GitSync, Peer, Rclone


class AirflowBundle(Peer):
    """A bundle of Airflow 3 in a process of its own that has Airflow loaded."""

    kind = ""
    _process: subprocess.Popen[str] | None = None
    _path = ""

    @classmethod
    def missing(cls) -> str:
        return "" if (CACHE / "bench-airflow/bin/python").exists() else "Airflow's providers: make bench installs them"

    @property
    def live(self) -> Path:
        return Path(self._path)

    def arguments(self) -> dict[str, object]:
        raise NotImplementedError

    def _begin(self) -> None:
        settings = {
            "AIRFLOW_HOME": f"{self.volume}.home",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(self.volume),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW_CONN_BENCH": json.dumps({"conn_type": "aws", "extra": {"endpoint_url": self.ends.s3}}),
        }
        driver = [str(CACHE / "bench-airflow/bin/python"), "-P", str(Path(__file__).with_name("airflow_driver.py"))]
        self._process = subprocess.Popen(
            [*driver, self.kind, json.dumps({"name": "bench", **self.arguments()})],
            env={**self.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._read()

    def _read(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        return line

    def _ask(self, what: str) -> Cost:
        assert self._process is not None
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        answer = json.loads(self._read())
        self._path = answer["path"]
        return Cost(answer["wall"], answer["cpu"], answer["written"])

    def cold(self) -> Cost:
        self._begin()
        try:
            return self._ask("initialize")
        finally:
            self.close()

    def cold_peak(self) -> measure.Peak:
        self._begin()
        assert self._process is not None
        pid = self._process.pid
        with measure.watched(lambda: pid) as peak:
            self._ask("initialize")
        self.close()
        return peak

    def start(self) -> None:
        self._begin()
        self._ask("initialize")

    def sync(self) -> Cost:
        return self._ask("refresh")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        shutil.rmtree(f"{self.volume}.home", ignore_errors=True)


class S3Bundle(AirflowBundle):
    name, kind = "Airflow S3DagBundle", "s3"

    def arguments(self) -> dict[str, object]:
        return {"aws_conn_id": "bench", "bucket_name": self.world.bucket, "prefix": "plain/"}


class GitBundle(AirflowBundle):
    name, kind = "Airflow GitDagBundle", "git"

    def arguments(self) -> dict[str, object]:
        return {"tracking_ref": "main", "subdir": "dags", "repo_url": f"{self.ends.git}/dags.git"}


PEERS: dict[str, type[Peer]] = {
    "dagferry": Dagferry,
    "git-sync": GitSync,
    "clone": GitClone,
    "aws": AwsSync,
    "rclone": Rclone,
    "s3-bundle": S3Bundle,
    "git-bundle": GitBundle,
    "floor": Floor,
}
