"""The Dockerfiles as text: hadolint, and what must agree with the rest of the repository."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from dagferry_shared import __version__
from support.dagctl import TOP
from support.images import IMAGES, NAMES
from support.manifests import KUBERNETES, REGISTRY, all_containers, tool

if TYPE_CHECKING:
    from pathlib import Path


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("hadolint"), "--no-color", path], capture_output=True, encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    done = lint(IMAGES / f"{name}.Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_say_something(tmp_path: Path) -> None:
    spoiled = (IMAGES / "puller.Dockerfile").read_text().replace("--no-install-recommends", "")
    (tmp_path / "Dockerfile").write_text(spoiled)
    assert "DL3015" in lint(tmp_path / "Dockerfile").stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_version_is_the_packages(name: str) -> None:
    text = (IMAGES / f"{name}.Dockerfile").read_text()
    assert f"ARG VERSION={__version__}\n" in text
    assert re.findall(r"/(\w+):(\S+) \.", text) == [(name, __version__)]


def test_manifests_and_chart_values_name_this_version() -> None:
    images = {f"{REGISTRY}{name}" for name in NAMES}
    assert {container.spec["image"] for container in all_containers()} == {f"{name}:{__version__}" for name in images}
    written = [*KUBERNETES.rglob("*.yaml"), *(TOP / "deploy/airflow").glob("*.yaml")]
    tags = {tag for path in written for tag in re.findall(rf"{REGISTRY}\w+:(\S+)", path.read_text())}
    assert tags == {__version__}
    settings = yaml.safe_load((KUBERNETES / "overlays/settings/kustomization.yaml").read_text())
    assert settings["images"] == [{"name": f"{REGISTRY}{name}", "newTag": __version__} for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_only_what_the_context_lets_in_is_copied(name: str) -> None:
    allowed = set(re.findall(r"^!(\S+)$", (TOP / ".dockerignore").read_text(), re.MULTILINE))
    copied = set()
    for words in re.findall(r"^COPY (?!--from)(.+)$", (IMAGES / f"{name}.Dockerfile").read_text(), re.MULTILINE):
        copied |= set(words.split()[:-1])
    assert copied == allowed
    assert all((TOP / path).exists() for path in allowed)
