"""Keys made once, a repository with a line of commits made once, and a fresh site for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.gitrepos import GitRepo
from support.sites import Site, make_keys, make_site

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def shared_repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """A repository that no test changes."""
    repo = GitRepo(tmp_path_factory.mktemp("shared") / "repo")
    repo.commit({"dags/etl.py": "A = 1\n", "dags/lib/helper.py": "", "README.md": "read me\n"}, "first")
    for number in range(2, 6):
        repo.commit({"dags/etl.py": f"A = {number}\n"}, f"number {number}")
    return repo


@pytest.fixture
def line(shared_repo: GitRepo) -> list[str]:
    """The commits of ``shared_repo``, oldest first."""
    return shared_repo.git("rev-list", "--reverse", "main").split()


@pytest.fixture
def site(tmp_path: Path, keys: Path, shared_repo: GitRepo) -> Site:
    return make_site(tmp_path / "site", keys, shared_repo)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    """A repository of this test's own, with one commit."""
    repo = GitRepo(tmp_path / "repo")
    repo.commit({"dags/etl.py": "A = 1\n"}, "first")
    return repo


@pytest.fixture
def own_site(tmp_path: Path, keys: Path, repo: GitRepo) -> Site:
    """A site on ``repo``."""
    return make_site(tmp_path / "site", keys, repo)
