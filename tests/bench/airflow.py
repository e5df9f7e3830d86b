"""``make bench-airflow``: from the publish of a commit to what Airflow shows, beside git-sync's layout.

Three layouts, each below an Airflow of its own at Airflow's default settings, get the same commits at the same moment:

- *dagferry*: a puller told by ``--notify`` that tells Airflow (``--airflow``); Airflow 3 by ``DagferryBundle``, 2.11
  behind the link with the pin.
- *checkout times*: what git-sync does: a new worktree, the link, the old worktree away.
- *commit times*: the same swap between trees that carry their commit's time, as unpacked archives and synced buckets.

A round publishes a commit that changes one DAG of thirty, adds one and removes one, and then goes back to the first
commit. Each of the two begins at a random moment of Airflow's own interval for new files (five minutes), so that for
layouts that depend on it the median is that of a wait for it. Quick rounds change a DAG and go back, no more. Time
begins when the publish does, and ends when Airflow's database has the serialized DAG with the content, or has the
removed one as gone; so it holds the publish itself, which is dearer for dagferry.

``ROUNDS`` (4, each gives two samples of new and deleted DAGs) take about eleven minutes each, ``QUICK_ROUNDS`` (4) two
and a half; all layouts and both versions go at once. ``AIRFLOW=3`` or ``AIRFLOW=2`` takes one, ``--json FILE`` writes
the samples.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from layouts import Checkout, CommitTimes, Dagferry, Layout, publish, remove

from support.airflowservers import AirflowServer
from support.gitrepos import GitRepo
from support.sitepods import SitePod
from support.sites import make_keys, make_site

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = int(os.environ.get("ROUNDS", "4"))
QUICK_ROUNDS = int(os.environ.get("QUICK_ROUNDS", "4"))
VERSIONS = [int(number) for number in os.environ.get("AIRFLOW", "3,2").split(",")]
PHASE_SECONDS = 300.0  # Airflow's default for new files: refresh_interval of 3.x, dag_dir_list_interval of 2.11
APART_SECONDS = 40.0  # a serialized DAG is written once in 30 s at most (min_serialized_dag_update_interval)
LATEST_SECONDS = 420.0  # what is not seen by then is not seen
FILES = 30
STEPS = ("changed", "new", "deleted", "rollback")
PIN = "from dagferry_puller.airflow import pin\n\npin.install()\n"
_DAG = """\
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

dag = DAG({name!r}, schedule=None, description={marker!r})
"""
_SHOWN = {  # the description as the serialized DAG has it, of a DAG that is there
    3: "SELECT s.data FROM dag d JOIN serialized_dag s ON s.dag_id = d.dag_id WHERE d.dag_id = ? AND d.is_stale = 0"
    " ORDER BY s.last_updated DESC, s.created_at DESC LIMIT 1",
    2: "SELECT s.data FROM dag d JOIN serialized_dag s ON s.dag_id = d.dag_id WHERE d.dag_id = ? AND d.is_active = 1",
}


Shown = tuple[str, str | None]  # a DAG, and its marker; None: it is not shown


@dataclass
class Place:
    """A layout with the Airflow above it, and what was measured: seconds by step."""

    layout: Layout
    airflow: AirflowServer
    seen: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})

    def shows(self, dag: str) -> str | None:
        """Return a DAG's marker as Airflow shows it; None: it shows no such DAG."""
        database = self.airflow.home / "airflow.db"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
            row = connection.execute(_SHOWN[self.airflow.major], [dag]).fetchone()
        if row is None:
            return None
        data = row[0] if isinstance(row[0], dict) else json.loads(row[0])
        kept = data["dag"]
        return str(kept["_description"] if self.airflow.major == 2 else kept["description"])

    def step(self, act: Callable[[], None], wanted: dict[str, Shown]) -> None:
        """Act, and note for each step when Airflow shows (DAG, marker).

        Args:
            act: publishes.
            wanted: by step.
        """
        start, left = time.monotonic(), dict(wanted)
        act()
        while left and time.monotonic() - start < LATEST_SECONDS:
            for step, (dag, marker) in list(left.items()):
                if self.shows(dag) == marker:
                    self.seen[step].append(time.monotonic() - start)
                    del left[step]
            time.sleep(0.05)
        for step in left:
            self.seen[step].append(float("inf"))


class Commits:
    """Commits on the same first one: thirty DAGs, and one that comes and goes."""

    def __init__(self, repo: GitRepo) -> None:
        self._repo = repo
        files = {f"dags/dag_{n}.py": dag(f"dag_{n}", "0") for n in range(FILES)}
        self._number = 0
        self.first = self.last = repo.commit({**files, "dags/new_0.py": dag("new_0", "0")}, "first")

    def next(self, *, quick: bool) -> tuple[dict[str, Shown], dict[str, Shown]]:
        """Commit a round's changes.

        Returns:
            What Airflow must show after it, and after the way back to the first commit, by step.
        """
        self._number += 1
        marker, came, gone = str(self._number), f"new_{self._number}", f"new_{self._number - 1}"
        files: dict[str, str | None] = {"dags/dag_0.py": dag("dag_0", marker)}
        there: dict[str, Shown] = {"changed": ("dag_0", marker)}
        back: dict[str, Shown] = {"rollback": ("dag_0", "0")}
        if not quick:
            files |= {f"dags/{came}.py": dag(came, marker), f"dags/{gone}.py": None}
            there |= {"new": (came, marker), "deleted": ("new_0", None)}
            back |= {"new": ("new_0", "0"), "deleted": (came, None)}
        self.last = self._repo.commit(files, f"round {marker}")
        return there, back


def dag(name: str, marker: str) -> str:
    """Return a DAG file that carries a marker as the DAG's description."""
    return _DAG.format(name=name, marker=marker)


def all_at_once(places: list[Place], act: Callable[[Place], None]) -> None:
    """Do something for each place, in a thread of its own; the first error is raised."""
    errors: list[BaseException] = []

    def run(place: Place) -> None:
        try:
            act(place)
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=[place]) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def dagferry(work: Path, major: int, repo: GitRepo, first: str, stack: ExitStack) -> Place:
    """Set up a site, a pod whose puller tells Airflow, and that Airflow."""
    (work / "keys").mkdir(parents=True)
    site = make_site(work / "site", make_keys(work / "keys"), repo)
    publish(site, first)
    pod = SitePod(work / "pod", site)
    stack.callback(pod.close)
    assert pod.once().code == 0
    settings = {}
    if major == 3:
        bundle = {
            "name": "dags",
            "classpath": "dagferry_puller.airflow.DagferryBundle",
            "kwargs": {"root": f"{pod.root}"},
        }
        settings["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps([bundle])
    else:
        (work / "settings").mkdir()
        (work / "settings/airflow_local_settings.py").write_text(PIN)
        settings["PYTHONPATH"] = f"{work}/settings"
    airflow = server(work, major, pod.root / "current", settings, stack)
    running = pod.run("--airflow", airflow.url, period="5s", log_level="info", environ=airflow.environ())
    return Place(Dagferry(site, pod, running), airflow)


def server(work: Path, major: int, link: Path, settings: dict[str, str], stack: ExitStack) -> AirflowServer:
    """Start an Airflow at its default settings above a link."""
    python = Path(__file__).parents[2] / f".cache/airflow-{major}/bin/python"
    if not python.exists():
        sys.exit(f"Airflow {major} is not installed: make airflows")
    made = AirflowServer(python.absolute(), work / "airflow", major, link, settings)
    stack.callback(made.close)
    made.start()
    return made


def places(work: Path, major: int, repo: GitRepo, first: str, stack: ExitStack) -> list[Place]:
    """Set up the three layouts below an Airflow each."""
    made = [dagferry(work / "dagferry", major, repo, first, stack)]
    for number, layout in enumerate((Checkout(work / "checkout", repo), CommitTimes(work / "commit", repo))):
        layout.publish(first)
        made.append(Place(layout, server(work / f"other-{number}", major, layout.link, {}, stack)))
    return made


def round_of(made: list[Place], commits: Commits, *, quick: bool) -> None:
    """Publish a commit everywhere at once, then go back."""
    there, back = commits.next(quick=quick)
    most = 0.0 if quick else PHASE_SECONDS
    time.sleep(APART_SECONDS + random.uniform(0, most))
    all_at_once(made, lambda place: place.step(lambda: place.layout.publish(commits.last), there))
    time.sleep(APART_SECONDS + random.uniform(0, most))
    all_at_once(made, lambda place: place.step(lambda: place.layout.rollback(commits.first), back))


def measure(work: Path, major: int) -> list[Place]:
    """Run all rounds with one version of Airflow."""
    with ExitStack() as stack:
        work.mkdir()
        repo = GitRepo(work / "repo")
        commits = Commits(repo)
        made = places(work, major, repo, commits.first, stack)
        all_at_once(made, lambda place: place.step(lambda: None, {"new": ("new_0", "0")}))
        for place in made:
            place.seen["new"].clear()
        for number in range(ROUNDS + QUICK_ROUNDS):
            round_of(made, commits, quick=number >= ROUNDS)
            print(f"Airflow {major}: round {number + 1} of {ROUNDS + QUICK_ROUNDS}", file=sys.stderr, flush=True)
            table(major, made)
        return made


def table(major: int, made: list[Place]) -> None:
    """Print medians and extremes."""
    print(f"\nAirflow {major}, seconds from publish to shown: median (lowest … highest; number)")
    print(f"{'':<40}" + "".join(f"{step:>28}" for step in STEPS), flush=True)
    for place in made:
        cells = [_cell(place.seen[step]) for step in STEPS]
        print(f"{place.layout.name:<40}" + "".join(f"{cell:>28}" for cell in cells), flush=True)


def _cell(samples: list[float]) -> str:
    if not samples:
        return "-"
    return f"{statistics.median(samples):.1f} ({min(samples):.1f} … {max(samples):.1f}; {len(samples)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dagferry-bench-", ignore_cleanup_errors=True) as name:
        work = Path(name).resolve()
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda major: measure(work / str(major), major), VERSIONS))
        remove(work)
    for major, made in zip(VERSIONS, found, strict=True):
        table(major, made)
    if given.json:
        samples = {
            major: {place.layout.name: place.seen for place in made}
            for major, made in zip(VERSIONS, found, strict=True)
        }
        Path(given.json).write_text(json.dumps(samples, indent=2))


if __name__ == "__main__":
    main()
