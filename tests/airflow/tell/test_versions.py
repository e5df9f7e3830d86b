"""Telling an Airflow 3 whose bundle has dagferry's versions, each in a directory of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.airflowsites import AirflowSite, make_airflow_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("versions")

# The least that a versioned bundle can be. It does nothing about files that Airflow queued before a refresh.
_BUNDLE = """\
from pathlib import Path

from airflow.dag_processing.bundles.base import BaseDagBundle


class Versions(BaseDagBundle):
    supports_versioning = True

    def __init__(self, *, root, **kwargs):
        super().__init__(**kwargs)
        self._current = Path(root, "current")
        self._version = self.version

    def initialize(self):
        self._version = self._version or self._current.resolve().name
        super().initialize()

    def refresh(self):
        self._version = self._current.resolve().name

    def get_current_version(self):
        return self._version

    @property
    def path(self):
        return self._current.parent / "versions" / self._version
"""


@pytest.fixture(scope="module")
def told(airflow3_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowSite]:
    home = tmp_path_factory.mktemp("versions")
    (home / "modules").mkdir()
    (home / "modules/versions_bundle.py").write_text(_BUNDLE)
    kwargs = {"root": str(home / "pod/root")}
    bundles = [{"name": "etl", "classpath": "versions_bundle.Versions", "kwargs": kwargs}]
    settings = {
        "PYTHONPATH": str(home / "modules"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
    }
    site = make_airflow_site(home, airflow3_python, 3, **settings)
    try:
        site.wait_parsed(site.start(told=True, airflow_bundle="etl"))
        yield site
    finally:
        site.close()


@pytest.mark.parametrize("word", ["v2", "v3", "v4"])
def test_what_is_told_is_parsed_out_of_the_version_that_airflow_names(told: AirflowSite, word: str) -> None:
    commit = told.publish(
        {"dags/helper.py": f"WORD = 'h-{word}'\n", **told.dag("first", word), **told.dag("second", word)}
    )
    info = told.wait_parsed(commit)
    assert told.descriptions() == {"first": f"{word}/h-{word}", "second": f"{word}/h-{word}"}
    versions = {dag.version for dag in told.server.client().dags()}
    assert versions == {info["version"]}


def test_a_new_and_a_deleted_dag_are_seen_at_once(told: AirflowSite) -> None:
    told.wait_parsed(told.publish({"dags/second.py": None, **told.dag("third", "v1")}))
    told.wait("the new one is there and the deleted one is not", lambda info: info["dags"] == 2)
    assert set(told.descriptions()) == {"first", "third"}
