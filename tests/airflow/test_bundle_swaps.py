"""A version that comes while Airflow 3 parses: nothing is mixed, and what is of the old one is parsed again."""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from support.airflow3 import NAME, dag_file
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.airflow3 import Airflow3
    from support.airflowstage import Stage

# A DAG file that stops in the middle while the gate is closed, and imports a module after that.
_SLOW = """
import pathlib, time
HERE = {value!r}
gate = pathlib.Path({gate!r})
if gate.exists():
    gate.with_suffix(".started").touch()
    while gate.exists():
        time.sleep(0.05)
from lib_slow import late
"""


def slow(value: str, gate: Path) -> dict[str, Any]:
    """Return a tree whose DAG ``slow`` is stored as ``<value> <value>`` if all of it is of one version."""
    imports = _SLOW.format(value=value, gate=str(gate))
    return {
        "slow.py": dag_file("slow", "f'{HERE} {late.VALUE}'", imports=imports),
        "lib_slow/__init__.py": "",
        "lib_slow/late.py": f"VALUE = {value!r}\n",
    }


class Watch:
    """Writes down every change of what Airflow has stored of a DAG: (seconds, doc, version)."""

    def __init__(self, airflow: Airflow3, dag_id: str) -> None:
        self.seen: list[tuple[float, str, str | None]] = []
        self._ended = Event()
        self._thread = Thread(target=self._look, args=(airflow, dag_id))
        self._thread.start()

    def _look(self, airflow: Airflow3, dag_id: str) -> None:
        while not self._ended.wait(0.05):
            found = airflow.parsed(dag_id)
            if found and (not self.seen or self.seen[-1][1:] != (found.doc, found.version)):
                self.seen.append((time.monotonic(), found.doc, found.version))

    def end(self) -> list[tuple[float, str, str | None]]:
        """Stop; return what was seen."""
        self._ended.set()
        self._thread.join()
        return self.seen


@pytest.fixture(scope="module")
def airflow(shared_stage: Stage) -> Airflow3:
    """An Airflow whose dag-processor runs, at Airflow's own intervals but for how often it looks for versions."""
    shared_stage.deliver({"first.py": dag_file("first", "'first'")})
    made: Airflow3 = shared_stage.airflow({"root": str(shared_stage.pod.root)})
    made.dag_processor()
    return made


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    closed = tmp_path / "gate.closed"
    closed.touch()
    yield closed
    closed.unlink(missing_ok=True)


def test_swap_in_the_middle_of_a_parse_mixes_nothing(shared_stage: Stage, airflow: Airflow3, gate: Path) -> None:
    running = airflow.running("dag-processor")
    one = shared_stage.deliver(slow("one", gate))
    wait_for(gate.with_suffix(".started").exists, "the parse of the first version has begun", seconds=60)
    start = len(running.text())
    two = shared_stage.deliver(slow("two", gate.with_name("open")))
    running.wait_log(f"new version: {two.version}", after=start)
    watch = Watch(airflow, "slow")
    gate.unlink()
    final = airflow.wait_parsed("slow", "two two")
    end, seen = time.monotonic(), watch.end()
    assert final.version == two.version != one.version
    assert {doc for _, doc, _ in seen} <= {"one one", "two two"}
    # The residue: what the parse of the old version found is stored as of the new one, until the next parse.
    wrong = [moment for moment, doc, version in seen if (doc, version) == ("one one", two.version)]
    print(f"labelled with the wrong version for {end - wrong[0] if wrong else 0.0:.2f} s")


def test_files_in_the_queue_are_parsed_from_the_new_version(shared_stage: Stage, airflow: Airflow3, gate: Path) -> None:
    others = {f"q{number}.py": dag_file(f"q{number}", "'one'") for number in range(12)}
    held = {f"held{number}.py": slow("one", gate)["slow.py"].replace("'slow'", f"'h{number}'") for number in range(2)}
    shared_stage.deliver({**slow("one", gate), **held, **others})
    wait_for(gate.with_suffix(".started").exists, "all processes are held up", seconds=60)
    later = {f"q{number}.py": dag_file(f"q{number}", "'two'") for number in range(12)}
    two = shared_stage.deliver(later)
    gate.unlink()
    for number in range(12):
        assert airflow.wait_parsed(f"q{number}", "two").version == two.version


ASK = """
from airflow.models.dagbag import DagPriorityParsingRequest
from airflow.utils.session import create_session
with create_session() as session:
    session.add(DagPriorityParsingRequest({name!r}, {file!r}))
"""


def test_one_request_to_parse_a_file_brings_the_new_version_at_default_intervals(stage: Stage) -> None:
    stage.deliver({"a.py": dag_file("a", "'one'"), "b.py": dag_file("b", "'one'")})
    defaults = {"dag_processor__bundle_refresh_check_interval": 5}
    airflow = stage.airflow({"root": str(stage.pod.root), "refresh_interval": 300}, **defaults)
    running = airflow.dag_processor()
    airflow.wait_parsed("a", "one")
    airflow.wait_parsed("b", "one")
    two = stage.deliver({"a.py": dag_file("a", "'two'"), "b.py": dag_file("b", "'two'")})
    start = len(running.text())
    airflow.python_code(ASK.format(name=NAME, file="a.py"))
    for dag_id in ("a", "b"):
        assert airflow.wait_parsed(dag_id, "two").version == two.version
    assert "asked for 2 changed files" in running.text()[start:]
