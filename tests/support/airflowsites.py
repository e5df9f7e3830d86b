"""A site whose pod tells a real Airflow: repository, store, a running puller, and an Airflow that reads its link."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.airflowservers import AirflowServer
from support.gitrepos import GitRepo
from support.sitepods import SitePod, wait_commit
from support.sites import make_keys, make_site
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.pods import Running
    from support.sites import Site

PARSE_SECONDS = 120.0  # far above what it takes; other tests may run beside

_DAG = """\
{imports}

import helper

with DAG(dag_id={name!r}, schedule=None, description={word!r} + "/" + helper.WORD):

    @task
    def work(): ...

    work()
"""
_IMPORTS = {3: "from airflow.sdk import DAG, task", 2: "from airflow import DAG\nfrom airflow.decorators import task"}


def dag_file(major: int, name: str, word: str) -> str:
    """Return a DAG file whose description is ``word/<the helper module's word>``."""
    return _DAG.format(imports=_IMPORTS[major], name=name, word=word)


@dataclass
class AirflowSite:
    """All of it.

    Attributes:
        server: the Airflow.
        site: publishes.
        pod: pulls.
    """

    server: AirflowServer
    site: Site
    pod: SitePod
    _running: Running | None = None

    @property
    def major(self) -> int:
        """Airflow's version."""
        return self.server.major

    def dag(self, name: str, word: str) -> dict[str, str]:
        """Return a DAG file to be committed."""
        return {f"dags/{name}.py": dag_file(self.major, name, word)}

    @property
    def commit(self) -> str:
        """The commit that was published last."""
        return self.site.live()

    def publish(self, files: dict[str, Any]) -> str:
        """Commit and publish; returns the commit."""
        commit = self.site.repo.commit(files)
        self.site.publish(commit)
        return commit

    def start(self, *, told: bool, **settings: str) -> str:
        """Start the puller; returns the commit that it will have live."""
        if told:
            settings["airflow"] = self.server.url
        self._running = self.pod.run(environ=self.server.environ(), **settings)
        return self.commit

    @property
    def running(self) -> Running:
        """The puller."""
        assert self._running is not None
        return self._running

    def stop(self) -> None:
        """End the puller."""
        assert self.running.stop() == 0

    def wait_live(self, commit: str) -> None:
        """Wait until a commit is live in the pod."""
        wait_commit(self.running, commit)

    def info(self) -> dict[str, Any]:
        """Return what the puller says of Airflow."""
        found: dict[str, Any] = self.running.status()["airflow"]
        return found

    def wait(self, what: str, condition: Any) -> dict[str, Any]:
        """Wait until what the puller says of Airflow fulfils a condition."""

        def look() -> dict[str, Any] | None:
            info = self.info()
            return info if condition(info) else None

        found = wait_for(look, what, seconds=PARSE_SECONDS)
        assert found is not None
        return found

    def wait_parsed(self, commit: str) -> dict[str, Any]:
        """Wait until the puller says that Airflow has parsed a commit."""
        prefix = f"{commit}-"
        return self.wait(
            f"{commit[:12]} is parsed", lambda i: (i["version"] or "").startswith(prefix) and i["state"] == "parsed"
        )

    def descriptions(self) -> dict[str, str]:
        """Return what Airflow's API says of each DAG."""
        answer = self.server.client()._ask("GET", "/dags?limit=100")
        return {dag["dag_id"]: dag["description"] for dag in json.loads(answer.body)["dags"]}

    def close(self) -> None:
        """End everything."""
        self.pod.close()
        self.server.close()


def make_airflow_site(home: Path, python: Path, major: int, **settings: str) -> AirflowSite:
    """Publish two DAGs, bring them live, and start an Airflow on them.

    Args:
        home: an empty directory.
        python: interpreter of an Airflow's environment.
        major: its version.
        settings: further environment of Airflow.
    """
    repo = GitRepo(home / "repo")
    (home / "keys").mkdir()
    site = make_site(home / "site", make_keys(home / "keys"), repo)
    pod = SitePod(home / "pod", site)
    server = AirflowServer(python, home / "airflow", major, pod.root / "current", settings)
    made = AirflowSite(server, site, pod)
    try:
        made.publish({"dags/helper.py": "WORD = 'h1'\n", **made.dag("first", "v1"), **made.dag("second", "v1")})
        assert pod.once().code == 0
        server.start()
    except BaseException:
        made.close()
        raise
    return made
