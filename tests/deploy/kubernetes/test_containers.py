"""What each container of deploy/kubernetes may do, is told, and mounts."""

from __future__ import annotations

from typing import Any

import pytest

from dagferry_shared import trust
from support.manifests import OVERLAYS, Container, all_containers, containers, of_kind, rendered, settings

ALL = [pytest.param(container, id=container.id) for container in all_containers()]
OURS = [param for param in ALL if param.values[0].mode]  # type: ignore[union-attr]
PORTS = {"run": ("dagferry", 9474), "relay": ("relay", 9475)}


def test_the_containers_are_those_that_we_think() -> None:
    found = sorted((c.id, c.mode, c.spec.get("restartPolicy")) for c in all_containers())
    assert found == [
        ("node-agent-airflow-worker-dagferry-wait", None, None),
        ("node-agent-dagferry-node-dagferry", "run", None),
        ("node-agent-dagferry-node-own", None, None),
        ("node-agent-dagferry-relay-relay", "relay", None),
        ("shared-volume-airflow-worker-dagferry-wait", None, None),
        ("shared-volume-dagferry-relay-relay", "relay", None),
        ("shared-volume-dagferry-writer-dagferry", "run", None),
        ("sidecar-airflow-dag-processor-dagferry", "run", "Always"),
        ("sidecar-airflow-preview-dagferry", "once", None),
        ("sidecar-airflow-worker-dagferry", "run", "Always"),
        ("sidecar-dagferry-relay-relay", "relay", None),
        ("sidecar-dagferry-toolbox-toolbox", None, None),
    ]


@pytest.mark.parametrize("container", ALL)
def test_no_container_may_more_than_it_needs(container: Container) -> None:
    expected: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if container.spec["name"] == "own":  # the one that gives a node's directory to the agent
        expected |= {"runAsNonRoot": False, "runAsUser": 0, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}
    assert container.spec["securityContext"] == expected
    assert container.spec["resources"].keys() == {"requests", "limits"}
    assert container.spec["resources"]["limits"].keys() == {"memory"}, "throttled pullers only deploy later"


@pytest.mark.parametrize("container", OURS)
def test_the_command_accepts_all_that_it_is_told(container: Container) -> None:
    mode = str(container.mode)
    told = settings(mode, container.environ())
    if mode == "relay":
        (target,) = told.targets
        assert (target.host, target.port, target.every) == ("dagferry-pods", 9474, True)
        return
    mounts = {mount["mountPath"]: mount for mount in container.spec["volumeMounts"]}
    assert (told.root, told.link, told.trust) == ("/dags", "current", "/etc/dagferry/trust.json")
    writable = {path: not mount.get("readOnly", False) for path, mount in mounts.items()}
    assert writable == {"/dags": True, "/etc/dagferry": False, "/tmp": True}
    # Only an emptyDir dies with the pod.
    assert told.no_fsync == ("emptyDir" in container.volumes[mounts["/dags"]["name"]])
    assert {"secretRef": {"name": "dagferry-s3"}} in container.spec["envFrom"]


@pytest.mark.parametrize("container", OURS)
def test_probes_ask_the_port_that_it_serves(container: Container) -> None:
    mode = str(container.mode)
    if mode == "once":
        assert not container.probes()
        assert "ports" not in container.spec
        return
    told = settings(mode, container.environ())
    name, number = PORTS[mode]
    assert (told.listen if mode == "relay" else told.http) == ("0.0.0.0", number)
    assert container.spec["ports"] == [{"name": name, "containerPort": number}]
    sidecar = container.spec.get("restartPolicy") == "Always"
    # A sidecar that is not ready would take Airflow's own pod out of its Services.
    first = {"startupProbe": "/readyz"} if sidecar else {"readinessProbe": "/readyz"}
    assert container.probes() == first | {"livenessProbe": "/healthz"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_airflow_mounts_the_volume_read_only(overlay: str) -> None:
    for workload in (d for d in rendered(overlay) if d["metadata"]["name"].startswith("airflow-")):
        pod = workload["spec"]["template"]["spec"]
        (mount,) = pod["containers"][0]["volumeMounts"]
        assert mount == {"name": "dags", "mountPath": "/dags", "readOnly": True}
        (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "dags")
        assert [c.init for c in containers(overlay) if c.workload is workload] == [True]
        writers = [c for c in containers(overlay) if c.mode == "run" and c.workload is not workload]
        if writers:  # they share a volume
            theirs = writers[0].volumes["dags"]
            if "persistentVolumeClaim" in theirs:
                claim = theirs["persistentVolumeClaim"] | {"readOnly": True}
                theirs = theirs | {"persistentVolumeClaim": claim}
            assert volume == theirs


def test_claim_and_writer_are_for_many_readers_and_one_writer() -> None:
    (claim,) = of_kind("shared-volume", "PersistentVolumeClaim").values()
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    writer = of_kind("shared-volume", "Deployment")["dagferry-writer"]
    assert (writer["spec"]["replicas"], writer["spec"]["strategy"]["type"]) == (1, "Recreate")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_trust_file_is_one_for_the_bundle_and_channel(overlay: str) -> None:
    maps = of_kind(overlay, "ConfigMap")
    (told,) = (data["data"] for name, data in maps.items() if name.startswith("dagferry-settings-"))
    found = trust.parse(maps["dagferry-trust"]["data"]["trust.json"].encode())
    assert found.bundle == told["DAGFERRY_BUNDLE"]
    assert told["DAGFERRY_CHANNEL"] in found.channels
