"""Running the real command, in a process of its own or (where a process adds nothing) in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[2]
_DROPPED = ("DAGFERRY_", "CI", "GITLAB_", "AWS_", "GIT_", "XDG_", "LC_")


def clean_environ(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of whoever runs the tests is seen."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_DROPPED) and not name.lower().endswith("_proxy")
    }
    source = os.pathsep.join(str(TOP / part) for part in ("shared", "publisher", "puller"))
    fixed = {"HOME": str(home), "PYTHONPATH": source, "AWS_EC2_METADATA_DISABLED": "true", "LC_ALL": "C.UTF-8"}
    fixed |= {"DAGFERRY_STORE_WAIT": "0s"}  # a store that is away is what many tests are about
    return kept | fixed | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The document on stderr."""
        found: dict[str, Any] = json.loads(self.err)["error"]
        return found

    @property
    def message(self) -> str:
        """The one line on stderr, progress aside."""
        lines = [line for line in self.err.splitlines() if not line.startswith("…")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("dagctl: ")
        return lines[0]


@dataclass
class Dagctl:
    """``dagctl`` in a directory, with an environment of its own."""

    cwd: Path
    environ: dict[str, str] = field(default_factory=dict)

    def process(
        self, *arguments: object, code: int = 0, cwd: Path | None = None, stdin: str | None = None, **environ: str
    ) -> Result:
        """Run a command in a process; fails the test if it ends with another exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "dagferry_publisher", *map(str, arguments)],
            cwd=cwd or self.cwd,
            env=self.environ | environ,
            input=stdin or "",
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return _expect(Result(done.returncode, done.stdout, done.stderr), code, arguments)

    def __call__(self, *arguments: object, code: int = 0, **environ: str) -> Result:
        """Run a command in this process (a start of Python saved); what a test raises on purpose passes through."""
        return _expect(self.ended(*arguments, **environ), code, arguments)

    def ended(self, *arguments: object, **environ: str) -> Result:
        """Run a command in this process, however it ends."""
        from typer.testing import CliRunner

        from dagferry_publisher.cli.main import build

        hidden: dict[str, str | None] = dict.fromkeys(os.environ)
        words = [*map(str, arguments)]
        with chdir(self.cwd):
            done = CliRunner().invoke(build(words), words, env=hidden | self.environ | environ)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Result(done.exit_code, done.stdout, done.stderr)


def _expect(result: Result, code: int, arguments: tuple[object, ...]) -> Result:
    assert result.code == code, f"dagctl {' '.join(map(str, arguments))}\nexit {result.code}, not {code}\n{result}"
    return result
