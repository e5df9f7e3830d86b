"""Airflow 3.3 with a DagferryBundle that pulls by itself: what is verified, kept, fetched again, and refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.airflow3 import NAME, dag_file
from support.bundles import archive_bytes
from support.waiting import wait_for

if TYPE_CHECKING:
    from support.airflow3 import Airflow3
    from support.airflowstage import Stage


def got(airflow: Airflow3, version: str) -> str:
    """Return the line for a version in the own storage."""
    return f"GOT {airflow.own_root / 'versions' / version} {version}"


@pytest.fixture
def airflow(stage: Stage) -> Airflow3:
    made: Airflow3 = stage.airflow(stage.own)
    return made


def test_deploy_outage_restart_and_rollback(stage: Stage, airflow: Airflow3) -> None:
    one = stage.publish({"a.py": dag_file("a", "'one'")})
    running = airflow.dag_processor()
    assert airflow.wait_parsed("a", "one").version == one.version
    two = stage.publish({"a.py": dag_file("a", "'two'"), "b.py": dag_file("b", "'two'")})
    assert airflow.wait_parsed("a", "two").version == two.version
    airflow.wait_parsed("b", "two")

    away = stage.simulator.directory.rename(stage.directory / "away")
    start = len(running.text())
    running.wait_log("Error refreshing bundle etl", after=start)
    running.wait_log(f"Airflow goes on with {two.version[:12]}", after=start)
    running.stop()
    restarted = airflow.dag_processor()
    restarted.wait_log(f"Version {two.version} is used, which is here and verified")
    restarted.wait_log("Found 2 files for bundle etl")
    restarted.wait_log("Error refreshing bundle etl")
    assert {dag.stale for dag in (airflow.parsed("a"), airflow.parsed("b")) if dag} == {False}

    away.rename(stage.simulator.directory)
    stage.simulator.again(one)
    assert airflow.wait_parsed("a", "one").version == one.version
    airflow.wait_stale("b")


def test_cold_processes_that_race_all_get_the_whole_version(stage: Stage, airflow: Airflow3) -> None:
    files = {f"lib/m{number}.py": f"N = {number}\n" for number in range(300)}
    one = stage.publish({"a.py": dag_file("a", "'one'"), **files})
    with ThreadPoolExecutor(4) as pool:
        versions = (one.version, None, one.version, None)
        assert set(pool.map(airflow.get, versions)) == {got(airflow, one.version)}
    assert names(airflow) == {one.version}
    assert {p.name for p in (airflow.own_root / "versions" / one.version / "lib").iterdir()} == {
        Path(file).name for file in files
    }


def names(airflow: Airflow3) -> set[str]:
    return {path.name for path in (airflow.own_root / "versions").iterdir()}


def test_kill_in_the_middle_of_a_pull_leaves_nothing_half(stage: Stage, airflow: Airflow3) -> None:
    one = stage.publish({"a.py": dag_file("a", "'one'")})
    mark = stage.directory / "checking"
    check = f"sh -c 'echo $$ > {mark}; exec sleep 600'"
    process = subprocess.Popen(
        airflow.getting(None),
        env={**airflow.environ, "DAGFERRY_CHECK_COMMAND": check},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid = wait_for(lambda: mark.exists() and mark.read_text(), "the pull is at its check")
    staging = names(airflow)
    assert one.version not in staging
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    os.kill(int(pid), signal.SIGKILL)
    assert airflow.get() == got(airflow, one.version)
    assert names(airflow) == {one.version}


def test_tampered_archive_is_refused_and_the_old_version_stays(stage: Stage, airflow: Airflow3) -> None:
    one = stage.publish({"a.py": dag_file("a", "'one'")})
    assert airflow.get() == got(airflow, one.version)
    evil = archive_bytes({"a.py": dag_file("a", "'evil'")})
    stage.publish({"a.py": dag_file("a", "'two'")}, archive=lambda data: evil)
    assert airflow.get() == got(airflow, one.version)
    failed = airflow.get(more="bundle.refresh(); bundle.refresh()")
    assert failed.startswith(f"FAILED BundleUnavailable dagferry bundle {NAME!r}: no newest version: refused (")
    assert f"Airflow goes on with {one.version[:12]}" in failed
    assert names(airflow) == {one.version}


def test_pinned_version_is_fetched_again_and_the_link_stays(stage: Stage, airflow: Airflow3) -> None:
    one = stage.publish({"a.py": dag_file("a", "'one'"), "b.txt": "one"})
    two = stage.publish({"a.py": dag_file("a", "'two'")})
    assert airflow.get() == got(airflow, two.version)
    assert airflow.get(one.version) == got(airflow, one.version)
    assert os.readlink(airflow.own_root / "current") == f"versions/{two.version}"
    directory = airflow.own_root / "versions" / one.version
    shutil.rmtree(directory / "b.txt", ignore_errors=True)
    directory.chmod(0o755)
    (directory / "b.txt").unlink()  # what a cleanup that was killed leaves
    assert airflow.get(one.version) == got(airflow, one.version)
    assert (directory / "b.txt").read_text() == "one"

    stage.simulator.directory.rename(stage.directory / "away")
    assert airflow.get(one.version) == got(airflow, one.version)  # whole: the store is not asked
    (directory / "a.py").unlink()
    failed = airflow.get(one.version, environ={"DAGFERRY_TIMEOUT": "2s"})
    assert failed.startswith(f"FAILED BundleUnavailable dagferry bundle {NAME!r}: no version {one.version}: ")
    assert "there is nothing to parse or to run until this is cured" in failed


def test_revoked_version_is_not_run_even_if_it_is_here(stage: Stage, airflow: Airflow3) -> None:
    one = stage.publish({"a.py": dag_file("a", "'one'")})
    stage.publish({"a.py": dag_file("a", "'two'")})
    assert airflow.get(one.version) == got(airflow, one.version)
    stage.simulator.write_trust(stage.pod.trust, revoked=[one.release.source.commit])
    failed = airflow.get(one.version)
    assert failed.startswith("FAILED BundleUnavailable")
    assert "refused (revoked)" in failed


CLEAN = """
from airflow.dag_processing.bundles.base import BundleUsageTrackingManager, BundleVersionLock
from airflow.dag_processing.bundles.manager import DagBundlesManager
bundle = DagBundlesManager().get_bundle({name!r}, version={version!r})
bundle.initialize()
path, place = bundle.path, bundle.versions_dir / {version!r}
lock = BundleVersionLock({name!r}, {version!r}); lock.acquire(); lock.release()
{more}
try:
    BundleUsageTrackingManager().remove_stale_bundle_versions()
except Exception as error:
    print("FAILED", type(error).__name__)
print("LEFT", path.is_dir(), place.exists())
"""
NOW = {
    "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_MIN_VERSIONS": "0",
    "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_AGE_THRESHOLD": "-5",
}


@pytest.mark.parametrize("mode", ["own", "sidecar"])
def test_cleanup_by_airflow_neither_removes_a_version_nor_fails(stage: Stage, mode: str) -> None:
    one = stage.deliver({"a.py": dag_file("a", "'one'")})
    airflow = stage.airflow(stage.own if mode == "own" else {"root": str(stage.pod.root)})

    def clean(more: str) -> str:
        code = CLEAN.format(name=NAME, version=one.version, more=more)
        printed = airflow.execute([str(airflow.python), "-c", code], environ=NOW)
        return "\n".join(line for line in printed.splitlines() if line.startswith(("LEFT", "FAILED")))

    # What would happen without the empty directory: in a scheduler with the LocalExecutor, its end.
    assert clean("place.rmdir()") == "FAILED FileNotFoundError\nLEFT True False"
    assert clean("pass") == "LEFT True True"  # in use
    assert clean("del bundle") == "LEFT True False"
