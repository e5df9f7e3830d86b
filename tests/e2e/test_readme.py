"""The README's five-minute tour, run as it stands, and what it claims beside it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dagferry_publisher.cli.exits import Exit
from dagferry_puller.exits import Exit as PullerExit
from demo.airflow_dags import git
from support.desks import commands_on_path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    repo = tmp_path / "clone"
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    for text in ("one", "two"):
        (repo / "dags").mkdir(exist_ok=True)
        (repo / "dags" / "etl.py").write_text(f"# {text}\n")
        git(repo, "add", "dags")
        git(repo, "commit", "--quiet", "--message", text)
    return repo


@pytest.fixture
def path_with_commands(tmp_path: Path) -> str:
    return commands_on_path(tmp_path / "bin")


def run_script(script: str, clone: Path, path: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("DAGFERRY_", "CI_"))}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=clone,
        env={**environ, "PATH": path, "HOME": str(clone)},
        capture_output=True,
        text=True,
    )


def tour() -> str:
    block = re.search(r"<!-- tour -->\n```bash\n(.*?)```", README, re.DOTALL)
    assert block
    return block[1]


def test_the_tour_runs_as_it_stands(clone: Path, path_with_commands: str) -> None:
    done = run_script(tour(), clone, path_with_commands)
    assert done.returncode == 0, done.stderr
    assert (clone / "pod" / "current" / "etl.py").read_text() == "# one\n"
    assert "rollback" in done.stdout
    assert "all of it verifies" in done.stdout


def test_the_runbooks_run_in_their_order_and_a_pod_follows(clone: Path, path_with_commands: str) -> None:
    runbooks = re.findall(r"<!-- runbook -->\n```bash\n(.*?)```", SECURITY, re.DOTALL)
    assert len(runbooks) == 5
    look = "\ndagferry-puller once --root pod && readlink pod/current\n"
    script = tour() + "dagctl resume --pointer-key operator.key\n" + look.join(runbooks[:4]) + look + runbooks[4]
    done = run_script(script, clone, path_with_commands)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True).stdout.strip()
    assert os.readlink(clone / "pod" / "current").startswith(f"versions/{head}-"), "CI's new key published HEAD"
    assert "revoked: " in done.stdout


def test_the_configuration_example_makes_rollback_work_as_typed(clone: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert block
    (clone / "dagctl.toml").write_text(block[1])
    command = [sys.executable, "-m", "dagferry_publisher", "config", "--json"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DAGFERRY_")}
    done = subprocess.run(command, cwd=clone, env={**environ, "HOME": str(clone)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'"{clone}/trust.json"' in done.stdout
    assert f'"{clone}/keys/operator.key"' in done.stdout


@pytest.mark.parametrize("exits", [Exit, PullerExit])
def test_every_exit_code_is_in_the_table(exits: type[Exit] | type[PullerExit]) -> None:
    table = set(map(int, re.findall(r"^\| (\d+) \|", README, re.MULTILINE)))
    assert {int(code) for code in exits} <= table
