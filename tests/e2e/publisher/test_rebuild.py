"""Packing again from a clone: what was signed is what the commit holds; and reading where nothing is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.gittree import blob_id
from support.devloops import make_dev_site

if TYPE_CHECKING:
    from pathlib import Path

    from support.gitrepos import GitRepo
    from support.sites import Site

REFUSED = 3


def test_rebuild_of_a_release_that_is_not_what_the_commit_holds_is_found(own_site: Site, repo: GitRepo) -> None:
    """The publisher's machine was manipulated: what it signed is not what the commit in the real repository is."""
    own_site.publish(repo.git("rev-parse", "HEAD"))
    evil = b"A = 666\n"
    assert blob_id(b"A = 1\n", "sha1") == repo.git("rev-parse", "HEAD:dags/etl.py")
    name = repo.git("rev-parse", "HEAD:dags/etl.py")
    loose = repo.path / ".git/objects" / name[:2] / name[2:]
    loose.unlink()
    other = repo.blob(evil)
    (repo.path / ".git/objects" / other[:2] / other[2:]).rename(loose)
    result = own_site.dagctl("verify", "--rebuild", repo.path, "--json", code=REFUSED)
    [row] = result.json["findings"]
    assert "packs to another tree or tar than was signed" in row["problem"]


def test_reading_commands_on_a_channel_where_nothing_is_published(site: Site) -> None:
    for command in (["history"], ["show", "1234567"], ["rollback"], ["hold"], ["resume"], ["refresh"]):
        assert "nothing is published on channel main" in site.dagctl(*command, code=8).message
    assert site.dagctl("list", "--json").json["releases"] == []
    assert "nothing is published" in site.dagctl("promote", "--from", "canary", "--to", "main", code=8).message


def test_a_dev_release_is_noted_and_not_taken_for_a_commit_that_packs_otherwise(
    tmp_path: Path, keys: Path, repo: GitRepo
) -> None:
    site = make_dev_site(tmp_path / "site", keys, repo)
    repo.write({"dags/etl.py": "A = 2\n"})
    site.dagctl("publish", "--dev")
    result = site.dagctl("verify", "--rebuild", repo.path, "--json").json
    assert result["findings"] == []
    assert "rebuilds" not in result["checked"]
    assert any("uncommitted work" in note for note in result["notes"])
    site.dagctl("publish")
    assert site.dagctl("verify", "--rebuild", repo.path, "--json").json["checked"]["rebuilds"] == 1
