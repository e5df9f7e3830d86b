"""deploy/airflow: values of the official chart, by its documented keys, and settings that the puller itself accepts.

No Helm chart can be had here, so nothing is rendered. The keys are those that chart 1.22 documents.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.dagctl import TOP
from support.manifests import KUBERNETES, plain, settings

VALUES = sorted((TOP / "deploy/airflow").glob("values-*.yaml"))
# Of values.yaml of the chart; the lists of containers are Kubernetes' own.
DOCUMENTED = {
    "executor", "volumes", "volumeMounts", "secret", "airflowLocalSettings", "config.core.dags_folder",
    "dagProcessor.enabled", "dagProcessor.dagBundleConfigList", "dagProcessor.extraInitContainers",
    "scheduler.extraInitContainers", "workers.celery.extraInitContainers", "workers.kubernetes.extraInitContainers",
    "dagProcessor.labels", "scheduler.labels", "workers.labels",
}  # fmt: skip
CONTAINER = {
    "name", "image", "restartPolicy", "args", "env", "envFrom", "ports", "startupProbe", "livenessProbe",
    "securityContext", "resources", "volumeMounts",
}  # fmt: skip


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what is set, by dotted key; a documented key's value is not looked into."""
    found = {}
    for name, value in values.items():
        key = prefix + name
        found |= leaves(value, key + ".") if isinstance(value, dict) and key not in DOCUMENTED else {key: value}
    return found


def containers(path: Path) -> dict[str, dict[str, Any]]:
    """Return our container of each component."""
    found = {key: value for key, value in leaves(load(path)).items() if key.endswith(".extraInitContainers")}
    assert all(len(value) == 1 for value in found.values())
    return {key: value[0] for key, value in found.items()}


ALL = [pytest.param(path, id=path.stem) for path in VALUES]
EACH = [pytest.param(path, key, id=f"{path.stem}-{key}") for path in VALUES for key in containers(path)]


def test_there_are_values_for_each_executor_and_version() -> None:
    names = {path.stem for path in VALUES}
    assert names == {f"values-{version}-{kind}" for version in ("3", "2.11") for kind in ("celery", "kubernetes")}
    readme = (TOP / "deploy/airflow/README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(values-[^`]+)\.yaml`", readme)) <= names


@pytest.mark.parametrize("path", ALL)
def test_only_documented_keys_of_the_chart_are_set(path: Path) -> None:
    assert leaves(load(path)).keys() <= DOCUMENTED


@pytest.mark.parametrize(("path", "key"), EACH)
def test_the_puller_accepts_the_settings_of_each_container(path: Path, key: str) -> None:
    container = containers(path)[key]
    assert container.keys() <= CONTAINER
    (mode,) = container["args"]
    told = settings(mode, plain(container))
    assert (told.root, told.link) == ("/dags", "current")
    assert ("restartPolicy" in container) == (mode == "run") == ("startupProbe" in container)


@pytest.mark.parametrize(("path", "key"), EACH)
def test_each_volume_that_is_mounted_is_declared_and_airflow_reads_only(path: Path, key: str) -> None:
    values = load(path)
    declared = {volume["name"] for volume in values["volumes"]}
    mounts = containers(path)[key]["volumeMounts"]
    assert {mount["name"] for mount in [*mounts, *values["volumeMounts"]]} <= declared
    assert all(mount["readOnly"] for mount in values["volumeMounts"])
    assert [mount["mountPath"] for mount in mounts if not mount.get("readOnly")] == ["/dags", "/tmp"]


@pytest.mark.parametrize(("path", "key"), EACH)
def test_the_container_is_the_one_of_deploy_kubernetes(path: Path, key: str) -> None:
    container = containers(path)[key]
    component = {"run": "sidecar", "once": "once"}[container["args"][0]]
    patch = load(KUBERNETES / "components" / component / "patch.yaml")["spec"]["template"]
    (theirs,) = patch["spec"]["initContainers"]
    same = theirs.keys() - {"env", "envFrom", "volumeMounts"}
    assert {name: container.get(name) for name in same} == {name: theirs[name] for name in same}
    overlay = (KUBERNETES / "overlays/settings/settings.env").read_text(encoding="utf-8").splitlines()
    told = dict(row.split("=", 1) for row in overlay) | plain(theirs)
    del told["DAGFERRY_LOG_FORMAT"]
    assert told.items() <= plain(container).items()
    assert [row for row in theirs["envFrom"] if "secretRef" in row] == container["envFrom"]
    assert all(mount in container["volumeMounts"] for mount in theirs["volumeMounts"])
    assert all(volume in load(path)["volumes"] for volume in patch["spec"]["volumes"])
    labels = leaves(load(path)).get(re.sub(r"(\.celery)?\.extraInitContainers", ".labels", key), {})
    assert labels == (patch["metadata"]["labels"] if component == "sidecar" else {})  # once serves nothing


@pytest.mark.parametrize("path", ALL)
def test_one_puller_tells_airflow(path: Path) -> None:
    telling = [key for key, container in containers(path).items() if "DAGFERRY_AIRFLOW" in plain(container)]
    assert telling == [f"{'dagProcessor' if '-3-' in path.stem else 'scheduler'}.extraInitContainers"]


@pytest.mark.parametrize("path", [param for param in ALL if "-3-" in str(param.id)])
def test_bundle_settings_are_those_that_it_takes(path: Path) -> None:
    (bundle,) = load(path)["dagProcessor"]["dagBundleConfigList"]
    assert bundle["classpath"] == "dagferry_puller.airflow.DagferryBundle"
    source = (TOP / "puller/dagferry_puller/airflow/bundle.py").read_text(encoding="utf-8")
    taken = set(re.findall(r'"(\w+)"', source.partition("OPTIONS = (")[2].partition(")")[0]))
    assert bundle["kwargs"].keys() <= taken | {"root", "link", "subdir", "refresh_interval"}


@pytest.mark.parametrize("path", [param for param in ALL if "-2.11-" in str(param.id)])
def test_airflow_2_reads_the_link_with_the_pin(path: Path) -> None:
    values = load(path)
    assert values["config"]["core"]["dags_folder"] == "/dags/current"
    from dagferry_puller.airflow import pin

    assert inspect.isfunction(pin.install)
    assert values["airflowLocalSettings"] == "from dagferry_puller.airflow import pin\n\npin.install()\n"
