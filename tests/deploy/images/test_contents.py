"""What is in the images, and what is not."""

from __future__ import annotations

import importlib.util
import os
import re
import stat
from pathlib import Path

import pytest

from dagferry_shared import __version__
from support.images import NAMES, Unpacked, config
from support.mounts import needs_root

pytestmark = [needs_root, pytest.mark.parametrize("image", NAMES, indirect=True)]
COMMANDS = {"puller": "dagferry-puller", "publisher": "dagctl"}
NOT_HERE = ("pip", "pip3", "uv", "wheel", "cc", "gcc", "ld", "as", "strip", "make", "cargo", "curl", "wget")
PACKAGES = {"puller": ("obstore", "pika"), "publisher": ("boto3", "typer")}
FOREIGN = {"puller": ("boto3", "dagferry_publisher", "pytest"), "publisher": ("obstore", "pytest")}
LIMIT_MB = {"puller": 45, "publisher": 75}  # of what is installed; see the figures in deploy/images/README.md


def installed(image: Unpacked) -> Path:
    return image.root / "opt/dagferry"


def name_of(image: Unpacked) -> str:
    return image.image.rpartition("/")[2]


def size_mb(directory: Path) -> float:
    """Return the bytes of all regular files below, in megabytes."""
    found = [os.lstat(os.path.join(top, name)) for top, _, names in os.walk(directory) for name in names]
    return sum(entry.st_size for entry in found if stat.S_ISREG(entry.st_mode)) / 1e6


def test_the_command_is_the_entrypoint_and_runs_as_nobody(image: Unpacked) -> None:
    found = config(image.image)
    assert found["Entrypoint"] == [f"/opt/dagferry/bin/{COMMANDS[name_of(image)]}"]
    assert found["User"] == "10001:0"
    labels = {key.rpartition(".")[2]: value for key, value in found["Labels"].items() if "opencontainers" in key}
    assert labels["version"] == __version__
    assert labels.keys() == {"title", "description", "licenses", "version", "revision"}


def test_nothing_that_builds_or_installs_is_left(image: Unpacked) -> None:
    looks = "; ".join(f"command -v {word}" for word in ("sh", *NOT_HERE))
    assert image.run(["/bin/sh", "-c", looks]).stdout.split() == ["/usr/bin/sh"]
    for module in ("pip", "setuptools", "ensurepip", "hatchling", *FOREIGN[name_of(image)]):
        done = image.run(["/opt/dagferry/bin/python", "-c", f"import {module}"])
        assert "ModuleNotFoundError" in done.stderr, module
    assert not list((image.root / "var/lib/apt/lists").glob("*"))
    assert not (image.root / "src").exists()


def test_all_modules_can_be_imported(image: Unpacked) -> None:
    ours = "dagferry_shared.rules", f"dagferry_{name_of(image)}.cli", "dagferry_puller.airflow.check.command"
    words = ", ".join((*ours, *PACKAGES[name_of(image)], "cryptography", "zstandard"))
    done = image.run(["/opt/dagferry/bin/python", "-c", f"import {words}"])
    assert done.returncode == 0, done.stderr


def test_the_services_that_are_asked_are_still_known(image: Unpacked) -> None:
    if name_of(image) == "puller":
        return
    words = "; ".join(f"boto3.client('{name}', region_name='us-east-1')" for name in ("s3", "sns", "sts", "sso"))
    done = image.run(["/opt/dagferry/bin/python", "-c", f"import boto3; {words}"])
    assert done.returncode == 0, done.stderr


def test_bytecode_is_there_and_never_looked_at_twice(image: Unpacked) -> None:
    (packages,) = installed(image).glob("lib/python3*/site-packages")
    tag = re.sub(r"\D", "", packages.parent.name)
    sources = [path for path in packages.rglob("*.py") if path.parent.name != "__pycache__"]
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-{tag}.pyc"
        assert compiled.read_bytes()[4:8] == b"\x01\0\0\0", f"{compiled} is checked against its source"  # PEP 552
    assert len(sources) > 100
    assert importlib.util.MAGIC_NUMBER[2:] == b"\r\n"  # so that the four bytes after it are the flags


def test_nothing_installed_can_be_written_by_its_user(image: Unpacked) -> None:
    for top, directories, files in os.walk(installed(image)):
        for name in (*directories, *files, "."):
            entry = os.lstat(os.path.join(top, name))
            writable = stat.S_IWGRP | stat.S_IWOTH  # group 0 is that of the process
            assert stat.S_ISLNK(entry.st_mode) or (entry.st_uid == 0 and not entry.st_mode & writable), (top, name)


def test_help_starts_with_a_read_only_root(image: Unpacked) -> None:
    done = image.run(image.entrypoint("--help"))
    assert done.returncode == 0, done.stderr
    assert COMMANDS[name_of(image)] in done.stdout
    done = image.run(["/bin/sh", "-c", "id -u; id -g; grep CapBnd /proc/self/status; touch /tmp/file"])
    assert done.stdout.split() == ["10001", "0", "CapBnd:", "0000000000000000"]
    assert "Read-only file system" in done.stderr


def test_the_installed_tree_is_small(image: Unpacked) -> None:
    found = size_mb(installed(image))
    print(f"{name_of(image)}: {found:.0f} MB installed, {size_mb(image.root):.0f} MB with Debian")
    assert found < LIMIT_MB[name_of(image)]
