"""deploy/kubernetes, rendered by kubectl and held against the schemas of Kubernetes and of the Prometheus operator."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from support.manifests import KUBERNETES, OVERLAYS, of_kind, rendered, tool

VERSIONS = ("1.29", "1.37")  # native sidecars are on by default from the first on; the other is the newest with schemas
FOREIGN = {"PodMonitor"}
EVERY = (*OVERLAYS, "chart")


def validate(path: Path, version: str) -> subprocess.CompletedProcess[str]:
    words = [tool("kubernetes-validate"), "-k", version, "--strict", path]
    return subprocess.run(words, capture_output=True, encoding="utf-8")


def written(directory: Path, overlay: str) -> Path:
    path = directory / "rendered.yaml"
    path.write_text(yaml.safe_dump_all([d for d in rendered(overlay) if d["kind"] not in FOREIGN]))
    return path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", EVERY)
def test_every_document_fits_the_schema(overlay: str, version: str, tmp_path: Path) -> None:
    done = validate(written(tmp_path, overlay), version)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.findall(r"passed for resource", done.stdout + done.stderr)
    assert len(passed) == sum(d["kind"] not in FOREIGN for d in rendered(overlay))


def test_the_schema_check_finds_a_typo(tmp_path: Path) -> None:
    path = written(tmp_path, "sidecar")
    path.write_text(path.read_text().replace("readOnlyRootFilesystem", "readOnlyRootFileSystem"))
    assert validate(path, VERSIONS[-1]).returncode != 0


_MODEL = """
import json, sys
from cloudcoil.models.prometheus_operator.v1 import PodMonitor
print(PodMonitor.model_validate(json.load(sys.stdin)).model_dump_json(by_alias=True, exclude_unset=True))
"""


def test_podmonitor_fits_the_operators_model() -> None:
    (monitor,) = of_kind("sidecar", "PodMonitor").values()
    words = [tool("python"), "-c", _MODEL]
    done = subprocess.run(words, input=json.dumps(monitor), capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == monitor  # a field that the model does not know is gone


def test_the_chart_gets_what_its_values_refer_to() -> None:
    assert "dagferry-trust" in of_kind("chart", "ConfigMap")
    assert of_kind("chart", "Service").keys() == {"dagferry-pods", "dagferry-relay"}
    assert of_kind("chart", "PodMonitor") == of_kind("sidecar", "PodMonitor")


def test_each_component_is_shown_by_an_overlay() -> None:
    used = {
        Path(component).name
        for overlay in OVERLAYS
        for component in yaml.safe_load((KUBERNETES / f"overlays/{overlay}/kustomization.yaml").read_text())[
            "components"
        ]
    }
    assert used - {"settings"} == {path.name for path in (KUBERNETES / "components").iterdir()}
