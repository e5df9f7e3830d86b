"""The process inside the sandbox: it takes from itself what it can, then compiles or loads, and reports on one pipe.

Started by ``box`` as ``python -m``, with its orders as one JSON argument. What it sends, a JSON object a line:
``sandbox`` (what was taken away), ``at`` (a file that comes next), results, and ``end``; without the last it died.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
from typing import Any

from dagferry_puller.airflow.check import kernel

FILE_SIZE = 64 << 20  # bytes of one file, and of the file system in memory
PROCESSES = 512  # in a user namespace of its own; elsewhere other pods of the same user would count
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - what multiprocessing needs at import


class Report:
    """The pipe to the process outside.

    Args:
        descriptor: its end for writing.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def send(self, message: dict[str, Any]) -> None:
        """Write one message, all of it."""
        line = json.dumps(message).encode("ascii") + b"\n"
        while line:
            line = line[os.write(self.descriptor, line) :]


def _limit(memory: int, seconds: float) -> None:
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, math.ceil(seconds) + 5),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 1024),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def _refusal(*, network: bool) -> str:
    """Return why namespaces are not permitted, or nothing: a child tries, as half a try would spoil this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            kernel.own_namespaces(network=network)
        except OSError as error:
            os.write(writer, (error.strerror or "refused").encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        answer = file.read()
    os.waitpid(child, 0)
    return answer


def _wall_off(orders: dict[str, Any], refusal: str) -> dict[str, Any]:
    """Take away what can be taken, before any DAG runs; returns what the report says about it."""
    abi, problem = kernel.landlock_abi(), refusal
    files = "no-writes" if abi else "shared"
    if not refusal:
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
        try:
            kernel.read_only_files(orders["home"], FILE_SIZE)
            files = "read-only"
        except OSError as error:
            problem = error.strerror or "refused"
    kernel.drop_privileges()
    kernel.adopt_orphans()
    kernel.hide_memory(hidden=True)
    if orders["network"]:
        network = "kept"
    else:
        network = "none" if not refusal else "no-tcp" if abi >= kernel.ABI_TCP else "shared"
    processes = "own" if not refusal else "no-signals" if abi >= kernel.ABI_SIGNALS else "shared"
    return {"files": files, "network": network, "processes": processes, "problem": problem or None}


def _load(orders: dict[str, Any], report: Report) -> None:
    from dagferry_puller.airflow.check import loading  # noqa: PLC0415 - compiling needs none of it

    refusal = _refusal(network=orders["network"])
    if not refusal:
        kernel.own_namespaces(network=orders["network"])
    child = os.fork()
    if child:  # outside of the new process namespace, to be found by whoever kills us
        os.close(report.descriptor)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
    kernel.die_with_parent()
    report.send({"sandbox": _wall_off(orders, refusal)})
    os.makedirs(os.environ["TMPDIR"], exist_ok=True)
    os.chdir(orders["home"])
    loading.load_tree(orders, report)
    report.send({"end": True})


def main() -> None:
    """Follow the orders in the first argument."""
    orders = json.loads(sys.argv[1])
    kernel.die_with_parent()
    if os.getppid() != orders["parent"]:
        sys.exit("the process outside is gone")
    report = Report(orders["pipe"])
    _limit(orders["memory"], orders["seconds"])
    if orders["mode"] == "load":
        _load(orders, report)
        return
    from dagferry_puller.airflow.check.compiling import compile_tree  # noqa: PLC0415 - loading needs none of it

    compile_tree(orders["directory"], report.send)
    report.send({"end": True})


if __name__ == "__main__":
    main()
