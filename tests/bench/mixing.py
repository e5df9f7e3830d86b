"""``make bench-mixing``: how often Airflow mixes two versions in a parse or a run, behind a plain link and with us."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.mixing import SYSTEMS, experiment

PYTHON = Path(__file__).parents[2] / ".cache"


def main() -> int:
    """Run the experiment on each system; 1 if one that is ours mixed anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=200, help="of versions, for each system")
    parser.add_argument("--system", choices=SYSTEMS, action="append", help="only these")
    arguments = parser.parse_args()
    failed = False
    for name in arguments.system or SYSTEMS:
        system = SYSTEMS[name]
        python = PYTHON / f"airflow-{system.airflow}/bin/python"
        with tempfile.TemporaryDirectory(prefix="dagferry-mixing-", ignore_cleanup_errors=True) as directory:
            found, swaps, seconds = experiment(system, Path(directory), python, arguments.swaps)
        print(f"\n{name}: Airflow {system.airflow}, {system.what}; {swaps} swaps in {seconds:.0f} s", flush=True)
        print(f"  parses    {found.parses:6}   mixed {found.mixed_parses:5}")
        print(f"  task runs {found.runs:6}   mixed {found.mixed_runs:5}")
        print(f"  DAG runs  {found.dag_runs:6}   of two versions, each task whole: {found.crossed}")
        print(f"  versions seen {found.versions}" + (f"; e.g. {found.example}" if found.example else ""), flush=True)
        failed |= not name.endswith("-link") and bool(found.mixed_parses or found.mixed_runs)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
