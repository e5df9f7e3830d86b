"""A DAG tree whose every file says its version, and which reports each parse and each run: did it see only one?

Each parse and each task appends one line to the report: a JSON object of what it saw of each file. Imports are spread
over time, as those of large libraries are: without that a swap seldom falls between two of them.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.bundles import File

if TYPE_CHECKING:
    from pathlib import Path

MODULES = ("a", "b", "c")
_DAG = """
{imports}
import json, os, subprocess, time
from datetime import datetime
VERSION = {version}
REPORT = {report!r}
PAUSE = {pause}
HERE = os.path.dirname(__file__)

def report(kind, **seen):
    line = json.dumps({{"kind": kind, "file": VERSION, **seen}}) + "\\n"
    fd = os.open(REPORT, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(fd, line.encode())
    os.close(fd)

def text(name):
    with open(os.path.join(HERE, name)) as file:
        return int(file.read())

from helpers import a
time.sleep(PAUSE)
from helpers import b
time.sleep(PAUSE)
import helpers.c as c
seen = {{"a": a.VERSION, "b": b.VERSION, "c": c.VERSION, "data": text("data/number.txt")}}

def work(run_id=None):
    time.sleep(2 * PAUSE)
    from helpers import late
    time.sleep(PAUSE)
    script = subprocess.run(["sh", os.path.join(HERE, "data/script.sh")], capture_output=True, check=True).stdout
    report("run", run=run_id, **seen, late=late.VERSION, text=text("data/number.txt"), script=int(script))

with DAG("mixing", start_date=datetime(2026, 1, 1), schedule="@continuous", max_active_runs=1, catchup=False,
         doc_md=json.dumps({{"file": VERSION, **seen}})) as dag:
    first = PythonOperator(task_id="first", python_callable=work)
    first >> PythonOperator(task_id="second", python_callable=work)
report("parse", **seen)
"""
IMPORTS = {
    2: "from airflow import DAG\nfrom airflow.operators.python import PythonOperator",
    3: "from airflow.sdk import DAG\nfrom airflow.providers.standard.operators.python import PythonOperator",
}


def tree(version: int, report: Path, *, airflow: int, pause: float = 0.05) -> dict[str, Any]:
    """Return version ``version`` of the tree.

    Args:
        version: a number, in each of its files.
        report: file to append to.
        airflow: 2 or 3.
        pause: seconds between two imports.
    """
    module = f"VERSION = {version}\n"
    dag = _DAG.format(imports=IMPORTS[airflow], version=version, report=str(report), pause=pause)
    modules = {f"helpers/{name}.py": module for name in (*MODULES, "late")}
    script = File(f"#!/bin/sh\necho {version}\n".encode(), executable=True)
    return {
        "mixing.py": dag,
        "helpers/__init__.py": "",
        **modules,
        "data/number.txt": str(version),
        "data/script.sh": script,
    }


@dataclass(frozen=True)
class Outcome:
    """What was seen.

    Attributes:
        parses: of the DAG file.
        mixed_parses: those that saw more than one version.
        runs: of tasks.
        mixed_runs: those that saw more than one version.
        dag_runs: with both of their tasks done.
        crossed: those whose two tasks, each whole, were of different versions.
        versions: that any parse or run saw.
        example: of something mixed.
    """

    parses: int
    mixed_parses: int
    runs: int
    mixed_runs: int
    dag_runs: int
    crossed: int
    versions: int
    example: str


def outcome(report: Path) -> Outcome:
    """Count what a report says."""
    lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    counts: Counter[tuple[str, bool]] = Counter()
    by_run: dict[str, list[int]] = {}
    versions, example = set(), ""
    for line in lines:
        kind, run = line.pop("kind"), line.pop("run", None)
        mixed = len(set(line.values())) > 1
        counts[kind, mixed] += 1
        versions |= set(line.values())
        example = f"{kind} {line}" if mixed else example
        if run and not mixed:
            by_run.setdefault(run, []).append(line["file"])
    whole = [files for files in by_run.values() if len(files) == 2]
    mixed_parses, mixed_runs = counts["parse", True], counts["run", True]
    return Outcome(
        parses=counts["parse", False] + mixed_parses,
        mixed_parses=mixed_parses,
        runs=counts["run", False] + mixed_runs,
        mixed_runs=mixed_runs,
        dag_runs=len(whole),
        crossed=sum(len(set(files)) > 1 for files in whole),
        versions=len(versions),
        example=example,
    )
