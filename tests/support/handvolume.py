"""A puller's root with three versions, made by hand, for what only reads it."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = (f"{digit * 40}-{digit * 64}" for digit in "123")
DAG = "import helper\nfrom airflow.models.dag import DAG\ndag = DAG(f'file=FILE helper={helper.VERSION}')\n"


class HandVolume:
    """A puller's root with versions made by hand."""

    def __init__(self, root: Path) -> None:
        self.path = root
        (root / ".dagferry/leases").mkdir(parents=True)
        for version in (ONE, TWO, THREE):
            self.write(version, "etl/dag.py", DAG.replace("FILE", version[0]))
            self.write(version, "etl/broken_dag.py", "import nothing\n")
            for name in ("helper", "plugins/plug"):
                self.write(version, f"{name}.py", f"VERSION = {version[0]}\n")
            (root / ".dagferry/leases" / version).touch()
        self.swap(ONE)

    def write(self, version: str, name: str, text: str) -> None:
        path = self.path / "versions" / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def real(self, version: str) -> str:
        return str(self.path / "versions" / version)

    def swap(self, version: str) -> None:
        new = self.path / "new"
        new.symlink_to(f"versions/{version}")
        os.replace(new, self.path / "current")

    def is_leased(self, version: str) -> bool:
        with (self.path / ".dagferry/leases" / version).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False
