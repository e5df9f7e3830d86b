"""Which process is pinned, to what, and what it sees then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.fakeairflow2 import BAG, FakeAirflow, parse
from support.handvolume import DAG, ONE, THREE, TWO

if TYPE_CHECKING:
    from pathlib import Path

    from support.handvolume import HandVolume


@pytest.mark.parametrize("command", ["tasks", "dags"])
def test_a_short_lived_command_is_pinned_from_its_start(airflow: FakeAirflow, command: str) -> None:
    code = f"swap({TWO!r})\nprint(json.dumps([list(DagBag().dags), is_leased({ONE!r}), is_leased({TWO!r})]))"
    assert parse(airflow, code, command, "test") == [["file=1 helper=1"], True, False]


def test_a_service_is_not_pinned_and_each_child_is_to_what_is_live(airflow: FakeAirflow) -> None:
    code = f"""
bags = [list(DagBag().dags)]
sys.modules.pop("helper")
swap({TWO!r})
bags += [fork(lambda: [list(DagBag().dags), is_leased({TWO!r})])]
swap({THREE!r})
bags += [fork(lambda: [list(DagBag().dags), is_leased({THREE!r})]), is_leased({TWO!r})]
print(json.dumps(bags))
"""
    expected = [["file=1 helper=1"], [["file=2 helper=2"], True], [["file=3 helper=3"], True], False]
    assert parse(airflow, code, "scheduler") == expected


def test_a_child_of_a_pinned_process_keeps_its_version_and_its_lease(airflow: FakeAirflow) -> None:
    code = f"""
def raw():
    import plug
    return [plug.VERSION, list(DagBag().dags), is_leased({ONE!r})]
def supervisor():
    DagBag()
    swap({TWO!r})
    return fork(raw)
print(json.dumps(fork(supervisor)))
"""
    assert parse(airflow, code, "celery") == [1, ["file=1 helper=1"], True]


def test_a_spawned_child_is_pinned(airflow: FakeAirflow) -> None:
    code = """
import multiprocessing
def work(queue):
    queue.put(os.environ.get("DAGFERRY_PINNED") is not None)
if __name__ == "__main__":
    print(json.dumps(True))
"""
    child = """
import multiprocessing
multiprocessing.process._parent_process = "a parent"  # what spawn_main sets in the child
print(json.dumps([list(DagBag().dags), "DAGFERRY_PINNED" in os.environ]))
"""
    assert parse(airflow, code, "scheduler") is True
    assert parse(airflow, child, "scheduler") == [["file=1 helper=1"], True]


def test_what_a_pinned_process_executes_sees_its_version(airflow: FakeAirflow, volume: HandVolume) -> None:
    code = f"""
import subprocess
from airflow import settings
swap({TWO!r})
inner = "import airflow, sys; from airflow.models.dagbag import DagBag; from airflow import settings; import os\\n"
inner += "print(list(DagBag().dags)[0], settings.DAGS_FOLDER, *[b.fileloc for b in DagBag().dags.values()])"
out = subprocess.run([sys.executable, "-c", inner, "anything"], capture_output=True, text=True, check=True).stdout
print(json.dumps([out.strip(), os.environ["AIRFLOW__CORE__DAGS_FOLDER"], settings.DAGS_FOLDER]))
"""
    out, folder, own = parse(airflow, code, "tasks", "run")
    assert out == f"file=1 helper=1 {volume.real(ONE)} {volume.path}/current/etl/dag.py"
    assert folder == own == volume.real(ONE)


def test_a_child_whose_parent_s_version_is_gone_takes_the_live_one_and_says_so(
    airflow: FakeAirflow, volume: HandVolume
) -> None:
    (volume.path / ".dagferry/leases" / THREE).unlink()
    mark = json.dumps([str(airflow.folder), str(volume.path), THREE])
    code = "print(json.dumps([list(DagBag().dags), sys.path.count(os.environ['AIRFLOW__CORE__DAGS_FOLDER'])]))"
    found, errors = airflow.run(BAG + code, AIRFLOW__CORE__DAGS_FOLDER=volume.real(THREE), DAGFERRY_PINNED=mark)
    assert found == [["file=1 helper=1"], 1]
    assert "is gone" in errors


@pytest.mark.parametrize("mark", ["{", "[1]", "null"])
def test_a_mark_that_no_pinned_process_left_is_not_followed(airflow: FakeAirflow, mark: str) -> None:
    found, errors = airflow.run(BAG + "print(json.dumps(list(DagBag().dags)))", "dags", DAGFERRY_PINNED=mark)
    assert found == ["file=1 helper=1"]
    assert "is not from a pinned process" in errors


def test_a_mark_without_a_version_s_name_pins_to_the_live_one(airflow: FakeAirflow, volume: HandVolume) -> None:
    mark = json.dumps([str(airflow.folder), str(volume.path), "../.."])
    assert parse(airflow, "print(json.dumps(list(DagBag().dags)))", "dags", DAGFERRY_PINNED=mark) == ["file=1 helper=1"]


def test_modules_that_the_parent_imported_are_imported_anew_in_the_version(
    airflow: FakeAirflow, tmp_path: Path, volume: HandVolume
) -> None:
    (tmp_path / "lib").symlink_to(volume.path / "current/plugins")
    code = f"""
import helper, plug, types
odd = sys.modules["odd"] = types.ModuleType("odd")
odd.__path__ = 3
old = plug
swap({TWO!r})
def child():
    DagBag()
    import helper, plug
    return [helper.VERSION, plug.VERSION, old.VERSION, "odd" in sys.modules, os.environ["PYTHONPATH"].split(":")[-1],
            plug.__file__]
print(json.dumps([helper.VERSION, plug.VERSION, fork(child)]))
"""
    found = parse(airflow, code, "scheduler", PYTHONPATH=f"{tmp_path}/lib")
    plugins = f"{volume.real(TWO)}/plugins"
    assert found == [1, 1, [2, 2, 1, True, plugins, f"{plugins}/plug.py"]]


def test_a_module_whose_import_is_under_way_is_not_forgotten(airflow: FakeAirflow, volume: HandVolume) -> None:
    volume.write(ONE, "plugins/airflow_local_settings.py", "from dagferry_puller.airflow import pin\npin.install()\n")
    (airflow.directory / "airflow_local_settings.py").unlink()
    assert parse(airflow, "print(json.dumps(list(DagBag().dags)))", "dags") == ["file=1 helper=1"]


def test_finders_of_the_link_are_dropped(airflow: FakeAirflow) -> None:
    code = f"""
import helper
swap({TWO!r})
print(json.dumps(fork(lambda: [DagBag() and 0] + [p for p in sys.path_importer_cache if "current" in p])))
"""
    assert parse(airflow, code, "scheduler") == [0]


def test_code_and_times_shown_are_those_of_the_version(airflow: FakeAirflow, volume: HandVolume) -> None:
    code = f"""
from airflow.models import dagcode
bag = DagBag()
swap({TWO!r})
dag = list(bag.dags.values())[0]
print(json.dumps([dagcode.code(dag.fileloc), dag.folder]))
"""
    assert parse(airflow, code, "dags") == [DAG.replace("FILE", "1"), f"{volume.real(ONE)}/etl"]
