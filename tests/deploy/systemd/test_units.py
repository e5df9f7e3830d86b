"""deploy/systemd: systemd's own tools read the units, and the sandbox permits what their commands really do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import options
from support import debian
from support.dagctl import TOP, clean_environ
from support.pods import COMMAND, Running

if TYPE_CHECKING:
    from support.s3site import S3Site

PLACE = TOP / "deploy/systemd"
UNITS = ["dagferry-puller.service", "dagferry-once.service"]
INSTALLED = "/opt/dagferry/bin/dagferry-puller"
USAGE = 2
EXPOSURE = 20  # tenths, of 100


def settings(unit: str) -> list[tuple[str, str]]:
    lines = (PLACE / unit).read_text(encoding="utf-8").splitlines()
    return [
        (name, value) for name, equals, value in (line.partition("=") for line in lines) if equals and name[0] != "#"
    ]


def values(unit: str, name: str) -> list[str]:
    return [value for key, value in settings(unit) if key == name]


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        if os.geteuid() != 0:
            pytest.skip("systemd-analyze is missing: apt-get install systemd")
        debian.install("systemd")
    return subprocess.run(["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, check=False)


def placed(unit: str, directory: Path, **changes: str) -> str:
    """Put a unit where systemd-analyze reads it, its command at a program that is there."""
    text = (PLACE / unit).read_text(encoding="utf-8").replace(INSTALLED, shutil.which("true") or "")
    for old, new in changes.items():
        text = text.replace(f"{old}=", f"{new}=")
    path = directory / unit
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_accepts_the_unit(unit: str, tmp_path: Path) -> None:
    done = analyze("verify", placed(unit, tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    wrong = analyze("verify", placed(unit, tmp_path, MemoryMax="MemoryMaximum"))
    assert re.search("Unknown key.*MemoryMaximum", wrong.stderr)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_rates_its_exposure_as_low(unit: str, tmp_path: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", placed(unit, tmp_path))
    assert done.returncode == 0, done.stdout
    assert analyze("security", "--offline=true", "--threshold=5", placed(unit, tmp_path)).returncode != 0


def test_both_units_have_one_sandbox() -> None:
    def sandbox(unit: str) -> list[tuple[str, str]]:
        found = settings(unit)
        return found[found.index(("CapabilityBoundingSet", "")) : -1 if unit == UNITS[0] else None]

    assert sandbox(UNITS[0]) == sandbox(UNITS[1])


def environment() -> dict[str, str]:
    lines = (PLACE / "puller.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_puller_knows_each_setting_of_the_example() -> None:
    ours = {name: value for name, value in environment().items() if name.startswith("DAGFERRY_")}
    assert ours.keys() <= {option.variable for option in options.OPTIONS if "run" in option.modes}
    assert options.resolve("run", {}, ours).root == "/var/lib/dagferry/dags"
    (state,) = values(UNITS[0], "ReadWritePaths")
    assert ours["DAGFERRY_ROOT"].startswith(state + "/")


def remapped(directory: Path, site: S3Site) -> dict[str, str]:
    """Return what the unit's processes have, its paths below a directory and its store a bucket that is there."""
    (directory / "home").mkdir(exist_ok=True)
    keys = {name: value for name, value in site.environ.items() if "KEY" in name}
    (directory / "aws").write_text(
        "[default]\n" + "".join(f"{name.lower()} = {value}\n" for name, value in keys.items())
    )
    there = {name: value for name, value in site.environ.items() if name not in keys}
    own = {
        "DAGFERRY_STORE": site.store,
        "DAGFERRY_TRUST": str(site.simulator.write_trust(directory / "trust.json")),
        "DAGFERRY_ROOT": str(directory / "dags"),
        "DAGFERRY_BUNDLE": site.simulator.bundle,
        "DAGFERRY_HTTP": "127.0.0.1:0",
        "DAGFERRY_LOG_FORMAT": "json",
        "DAGFERRY_PERIOD": "60s",
        "AWS_SHARED_CREDENTIALS_FILE": str(directory / "aws"),
        "AWS_ENDPOINT_URL_S3": site.environ["AWS_ENDPOINT_URL_S3"].replace("127.0.0.1", "localhost"),  # to be resolved
    }
    return clean_environ(directory / "home") | environment() | there | own


def command(unit: str) -> list[str]:
    (line,) = values(unit, "ExecStart")
    program, *words = shlex.split(line)
    assert program == INSTALLED
    return [*COMMAND, *words]


def permitted() -> set[str]:
    """Return the system calls that SystemCallFilter leaves, by systemd's own lists."""

    def calls(words: list[str]) -> set[str]:
        found: set[str] = set()
        for word in words:
            lines = analyze("syscall-filter", word).stdout.splitlines()[1:] if word.startswith("@") else [word]
            names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
            groups = [name for name in names if name.startswith("@")]
            found |= {name for name in names if not name.startswith("@")} | (calls(groups) if groups else set())
        return found

    allow, deny = values(UNITS[0], "SystemCallFilter")
    return calls(allow.split()) - calls(deny.removeprefix("~").split())


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("strace"), reason="needs root and strace")
def test_the_sandbox_permits_what_the_puller_does(tmp_path: Path, s3_site: S3Site) -> None:
    first = s3_site.publish()
    trace, log = tmp_path / "trace", tmp_path / "log"
    words = ["strace", "-f", "-qq", "-o", str(trace), *command(UNITS[0])]
    with log.open("wb") as file:
        process = subprocess.Popen(words, env=remapped(tmp_path, s3_site), stderr=file)
    running = Running(process, log, http=True)
    running.wait_live(first.version)
    second = s3_site.publish()
    pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    (reload,) = values(UNITS[0], "ExecReload")
    subprocess.run(shlex.split(reload.replace("$MAINPID", str(pid))), check=True)
    running.wait_live(second.version)
    assert running.metrics()
    subprocess.run(["kill", str(pid)], check=True)
    assert process.wait(timeout=60) == 0
    text = trace.read_text(errors="replace")
    made = {found for line in text.splitlines() if (found := next(iter(re.findall(r"^\d+ +(\w+)\(", line)), ""))}
    assert len(made) > 30
    assert made - permitted() == set()
    assert not re.search(r"mmap\([^)]*PROT_WRITE\|PROT_EXEC|mprotect\([^)]*PROT_EXEC", text), "MemoryDenyWriteExecute"
    families = set(re.findall(r"\bsocket\((AF_\w+)", text))
    assert families <= set(values(UNITS[0], "RestrictAddressFamilies")[0].split())


def test_once_ends_when_a_version_is_live(tmp_path: Path, s3_site: S3Site) -> None:
    made = s3_site.publish()
    done = subprocess.run(
        command(UNITS[1]), env=remapped(tmp_path, s3_site), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.readlink(tmp_path / "dags/current") == f"versions/{made.version}"


def test_a_wrong_setting_ends_with_the_code_that_systemd_does_not_restart(tmp_path: Path, s3_site: S3Site) -> None:
    environ = remapped(tmp_path, s3_site) | {"DAGFERRY_PERIOD": "soon"}
    done = subprocess.run(command(UNITS[0]), env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == USAGE
    assert values(UNITS[0], "RestartPreventExitStatus") == [str(USAGE)]


def test_each_file_that_the_readme_installs_is_there() -> None:
    block = re.search(
        r"<!-- not run: .* -->\n```bash\n(.*?)```", (PLACE / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert block
    assert subprocess.run(["bash", "-n"], input=block[1], text=True, check=False).returncode == 0
    ours = set(re.findall(r"\b(dagferry[\w.-]*\.(?:service|sysusers)|puller\.env)\b", block[1]))
    assert ours == {path.name for path in PLACE.iterdir()} - {"README.md"}


def test_the_user_of_the_units_is_made(tmp_path: Path) -> None:
    if not shutil.which("systemd-sysusers"):
        pytest.skip("systemd-sysusers is missing: apt-get install systemd")
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(PLACE / "dagferry.sysusers")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for unit in UNITS:
        (user,) = values(unit, "User")
        assert f"\n{user}:x:" in "\n" + (tmp_path / "etc/passwd").read_text()
