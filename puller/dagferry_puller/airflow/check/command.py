"""The command line of ``dagferry-check``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from dagferry_puller.airflow.check import job as jobs
from dagferry_puller.airflow.check import kernel
from dagferry_puller.airflow.check.box import Terms
from dagferry_puller.exits import ConfigError, Exit, code_for, line_for
from dagferry_shared import __version__, times
from dagferry_shared.errors import DagferryError, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_puller.airflow.check.report import Report

PROGRAM = "dagferry-check"
_DEFAULTS = Terms()

_ABOUT = """\
Check a tree of DAGs before anybody uses it: in CI before a publish, or as the puller's --check-command.

--compile  compiles every .py file in memory; nothing runs. The default.
--dags     loads the DAGs folder with the Airflow of this Python, in a sandbox: that runs the DAGs' code.
           It sees no credentials, network, database, Variables or Connections but for what --env gives it.
"""

_EPILOG = """\
examples:
  dagferry-check dags/
  dagferry-check --compile --dags --path dags --import-from . .
  dagferry-check --dags --env AIRFLOW_VAR_BUCKET=any --json dags/
  dagferry-puller run ... --check-command 'dagferry-check --compile --baseline /dags/current'

exit codes:
   0  good, or nothing is broken that was not broken before
   1  unexpected: Airflow itself cannot be loaded, no temporary directory (TMPDIR)
   2  usage: an option is wrong, or asks for what this host does not have
   3  refused: files do not compile, DAGs do not load, or two files have one DAG id
  11  --timeout passed before all was looked at

What the sandbox keeps in and what it does not, and the JSON: puller/CHECK.md.
"""


def _seconds(text: str) -> float:
    try:
        return times.duration(text).total_seconds()
    except Refused as error:
        raise argparse.ArgumentTypeError(error.detail) from error


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,6})(M|G)(?:i?B)?", text, re.ASCII)
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a size such as 512MiB or 4GiB")
    return int(match[1]) << (20 if match[2] == "M" else 30)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=_ABOUT,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("directory", metavar="DIRECTORY", help="the tree; the puller appends it to the command")
    add("--compile", action="store_true", help="compile every .py file (the default)")
    add("--dags", action="store_true", help="load the DAGs; together with --compile it does both")
    add("--path", action="append", metavar="SUBDIR", help="look at this directory of the tree alone, for --dags as a "
        "DAGs folder of its own; may be repeated")  # fmt: skip
    add("--import-from", action="append", default=[], metavar="SUBDIR", help="put this directory of the tree first in "
        "PYTHONPATH; . is the tree itself; may be repeated")  # fmt: skip
    add("--baseline", metavar="PATH", help="errors do not count in files that are broken there, too: a directory such "
        "as the live version, or an earlier --json; one that is not there knows of none")  # fmt: skip
    add("--timeout", type=_seconds, default=100.0, metavar="TIME", help="for all of it; default 100s, so that the "
        "report comes before the puller's --check-timeout of 120s")  # fmt: skip
    add("--file-timeout", type=_seconds, default=_DEFAULTS.file_seconds, metavar="TIME", help="for one file that is "
        "loaded; default 50s, as Airflow's dag_file_processor_timeout")  # fmt: skip
    add("--memory", type=_bytes, default=_DEFAULTS.memory, metavar="SIZE", help="address space of each process in the "
        "sandbox; default 4GiB")  # fmt: skip
    add("--env", action="append", default=[], metavar="NAME[=VALUE]", help="a variable for the sandbox, else one of "
        "its own few; without a value, this process's; may be repeated")  # fmt: skip
    add("--network", action="store_true", help="leave the network to the DAGs")
    add("--require-sandbox", action="store_true", help="fail where this host does not permit the whole sandbox")
    add("--json", action="store_true", help="print one JSON document; errors on stderr are JSON, too")
    add("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def _inside(directory: str, path: str, option: str) -> str:
    """Return a directory of the tree, relative to it."""
    found = os.path.realpath(os.path.join(directory, path))
    if not os.path.isdir(found) or os.path.commonpath((directory, found)) != directory:
        raise ConfigError(option, f"{path!r} is not a directory in {directory}")
    return os.path.relpath(found, directory)


def _variables(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator and name not in os.environ:
            raise ConfigError("--env", f"{name!r} is not set here, and has no value")
        found[name] = value if separator else os.environ[name]
    return found


def _job(options: argparse.Namespace) -> jobs.Job:
    directory = os.path.realpath(options.directory)
    if not os.path.isdir(directory):
        raise ConfigError("DIRECTORY", f"{options.directory!r} is not a directory")
    if options.dags and importlib.util.find_spec("airflow") is None:
        raise ConfigError("--dags", f"{sys.executable} has no Airflow")
    modes = (("compile",) if options.compile or not options.dags else ()) + (("load",) if options.dags else ())
    first = tuple(
        os.path.normpath(os.path.join(directory, _inside(directory, path, "--import-from")))
        for path in options.import_from
    )
    return jobs.Job(
        directory=directory,
        paths=tuple(_inside(directory, path, "--path") for path in options.path or ["."]),
        modes=modes,
        given=_variables(options.env),
        terms=Terms(options.memory, options.file_timeout, options.network, first),
        deadline=time.monotonic() + options.timeout,
    )


def _checked(options: argparse.Namespace) -> Report:
    job = _job(options)
    report = jobs.check(job, options.directory)
    if options.require_sandbox and (report.sandbox or {}).get("problem"):
        raise ConfigError("--require-sandbox", report.notes[-1])
    if options.baseline and report.findings and not report.timed_out:
        known = jobs.known_files(job, options.baseline)
        if known is None:
            report.notes.append(f"no baseline: {options.baseline} is not there, or time ran out")
        else:
            report.known = known
    return report


def _fail(code: int, reason: str, message: str, *, as_json: bool) -> None:
    error = {"error": {"reason": reason, "message": message, "exit_code": code}}
    print(json.dumps(error) if as_json else f"{PROGRAM}: error: {message}", file=sys.stderr)  # noqa: T201


def _stop(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)  # by way of what cleans up


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    kernel.hide_memory(hidden=True)  # our environment is whole
    try:
        report = _checked(options)
    except (DagferryError, OSError) as error:
        code = code_for(error)
        _fail(code, code.name.lower(), line_for(error), as_json=options.json)
        return code
    code = report.code()
    if options.json:
        print(json.dumps(report.document(), indent=2))  # noqa: T201
        if code:
            _fail(code, "timeout" if code is Exit.TIMEOUT else "check-failed", report.summary(), as_json=True)
    else:
        print("\n".join(report.lines()))  # noqa: T201
    return code
