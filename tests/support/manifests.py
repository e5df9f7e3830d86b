"""deploy/kubernetes as the real ``kubectl kustomize`` renders it, and what its containers are told."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from dagferry_puller import options
from dagferry_puller.relay import options as relay_options
from support.dagctl import TOP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KUBERNETES = TOP / "deploy/kubernetes"
OVERLAYS = ("sidecar", "node-agent", "shared-volume")
REGISTRY = "registry.example.org/dagferry/"
Document = dict[str, Any]


def tool(name: str) -> Path:
    """Return a real tool that ``make test-deploy`` installs."""
    path = TOP / ".cache/deploy-tools/bin" / name
    assert path.exists(), f"{path} is not there; make test-deploy installs it"
    return path


@functools.cache
def rendered(overlay: str) -> tuple[Document, ...]:
    """Return an overlay's documents, by kubectl."""
    words = [tool("kubectl"), "kustomize", KUBERNETES / "overlays" / overlay]
    done = subprocess.run(words, capture_output=True, check=True, encoding="utf-8")
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, kind: str) -> dict[str, Document]:
    """Return an overlay's documents of one kind, by name."""
    return {d["metadata"]["name"]: d for d in rendered(overlay) if d["kind"] == kind}


@dataclass(frozen=True)
class Container:
    """One container of ours and where it is."""

    overlay: str
    workload: Document
    spec: Document
    init: bool

    @property
    def pod(self) -> Document:
        """Its pod's template."""
        template: Document = self.workload["spec"]["template"]
        return template

    @property
    def id(self) -> str:
        """Its place, for people."""
        return f"{self.overlay}-{self.workload['metadata']['name']}-{self.spec['name']}"

    @property
    def mode(self) -> str | None:
        """The puller's mode; None where another command runs in our images."""
        return None if "command" in self.spec else str(self.spec["args"][0])

    @property
    def volumes(self) -> dict[str, Document]:
        """The pod's volumes by name."""
        return {volume["name"]: volume for volume in self.pod["spec"]["volumes"]}

    def environ(self) -> dict[str, str]:
        """Return what it is told, as kubelet would; the Secret is left out."""
        found: dict[str, str] = {}
        maps = of_kind(self.overlay, "ConfigMap")
        for source in self.spec.get("envFrom", ()):
            if "configMapRef" in source:
                found |= maps[source["configMapRef"]["name"]]["data"]
        return found | plain(self.spec)

    def probes(self) -> dict[str, str]:
        """Return path by probe; each asks the port by its name."""
        probes = {key: value["httpGet"] for key, value in self.spec.items() if key.endswith("Probe")}
        names = {port["name"] for port in self.spec.get("ports", ())}
        assert all(probe["port"] in names for probe in probes.values())
        return {key: probe["path"] for key, probe in probes.items()}


def plain(container: Mapping[str, Any]) -> dict[str, str]:
    """Return a container's own variables."""
    rows = container.get("env", ())
    assert all(isinstance(row["value"], str) for row in rows), "Kubernetes takes strings alone"
    return {row["name"]: row["value"] for row in rows}


def containers(overlay: str) -> Iterator[Container]:
    """Walk all containers of our images."""
    for document in rendered(overlay):
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        for key in ("initContainers", "containers"):
            for spec in pod.get(key, ()):
                if spec["image"].startswith(REGISTRY):
                    yield Container(overlay, document, spec, key == "initContainers")


def all_containers() -> list[Container]:
    """Return the containers of all overlays."""
    return [container for overlay in OVERLAYS for container in containers(overlay)]


def settings(mode: str, environ: Mapping[str, str]) -> Any:
    """Let the command's own parser check what a container is told; what it does not know is a failure, too."""
    known = relay_options.OPTIONS if mode == "relay" else [o for o in options.OPTIONS if mode in o.modes]
    assert environ.keys() <= {option.variable for option in known}, "a setting that is not one"
    return relay_options.resolve({}, environ) if mode == "relay" else options.resolve(mode, {}, environ)
