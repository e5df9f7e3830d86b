"""Airflow 3.3 with a DagferryBundle on a sidecar's root: what is delivered is what is parsed, all of it, soon."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.airflow3 import dag_file
from support.mounts import enter_own_namespace, mount, needs_root, unmount
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.airflow3 import Airflow3
    from support.airflowstage import Stage


@pytest.fixture(scope="module")
def airflow(shared_stage: Stage) -> Airflow3:
    """An Airflow whose dag-processor runs, also for tests of bytecode: with a cache that versions share."""
    shared_stage.deliver({"first.py": dag_file("first", "'first'")})
    made = shared_stage.airflow({"root": str(shared_stage.pod.root)})
    cache = made.home / "pycache"
    made.dag_processor(PYTHONPYCACHEPREFIX=str(cache))
    made.wait_parsed("first", "first")
    return made


def test_changed_new_and_deleted_dags_become_visible(shared_stage: Stage, airflow: Airflow3) -> None:
    shared_stage.deliver({"a.py": dag_file("a", "'one'"), "gone.py": dag_file("gone", "'one'")})
    before = airflow.wait_parsed("a", "one")
    airflow.wait_parsed("gone", "one")
    two = shared_stage.deliver({"a.py": dag_file("a", "'two'"), "new.py": dag_file("new", "'two'")})
    after = airflow.wait_parsed("a", "two")
    airflow.wait_parsed("new", "two")
    airflow.wait_stale("gone")
    assert after.version == two.version != before.version
    assert after.fileloc == str(shared_stage.pod.version(two.version) / "a.py")
    assert "'two'" in after.code
    assert airflow.bundle_row()["version"] == two.version


def test_rollback_becomes_visible_with_its_code(shared_stage: Stage, airflow: Airflow3) -> None:
    old = shared_stage.deliver({"b.py": dag_file("b", "'old'")})
    airflow.wait_parsed("b", "old")
    shared_stage.deliver({"b.py": dag_file("b", "'new'")})
    airflow.wait_parsed("b", "new")
    shared_stage.simulator.again(old)
    shared_stage.pull()
    found = airflow.wait_parsed("b", "old")
    assert (found.version, "'old'" in found.code) == (old.version, True)


def with_helper(name: str, value: str) -> dict[str, Any]:
    return {
        "c.py": dag_file("c", f"{name}.VALUE", imports=f"import lib_c.{name}\nfrom lib_c import {name}"),
        "lib_c/__init__.py": "",
        f"lib_c/{name}.py": f"VALUE = {value!r}\n",
    }


def test_helper_of_the_same_size_is_never_run_from_old_bytecode(shared_stage: Stage, airflow: Airflow3) -> None:
    shared_stage.deliver(with_helper("helper", "one"))
    airflow.wait_parsed("c", "one")
    shared_stage.deliver(with_helper("helper", "two"), touch="all")
    assert "c.py" not in airflow.import_errors()
    airflow.wait_parsed("c", "two")
    assert list((airflow.home / "pycache").rglob("helper.*.pyc"))  # there was bytecode to be misled by


def test_renamed_helper_is_found_and_the_old_one_is_gone(shared_stage: Stage, airflow: Airflow3) -> None:
    shared_stage.deliver(with_helper("before", "one"))
    airflow.wait_parsed("c", "one")
    shared_stage.deliver(with_helper("after", "renamed"))
    airflow.wait_parsed("c", "renamed")
    assert airflow.import_errors() == {}


def test_link_that_is_gone_keeps_every_dag_and_the_log_says_what_to_do(shared_stage: Stage, airflow: Airflow3) -> None:
    pod = shared_stage.pod
    shared_stage.deliver({"d.py": dag_file("d", "'one'")})
    airflow.wait_parsed("d", "one")
    log = airflow.running("dag-processor")
    start = len(log.text())
    (pod.root / "current").unlink()
    log.wait_log("Error refreshing bundle etl", after=start)
    log.wait_log("nothing is live in", after=start)
    found = airflow.parsed("d")
    assert found
    assert not found.stale
    shared_stage.deliver({"d.py": dag_file("d", "'two'")})
    airflow.wait_parsed("d", "two")


def test_versions_in_use_are_not_retired(shared_stage: Stage, airflow: Airflow3) -> None:
    policy = {"keep": "1", "keep_hours": "0"}
    first = shared_stage.deliver({"e.py": dag_file("e", "'0'")}, **policy)
    airflow.wait_parsed("e", "0")
    for number in range(1, 5):
        shared_stage.deliver({"e.py": dag_file("e", f"'{number}'")}, **policy)
    airflow.wait_parsed("e", "4")
    shared_stage.pull(**policy)
    assert first.version in shared_stage.pod.versions()
    unused = shared_stage.deliver({"e.py": dag_file("e", "'unused'")}, **policy)
    airflow.wait_parsed("e", "unused")
    assert unused.version in shared_stage.pod.versions()


def test_versions_link_to_their_commit_in_gitlab(shared_stage: Stage, airflow: Airflow3) -> None:
    published = shared_stage.deliver({"f.py": dag_file("f", "'one'")})
    airflow.wait_parsed("f", "one")
    printed = airflow.python_code(
        "from sqlalchemy import select; from airflow.utils.session import create_session\n"
        "from airflow.models.dagbundle import DagBundleModel\n"
        "with create_session() as s:\n"
        "    bundle = s.scalars(select(DagBundleModel)).one()\n"
        f"    print('URL', bundle.render_url({published.version!r})); print('NONE', bundle.render_url(None))\n"
    )
    source = published.release.source
    assert f"URL {source.repository}/-/commit/{source.commit}\n" in printed
    assert "NONE " in printed


def test_missing_subdirectory_deactivates_nothing(stage: Stage) -> None:
    stage.deliver({"dags/a.py": dag_file("a", "'one'"), "other.txt": ""})
    airflow = stage.airflow({"root": str(stage.pod.root), "subdir": "dags"})
    running = airflow.dag_processor()
    found = airflow.wait_parsed("a", "one")
    assert found.fileloc.endswith("/dags/a.py")
    stage.deliver({"other.txt": "only"})
    running.wait_log("has no directory 'dags'")
    kept = airflow.parsed("a")
    assert kept
    assert not kept.stale


@needs_root
def test_read_only_root_is_enough(stage: Stage, tmp_path: Path) -> None:
    policy = {"keep": "1", "keep_hours": "0"}
    gone = stage.deliver({"a.py": dag_file("a", "'gone'")}, **policy)
    stage.deliver({"a.py": dag_file("a", "'one'")}, **policy)
    one = stage.deliver({"a.py": dag_file("a", "'two'")}, **policy)
    stage.pull(**policy)
    enter_own_namespace()
    mounted, gate = tmp_path / "mounted", tmp_path / "gate"
    mounted.mkdir()
    mount("--bind", stage.pod.root, mounted)
    mount("-o", "remount,bind,ro", mounted)
    airflow = stage.airflow({"root": str(mounted)})
    before = sights(stage.pod.root)
    airflow.call("dags", "reserialize")
    found = airflow.parsed("a")
    assert found
    assert (found.doc, found.version) == ("two", one.version)
    failed = airflow.get(gone.version)
    assert f"no version {gone.version}: it is not in {mounted}: it was retired" in failed
    assert "(--keep, --keep-hours), or give the bundle a store" in failed
    assert sights(stage.pod.root) == before

    user = subprocess.Popen(
        airflow.getting(
            one.version,
            f"pathlib.Path({str(gate)!r}).touch()\n    while pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)",
        ),
        env=airflow.environ,
    )
    wait_for(gate.exists, "a process uses the version")
    for number in range(3):
        stage.deliver({"a.py": dag_file("a", f"'{number}'")}, **policy)
    stage.pull(**policy)
    assert one.version in stage.pod.versions()
    gate.unlink()
    assert user.wait(timeout=60) == 0
    stage.deliver({"a.py": dag_file("a", "'last'")}, **policy)
    assert one.version not in stage.pod.versions()
    unmount(mounted)


def sights(root: Path) -> dict[str, tuple[int, int]]:
    """Return what of a root would change if somebody wrote to it."""
    return {str(path): (path.lstat().st_ctime_ns, path.lstat().st_size) for path in root.rglob("*")}
