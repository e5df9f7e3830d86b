"""A project in GitLab, as far as its jobs can tell: a repository, protected variables, and a bucket."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.dagctl import TOP, clean_environ
from support.gitlabci import Runner, checkout, extended, include
from support.gitrepos import REPOSITORY, GitRepo
from support.s3fixtures import moto
from support.s3server import new_bucket
from support.sitefixtures import keys
from support.sites import make_trust

if TYPE_CHECKING:
    import subprocess

    from support.moto_server import MotoServer

__all__ = ["keys", "moto"]

COMPONENT = TOP / "deploy/gitlab/templates/dagferry.yml"
IMAGE = "registry.example.org/dagferry/publisher:0.1.0"


@dataclass
class Project:
    """A project whose pipelines run here.

    Attributes:
        directory: for clones.
        repo: what is pushed to GitLab.
        jobs: of the component.
        runner: what runs them.
    """

    directory: Path
    repo: GitRepo
    jobs: dict[str, Any]
    runner: Runner
    _clones: int = 0

    def job(self, name: str) -> dict[str, Any]:
        """Return a job with what it extends."""
        return extended(self.jobs, f"dagferry:{name}")

    def clone(self, name: str, commit: str) -> Path:
        """Make the clone that a job gets, as deep as its variables say."""
        self._clones += 1
        depth = self.runner.variables(self.job(name))["GIT_DEPTH"]
        return checkout(self.repo.path, self.directory / f"clone-{self._clones}", commit, depth)

    def run(
        self, name: str, commit: str, *, clone: Path | None = None, code: int = 0, **manual: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a job of a commit's pipeline; fails the test if it ends with another exit code."""
        place = clone or self.clone(name, commit)
        self.runner.predefined |= {"CI_COMMIT_SHA": commit, "CI_PROJECT_DIR": str(place)}
        done = self.runner.run(self.job(name), **manual)
        assert done.returncode == code, f"{name}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def shell() -> str:
    """What the image has; a test may say another."""
    return "bash"


@pytest.fixture
def project(tmp_path: Path, keys: Path, moto: MotoServer, shell: str) -> Project:
    repo = GitRepo(tmp_path / "repo")
    repo.commit({"dags/etl.py": "A = 1\n", "trust.json": make_trust(keys).encode()}, "first")
    (tmp_path / "home").mkdir()
    environ = clean_environ(tmp_path / "home")
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    predefined = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_COMMIT_REF_NAME": "main",
        "CI_COMMIT_REF_PROTECTED": "true",
        "CI_PIPELINE_URL": f"{REPOSITORY}/-/pipelines/7",
        "CI_PROJECT_DIR": str(tmp_path),
        "CI_PROJECT_URL": REPOSITORY,
        "GITLAB_USER_LOGIN": "ann",
    }
    protected = {f"DAGFERRY_{role}_KEY": str(keys / "ci.key") for role in ("RELEASE", "POINTER")} | moto.environ
    inputs = {"image": IMAGE, "store": f"s3://{new_bucket(moto)}/prod", "expires": "7d"}
    jobs = include(COMPONENT, inputs)
    return Project(tmp_path, repo, jobs, Runner(shell, environ, predefined, protected))
