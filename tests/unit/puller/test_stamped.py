"""Which files of a version changed, by its stamp, and how Airflow names them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dagferry_puller.stamped import Changed, changed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def version(tmp_path: Path) -> Path:
    for name, moment in {"same.py": 100, "sub/new.py": 200, "sub/same.py": 100, "new.py": 200}.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
        os.utime(file, (moment, moment))
    (tmp_path / "link.py").symlink_to("/does/not/exist")
    for directory in (tmp_path / "sub", tmp_path):
        os.utime(directory, (200, 200))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "is_changed"),
    [
        ("sub/new.py", True),
        ("/opt/airflow/dags/current/sub/new.py", True),
        ("new.py", True),  # of a bundle that is a part of the tree, or of all
        ("/dags/current/sub/same.py", False),
        ("same.py", False),
        ("ew.py", False),
        ("link.py", False),
        ("", False),
        ("/", False),
    ],
)
def test_a_file_is_known_by_any_name_of_it(version: Path, file: str, is_changed: bool) -> None:
    assert changed(str(version)).has(file) is is_changed


def test_of_a_version_that_is_gone_nothing_is_known(tmp_path: Path) -> None:
    assert not changed(str(tmp_path / "gone"))
    assert not Changed().has("a.py")
