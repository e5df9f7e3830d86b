"""A whole Airflow 3 with the LocalExecutor: a run stays on the version that it began with, whatever comes meanwhile."""

from __future__ import annotations

import json
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest

from support.airflow3 import dag_file
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.airflow3 import Airflow3
    from support.airflowstage import Stage

RUN_SECONDS = 120.0  # a task's process takes some seconds to start, on two busy cores much more

# A task that says which code it has, waits, and imports a module after that.
_TASK = """
        import json, pathlib, time
        said = pathlib.Path({said!r}); gate = pathlib.Path({gate!r})
        said.mkdir(exist_ok=True)
        (said / "started").touch()
        while gate.exists():
            time.sleep(0.05)
        from lib_run import late
        (said / "done").write_text(json.dumps([HERE, late.VALUE, late.__file__]))
"""


def tree(value: str, said: Path, gate: Path) -> dict[str, Any]:
    """Return a tree whose DAG ``run`` is stored alike in all versions: only what it does differs."""
    body = _TASK.format(said=str(said), gate=str(gate))
    return {
        "run.py": dag_file("run", "'same'", imports=f"HERE = {value!r}", body=body),
        "lib_run/__init__.py": "",
        "lib_run/late.py": f"VALUE = {value!r}\n",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def airflow(stage: Stage) -> Airflow3:
    port = free_port()
    made: Airflow3 = stage.airflow(
        {"root": str(stage.pod.root), **stage.own},
        api__port=port,
        api__host="127.0.0.1",
        api__base_url=f"http://127.0.0.1:{port}",
        core__execution_api_server_url=f"http://127.0.0.1:{port}/execution/",
        core__executor="LocalExecutor",
        core__parallelism=2,
        core__dags_are_paused_at_creation=False,
        scheduler__enable_health_check=False,
        api__workers=1,
        logging__worker_log_server_port=free_port(),
        workers__execution_api_timeout=60,  # 5 s are too few for SQLite on a busy machine
        # Airflow's cleanup of versions, all the time, for all that it has noted: it must find nothing of ours.
        dag_processor__stale_bundle_cleanup_interval=2,
        dag_processor__stale_bundle_cleanup_min_versions=0,
        dag_processor__stale_bundle_cleanup_age_threshold=0,
    )
    return made


def state(airflow: Airflow3, run: str) -> tuple[str, str | None]:
    """Return a run's state and the version that it is pinned to."""
    rows = airflow.ask("SELECT state, bundle_version FROM dag_run WHERE run_id = ?", run)
    return (rows[0]["state"], rows[0]["bundle_version"]) if rows else ("", None)


def trigger(airflow: Airflow3, run: str) -> None:
    airflow.call("dags", "trigger", "run", "--run-id", run)


def wait_done(airflow: Airflow3, run: str, said: Path) -> list[str]:
    """Wait until a run ended well; returns what its task said."""
    wait_for(lambda: state(airflow, run)[0] in {"success", "failed"}, f"{run} ends", seconds=RUN_SECONDS)
    assert state(airflow, run)[0] == "success", logs(airflow)
    done: list[str] = json.loads((said / "done").read_text())
    shutil.rmtree(said)
    return done


def logs(airflow: Airflow3) -> str:
    """Return what the tasks logged."""
    return "\n".join(path.read_text(errors="replace")[-4000:] for path in airflow.home.rglob("attempt=*.log"))


def test_run_stays_on_its_version_while_others_come_and_its_own_is_retired(stage: Stage, airflow: Airflow3) -> None:
    said, gate = stage.directory / "said", stage.directory / "gate"
    policy = {"keep": "1", "keep_hours": "0"}
    one = stage.deliver(tree("one", said, gate), **policy)
    parser = airflow.dag_processor()
    airflow.wait_parsed("run", "same")
    airflow.start("api-server").wait_log("Application startup complete")
    scheduler = airflow.start("scheduler")

    gate.touch()
    trigger(airflow, "first")
    wait_for((said / "started").exists, "the task runs", seconds=RUN_SECONDS)
    parser.kill()  # it holds a lease, too
    two = stage.deliver(tree("two", said, gate), **policy)
    stage.deliver({**tree("three", said, gate), "more.txt": ""}, **policy)
    stage.pull(**policy)
    assert one.version in stage.pod.versions()  # leased by the task
    gate.unlink()
    here, late, file = wait_done(airflow, "first", said)
    assert (here, late) == ("one", "one")
    assert one.version in file
    assert state(airflow, "first") == ("success", one.version)

    # Run again, on the same version, which is not on the sidecar's root any more: it is fetched, beside what is live.
    stage.deliver(tree("four", said, gate), **policy)
    wait_for(lambda: stage.pull(**policy) or not {one.version, two.version} & stage.pod.versions(), "it is retired")
    airflow.dag_processor()
    wait_for(lambda: airflow.parsed("run").version not in {one.version, None}, "the newest is parsed")  # type: ignore[union-attr]
    airflow.call("tasks", "clear", "run", "--yes")
    here, late, file = wait_done(airflow, "first", said)
    assert (here, late) == ("one", "one")
    assert file.startswith(str(airflow.own_root / "versions" / one.version))
    assert state(airflow, "first") == ("success", one.version)

    trigger(airflow, "second")
    assert wait_done(airflow, "second", said)[:2] == ["four", "four"]
    scheduler.wait_log("removing stale bundle.")
    scheduler.wait_log("checking for stale bundle versions locally", after=len(scheduler.text()))
    assert scheduler.process.poll() is None
