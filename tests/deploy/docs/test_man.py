"""Man pages made out of the commands' help, read by groff."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support import debian
from support.docblocks import TOP

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ("dagctl", "dagferry-puller", "dagferry-check")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, TOP / "deploy/man/build.py", made], check=True)
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_groff_finds_nothing_wrong_with_a_page(pages: Path, name: str) -> None:
    if not shutil.which("groff"):
        debian.install("groff-base")
    words = ["groff", "-k", "-man", "-Tutf8", "-ww", "-P-cbou", str(pages / f"{name}.1")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert f"{name} - " in done.stdout.replace("\u2010", "-")


def test_pages_have_every_subcommand_and_say_what_the_help_says(pages: Path) -> None:
    whole, puller = ((pages / f"{name}.1").read_text() for name in COMMANDS[:2])
    for words in ("DAGCTL PUBLISH", "DAGCTL TRUST ADD\\-KEY", "DAGCTL SETUP CEPH"):
        assert f'.SH "{words}"' in whole
    assert "\n  When it burns:  dagctl rollback" in whole
    for mode in ("RUN", "ONCE", "RELAY"):
        assert f'.SH "DAGFERRY\\-PULLER {mode}"' in puller
    assert "\\-\\-amqp\\-exchange NAME" in puller


def test_the_script_says_how_it_is_called() -> None:
    done = subprocess.run([sys.executable, TOP / "deploy/man/build.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "deploy/man/build.py DIRECTORY" in done.stderr
