"""Repository addresses in one form."""

from __future__ import annotations

import pytest

from dagferry_publisher.errors import UsageError
from dagferry_publisher.repository import normalise

SAME = "https://gitlab.example.org/group/sub/dags"


@pytest.mark.parametrize(
    "address",
    [
        "https://gitlab.example.org/group/sub/dags",
        "https://gitlab.example.org/group/sub/dags.git",
        "https://gitlab.example.org/group/sub/dags.git/",
        "  https://gitlab.example.org/group/sub/dags/\n",
        "https://GitLab.Example.org/group/sub/dags",
        "https://user:secret@gitlab.example.org/group/sub/dags.git",
        "git@gitlab.example.org:group/sub/dags.git",
        "gitlab.example.org:group/sub/dags",
        "ssh://git@gitlab.example.org/group/sub/dags.git",
        "ssh://git@gitlab.example.org:2222/group/sub/dags.git",
        "git+ssh://git@gitlab.example.org/group/sub/dags",
        "git://gitlab.example.org/group/sub/dags",
    ],
)
def test_one_project_has_one_address(address: str) -> None:
    assert normalise(address) == SAME


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://host:8443/dags", "https://host:8443/dags"),
        ("http://host/dags", "http://host/dags"),
        ("/srv/git/dags.git", "file:///srv/git/dags"),
        ("file:///srv/git/dags", "file:///srv/git/dags"),
        ("https://host/Group/Dags", "https://host/Group/Dags"),
    ],
)
def test_what_matters_is_kept(address: str, expected: str) -> None:
    assert normalise(address) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        "dags",
        "../dags",
        "https://",
        "https://host",
        "https://host/",
        "https:///dags",
        "https://host:port/x",
        "s3://b/x",
    ],
)
def test_what_is_no_repository_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="--repository"):
        normalise(address)
