"""deploy/ceph/README.md, run as it stands on a cluster that has nothing yet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo.airflow_dags import git
from support.dagctl import clean_environ

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[3]
README = (TOP / "deploy/ceph/README.md").read_text(encoding="utf-8")
SCRIPT = Path(__file__).parents[1] / "rgw"
ENDPOINT, CA = "https://rgw.example.org", "/etc/ssl/rgw-ca.pem"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A fresh cluster, over https; what its script says of it."""
    state = tmp_path / "cluster"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RGW_")}
    environ = {**kept, "RGW_DIR": str(state), "RGW_PORT": "0", "RGW_TLS": "1"}
    try:
        subprocess.run([SCRIPT, "up"], env=environ, check=True)
        lines = subprocess.run([SCRIPT, "env"], env=environ, check=True, capture_output=True, text=True).stdout
        yield dict(re.findall(r"^export (\w+)='(.*)'$", lines, re.MULTILINE)) | {"CEPH_CONF": f"{state}/ceph.conf"}
    finally:
        subprocess.run([SCRIPT, "down"], env=environ, check=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    repo = tmp_path / "clone"
    (repo / "dags").mkdir(parents=True)
    git(repo, "init", "--quiet", "--initial-branch=main")
    (repo / "dags/etl.py").write_text("# the first\n")
    git(repo, "add", "dags")
    git(repo, "commit", "--quiet", "--message", "first")
    return repo


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Both commands as a shell finds them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for command, module in (("dagctl", "dagferry_publisher"), ("dagferry-puller", "dagferry_puller")):
        (folder / command).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (folder / command).chmod(0o755)
    return folder


def test_every_command_runs_on_an_empty_gateway(cluster: dict[str, str], clone: Path, commands: Path) -> None:
    steps = re.findall(r"<!-- step -->\n```bash\n(.*?)```", README, re.DOTALL)
    assert len(steps) == README.count("```bash") == 10
    script = "".join(steps)
    assert script.count(ENDPOINT) == script.count(CA) == 1
    script = script.replace(ENDPOINT, cluster["RGW_ENDPOINT"]).replace(CA, cluster["RGW_CA"])
    environ = clean_environ(clone) | {"PATH": f"{commands}:{os.environ['PATH']}", "CEPH_CONF": cluster["CEPH_CONF"]}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=clone, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (clone / "pod/current/etl.py").read_text() == "# the first\n"
    assert "failure" not in done.stdout
    assert "they may read the bundle, and neither write nor delete" in done.stdout
    assert (clone / "credentials").stat().st_mode & 0o077 == 0
