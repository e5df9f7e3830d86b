"""What each command loads: the puller stays light, and neither side loads the other."""

import os
import subprocess
import sys

import pytest

FORBIDDEN = {
    "dagferry_puller": {"boto3", "botocore", "typer", "rich", "dagferry_publisher", "prometheus_client", "obstore"},
    "dagferry_publisher": {"obstore", "dagferry_puller", "boto3"},
}


@pytest.mark.parametrize("module", sorted(FORBIDDEN))
def test_help_imports_nothing_it_does_not_use(module: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", module, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert module in loaded
    assert loaded & FORBIDDEN[module] == set()
