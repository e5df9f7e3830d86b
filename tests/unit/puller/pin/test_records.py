"""What a pinned process records is what an unpinned one does; what goes wrong leaves the plain link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.fakeairflow2 import BAG, MODULES, SWAP, FakeAirflow, parse
from support.handvolume import ONE, TWO

if TYPE_CHECKING:
    from pathlib import Path

    from support.handvolume import HandVolume


_RECORD = """
from airflow.serialization import serialized_objects
from airflow.operators import python
from airflow import settings
import pathlib
bag = DagBag()
dag = next(iter(bag.dags.values()))
again = len(bag.process_file(filepath=dag.fileloc)) + bag.parsed
operator = python._BasePythonVirtualenvOperator()
module = next(module for name, module in sys.modules.items() if name.endswith("_dag") and hasattr(module, "dag"))
operator.dag, operator.callable = dag, type("f", (), {"__code__": compile("", module.__file__, "exec")})
bare = object.__new__(type(dag))
print(json.dumps({
    "fileloc": dag.fileloc, "own": vars(dag)["fileloc"], "relative": str(dag.relative_fileloc),
    "errors": bag.import_errors, "warnings": bag.captured_warnings, "changed": sorted(bag.file_last_changed),
    "folder": serialized_objects.DAGS_FOLDER, "asked": settings.asked, "again": again, "bare": hasattr(bare, "fileloc"),
    "module": sorted(n for n in sys.modules if n.startswith("unusual_")), "none": bag.process_file(None),
    "virtualenv": operator._execute_python_callable_in_subprocess("python"), "after": dag.fileloc,
}))
"""


def test_what_is_recorded_is_the_same_with_the_pin_and_without(airflow: FakeAirflow, tmp_path: Path) -> None:
    plain = FakeAirflow(tmp_path / "plain", airflow.folder, local_settings="")
    pinned, unpinned = parse(airflow, _RECORD, "dags"), parse(plain, _RECORD, "dags")
    assert pinned == unpinned
    assert pinned["fileloc"] == f"{airflow.folder}/etl/dag.py"
    assert pinned["virtualenv"] is True
    assert pinned["again"] == 2  # two files parsed, none of them twice


def test_a_service_s_listing_is_of_one_version_and_named_by_the_link(airflow: FakeAirflow, volume: HandVolume) -> None:
    volume.write(TWO, "etl/new_dag.py", "")
    change = f"""
from airflow.utils import file
original = file.list_py_file_paths
def slow(directory, **options):
    swap({TWO!r})
    return original(directory, **options) + [str(is_leased({ONE!r}))]
file.list_py_file_paths = slow
from airflow.dag_processing import manager
print(json.dumps([manager.list_py_file_paths(os.environ["FOLDER"]), is_leased({ONE!r})]))
"""
    found, errors = airflow.run(SWAP + "import airflow\n" + change, "scheduler")
    assert errors == ""
    current = str(airflow.folder)
    assert found == [[f"{current}/etl/broken_dag.py", f"{current}/etl/dag.py", "True"], False]


def test_manager_lists_the_folder_anew_as_soon_as_the_link_has_moved(airflow: FakeAirflow, volume: HandVolume) -> None:
    volume.write(TWO, "etl/new_dag.py", "")
    look = f"""
from airflow.dag_processing.manager import DagFileProcessorManager
manager = DagFileProcessorManager()
told = [manager._refresh_dag_dir(), manager._refresh_dag_dir()]
swap({TWO!r})
told += [manager._refresh_dag_dir(), manager._refresh_dag_dir()]
os.unlink(os.environ["FOLDER"].removesuffix("/etl"))
print(json.dumps([told, manager._refresh_dag_dir(), [os.path.basename(path) for path in manager._file_paths]]))
"""
    found, errors = airflow.run(SWAP + "import airflow\n" + look, "scheduler")
    assert errors == ""
    assert found[:2] == [[True, False, True, False], False]
    assert "new_dag.py" in found[2]


def test_the_folder_that_a_manager_records_is_the_link(airflow: FakeAirflow) -> None:
    code = """
from airflow.dag_processing.manager import DagFileProcessorManager
print(json.dumps(DagFileProcessorManager().get_dag_directory()))
"""
    assert parse(airflow, code, "scheduler") == str(airflow.folder)


@pytest.mark.parametrize("version", ["2.9.3", "3.3.2"])
def test_an_airflow_that_it_does_not_know_is_left_alone(airflow: FakeAirflow, tmp_path: Path, version: str) -> None:
    init = MODULES["__init__"].replace("2.11.2", version)
    other = FakeAirflow(tmp_path / "other", airflow.folder, {"__init__": init})
    found, errors = other.run(BAG + "print(json.dumps([b.folder for b in DagBag().dags.values()]))", "dags")
    assert found == [f"{airflow.folder}/etl"]
    assert f"this is {version}" in errors


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("models/dag", "def relative_fileloc", "def other_fileloc"),
        ("models/dagbag", "def process_file", "def process_other"),
        ("utils/file", "def get_unique_dag_module_name", "def get_name"),
    ],
)
@pytest.mark.parametrize("command", ["dags", "scheduler"])
def test_an_airflow_that_is_built_otherwise_is_read_through_the_link(
    airflow: FakeAirflow, tmp_path: Path, module: str, old: str, new: str, command: str
) -> None:
    changed = {name: text.replace(old, new) for name, text in MODULES.items() if name == module}
    if module == "models/dagbag":
        changed[module] = changed[module].replace("self.process_file", "self.process_other")
    if module == "utils/file":
        changed["models/dagbag"] = MODULES["models/dagbag"].replace("get_unique_dag_module_name", "get_name")
    other = FakeAirflow(tmp_path / "other", airflow.folder, changed)
    code = "print(json.dumps(fork(lambda: [b.fileloc for b in DagBag().dags.values()])))"
    found, errors = other.run(SWAP + BAG + code, command)
    assert found == [f"{airflow.folder}/etl/dag.py"]
    assert "the pin is off" in errors


def test_an_error_at_the_start_does_not_stop_airflow(airflow: FakeAirflow, tmp_path: Path) -> None:
    broken = "from dagferry_puller.airflow import pin\npin.process.inherit = None\npin.install()\n"
    other = FakeAirflow(tmp_path / "other", airflow.folder, local_settings=broken)
    found, errors = other.run(BAG + "print(json.dumps(list(DagBag().dags)))", "dags")
    assert found == ["file=1 helper=1"]
    assert "the pin is off" in errors


def test_without_a_link_of_ours_airflow_goes_on_and_it_is_said_once(
    airflow: FakeAirflow, volume: HandVolume, tmp_path: Path
) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout/dag.py").write_text("from airflow.models.dag import DAG\ndag = DAG('plain')\n")
    airflow.folder = tmp_path / "checkout"
    code = "print(json.dumps(fork(lambda: [list(DagBag().dags), list(DagBag().dags)])))"
    found, errors = airflow.run(SWAP + BAG + code, "scheduler")
    assert found == [["plain"], ["plain"]]
    assert errors.count("not pinned") == 1


def test_an_error_while_pinning_leaves_the_link(airflow: FakeAirflow, tmp_path: Path) -> None:
    broken = "from dagferry_puller.airflow import pin, process\ndef fail(*_):\n    raise RuntimeError('no')\n"
    for name in ("process._forget_modules = fail", "process.place.find = fail"):
        other = FakeAirflow(tmp_path / name, airflow.folder, local_settings=f"{broken}{name}\npin.install()\n")
        code = """
from airflow.dag_processing import manager
paths = [dag.fileloc for dag in DagBag().dags.values()]
print(json.dumps([paths, len(manager.list_py_file_paths(os.environ["FOLDER"])), airflow.settings.DAGS_FOLDER]))
"""
        found, errors = other.run(BAG + code, "dags")
        assert found == [[f"{airflow.folder}/etl/dag.py"], 2, str(airflow.folder)]
        assert "not pinned" in errors


def test_it_is_installed_once(airflow: FakeAirflow, tmp_path: Path) -> None:
    twice = FakeAirflow(tmp_path / "twice", airflow.folder, local_settings=airflow.local_settings + "pin.install()\n")
    code = "print(json.dumps([list(DagBag().dags), sum(type(f).__name__ == '_Finder' for f in sys.meta_path)]))"
    assert parse(twice, code, "dags") == [["file=1 helper=1"], 1]


def test_modules_that_were_imported_before_are_changed_too(airflow: FakeAirflow, tmp_path: Path) -> None:
    early = FakeAirflow(
        tmp_path / "early", airflow.folder, local_settings="import airflow.models.dagbag\n" + airflow.local_settings
    )
    code = f"swap({TWO!r})\nprint(json.dumps([list(DagBag().dags), [d.fileloc for d in DagBag().dags.values()]]))"
    assert parse(early, code, "dags") == [["file=1 helper=1"], [f"{airflow.folder}/etl/dag.py"]]
