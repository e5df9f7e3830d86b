"""Runs in an Airflow's own environment: one of its bundles, asked line by line; answers with what each call took.

Importing Airflow is not counted: a DAG processor has done that long before.
"""

import json
import os
import resource
import sys
import time

KIND, ARGUMENTS = sys.argv[1], json.loads(sys.argv[2])


def used() -> tuple[float, int]:
    """Return CPU seconds and bytes given to the disk, of this process and of those that it waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both), 512 * sum(one.ru_oublock for one in both)


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Airflow prints is not ours
    if KIND == "s3":
        from airflow.providers.amazon.aws.bundles.s3 import S3DagBundle as Bundle
    else:
        from airflow.providers.git.bundles.git import GitDagBundle as Bundle
    bundle = Bundle(**ARGUMENTS)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        start, before = time.perf_counter(), used()
        (bundle.initialize if line.strip() == "initialize" else bundle.refresh)()
        wall, after = time.perf_counter() - start, used()
        took = {"wall": wall, "cpu": after[0] - before[0], "written": after[1] - before[1], "path": str(bundle.path)}
        print(json.dumps(took), file=out, flush=True)


main()
