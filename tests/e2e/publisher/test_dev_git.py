"""``dagctl publish --dev`` and git: what git says is told, and what the environment says changes nothing."""

import shutil
from pathlib import Path

import pytest

from support.devloops import make_dev_site
from support.gitrepos import GitRepo
from support.sites import Site

USAGE = 2


@pytest.fixture
def dev(tmp_path: Path, keys: Path, repo: GitRepo) -> Site:
    return make_dev_site(tmp_path / "site", keys, repo)


def test_what_git_refuses_is_told_in_its_words_and_not_by_a_warning_before(dev: Site, repo: GitRepo) -> None:
    repo.git("sparse-checkout", "set", "--no-cone", "elsewhere")
    repo.write({"dags/new.py": "N = 1\n"})
    assert "sparse-checkout" in dev.dagctl("publish", "--dev", code=USAGE).message


def test_a_fatal_line_goes_before_what_else_git_says(dev: Site, repo: GitRepo) -> None:
    repo.git("config", "filter.broken.clean", "false")
    repo.git("config", "filter.broken.required", "true")
    repo.write({".gitattributes": "*.py filter=broken\n", "dags/etl.py": "A = 2\n"})
    assert "fatal: dags/etl.py: clean filter 'broken' failed" in dev.dagctl("publish", "--dev", code=USAGE).message


def test_pathspec_variables_of_the_environment_change_nothing(dev: Site, repo: GitRepo) -> None:
    repo.write({"dags/etl.py": "A = 2\n"})
    for name in ("LITERAL", "GLOB", "NOGLOB", "ICASE"):
        dev.dagctl("publish", "--dev", "--dry-run", **{f"GIT_{name}_PATHSPECS": "1"})


def test_an_index_that_cannot_be_copied_is_said(dev: Site, repo: GitRepo) -> None:
    index = repo.path / ".git/index"
    index.unlink()
    index.mkdir()
    assert "index" in dev.dagctl("publish", "--dev", code=USAGE).message
    shutil.rmtree(index)
    repo.write({"dags/etl.py": "A = 2\n"})
    dev.dagctl("publish", "--dev", "--dry-run")
