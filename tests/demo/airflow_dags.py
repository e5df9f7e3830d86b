"""Real DAGs for the demo: the examples inside released Airflow wheels, as commits of a git repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

VERSIONS = ("3.1.8", "3.2.2", "3.3.2")
_PREFIX = "airflow/example_dags/"
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada Example",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada Example",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def wheels(cache: Path) -> list[Path]:
    """Fetch the wheels with pip (not installed), once; they are kept in ``cache``."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for version in VERSIONS:
        name = f"apache_airflow_core-{version}-py3-none-any.whl"
        if not (cache / name).exists():
            print(f"… fetching apache-airflow-core {version} (7 MB, once)", flush=True)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary=:all:", "--dest", os.fspath(cache), f"apache-airflow-core=={version}"]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        found.append(cache / name)
    return found


def git(repo: Path, *arguments: str) -> str:
    """Run git in a repository and return what it prints."""
    command = ["git", "-C", os.fspath(repo), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **_IDENTITY}).stdout


def build_repository(repo: Path, sources: list[Path]) -> list[str]:
    """Make a repository with one commit a wheel, its example DAGs below ``dags/``; returns the commits."""
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    commits = []
    for wheel, version in zip(sources, VERSIONS, strict=True):
        shutil.rmtree(repo / "dags", ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.startswith(_PREFIX) and not member.endswith("/"):
                    target = repo / "dags" / member.removeprefix(_PREFIX)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))
        git(repo, "add", "--all")
        git(repo, "commit", "--quiet", "--message", f"Example DAGs of Airflow {version}")
        commits.append(git(repo, "rev-parse", "HEAD").strip())
    return commits
