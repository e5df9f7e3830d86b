"""One check from beginning to end: what the sandbox says about a tree becomes findings."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dagferry_puller.airflow.check import box
from dagferry_puller.airflow.check.loading import MAX_RESULT
from dagferry_puller.airflow.check.report import (
    MAX_MESSAGE,
    Finding,
    Kind,
    Report,
    duplicates,
    from_traceback,
    printable,
)
from dagferry_puller.exits import ConfigError
from dagferry_shared.errors import DagferryError, Refused
from dagferry_shared.strictjson import Fields, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_puller.airflow.check.box import Terms, Words

_MOST = 100_000  # DAGs, or errors, of one file
MAX_BASELINE = 64 << 20  # bytes of an earlier report


class AirflowFailed(DagferryError):
    """Airflow itself could not be used in the sandbox; it says nothing about the DAGs."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to do, all of it checked.

    Attributes:
        directory: absolute, without links.
        paths: directories below it to look at; ``.`` is all.
        modes: ``compile``, ``load`` or both, in that order.
        given: environment that ``--env`` adds.
        terms: of the sandbox.
        deadline: on the monotonic clock.
    """

    directory: str
    paths: tuple[str, ...]
    modes: tuple[str, ...]
    given: Mapping[str, str]
    terms: Terms
    deadline: float


def _short(value: str, _: str) -> str:
    return printable(value, MAX_MESSAGE)


def _any(value: str, _: str) -> str:
    return value


class _Reader:
    """Turns what the sandbox said about one directory into the report."""

    def __init__(self, job: Job, report: Report) -> None:
        self._job = job
        self._report = report

    def _name(self, path: str) -> str:
        inside = os.path.relpath(path, self._job.directory)
        return printable("" if inside == "." else inside, 4096)

    def _add(self, path: str, kind: Kind, message: str, line: int | None = None) -> None:
        text = printable(message.replace(self._job.directory + "/", ""), MAX_MESSAGE)
        self._report.findings.append(Finding(self._name(path), line, kind, text))

    def read(self, mode: str, folder: str, words: Words) -> None:
        for message in words.messages:
            try:
                self._message(Fields(message, "message"), folder)
            except Refused as error:
                self._add(folder, Kind.DIED, f"nonsense came out of the sandbox: {error.detail}")
        if words.problem == "timeout":
            self._report.timed_out = True
            self._report.notes.append(f"time ran out at {self._name(words.at or folder) or '.'}")
        elif words.problem:
            what = "compiler" if mode == "compile" else "process that loads"
            self._add(words.at or folder, Kind.DIED, f"the {what} did not survive this file: {words.problem}")

    def _message(self, message: Fields, folder: str) -> None:
        report = self._report
        if "failed" in message.value:
            raise AirflowFailed(message.text("failed", _short))
        if "sandbox" in message.value:
            box = message.object("sandbox")
            report.sandbox = {name: box.text(name, _short) for name in ("files", "network", "processes")}
            report.sandbox["problem"] = box.optional_text("problem", _short)
        elif "airflow" in message.value:
            report.airflow = message.text("airflow", _short)
        elif "compiled" in message.value:
            report.compiled = (report.compiled or 0) + message.integer("compiled")
        elif "tree" in message.value:
            self._add(folder, Kind.TREE, message.text("tree", _any))
        elif "error" in message.value:
            line = message.optional_integer("line", low=1)
            self._add(message.text("file", _any), Kind.SYNTAX, message.text("error", _any), line)
        elif "result" in message.value:
            report.loaded = (report.loaded or 0) + 1
            ended = message.optional_text("ended", _short)
            self._result(message.text("file", _any), ended, message.text("result", _any))

    def _result(self, path: str, ended: str | None, result: str) -> None:
        """Read what a file's own process wrote: the one place where the code of a DAG can speak."""
        if ended == "timeout":
            self._add(path, Kind.TIMEOUT, f"was not loaded within {self._job.terms.file_seconds:.0f} s")
        elif ended or not result:
            self._add(path, Kind.DIED, f"its process ended while it was loaded: {ended or 'exit 0'}")
        if ended or not result:
            return
        try:
            fields = Fields(parse_object(result.encode("utf-8"), "the result", limit=MAX_RESULT), "result")
            ids = fields.texts("dags", _short, most=_MOST)
            errors = [(e.text("file", _any), e.text("text", _any)) for e in fields.objects("errors", most=_MOST)]
        except Refused as error:
            self._add(path, Kind.DIED, f"its process wrote nonsense instead of a result: {error.detail}")
            return
        for name in ids:
            self._report.dags.setdefault(name, set()).add(self._name(path))
        for claimed, text in errors:  # a file speaks for itself, and for what is in it, if it is an archive
            place = claimed if claimed.startswith(path + "/") else path
            shown = text.replace(self._job.directory + "/", "")  # not the place where it was unpacked
            inside = os.path.relpath(path, self._job.directory)
            self._report.findings.append(from_traceback(inside, self._name(place), shown))


def check(job: Job, shown: str) -> Report:
    """Look at a tree.

    Args:
        job: what to do.
        shown: how the report calls the directory.

    Raises:
        AirflowFailed: Airflow could not be used.
        OSError: no place for a temporary directory, or no process could be made.
    """
    report = Report(shown)
    reader = _Reader(job, report)
    environ = box.reduced(job.given, os.environ, job.directory)
    for mode in job.modes:
        if mode == "load":
            report.loaded = 0
        for path in job.paths:
            folder = os.path.normpath(os.path.join(job.directory, path))
            words = box.run(mode, folder, environ, job.terms, job.deadline)
            reader.read(mode, folder, words)
    _tidy(report)
    return report


def _tidy(report: Report) -> None:
    """Say one thing once, and duplicates for each file that has a part in them."""
    broken = {finding.file for finding in report.findings if finding.kind is Kind.SYNTAX}
    report.findings = [f for f in report.findings if f.kind is Kind.SYNTAX or f.file not in broken]
    for name, files in duplicates(report.dags):
        for file in sorted(files):
            others = ", ".join(sorted(files - {file})[:3])
            report.findings.append(
                Finding(file, None, Kind.DUPLICATE, printable(f"DAG {name!r} is also in {others}", MAX_MESSAGE))
            )
    report.findings.sort(key=lambda finding: (finding.file, finding.line or 0))
    box = report.sandbox
    if box and box.get("problem"):
        parts = ", ".join(f"{name} {box[name]}" for name in ("files", "network", "processes"))
        report.notes.append(f"this host does not permit the whole sandbox ({box['problem']}): {parts}")


def known_files(job: Job, baseline: str) -> set[str] | None:
    """Return the files that were broken before.

    Args:
        job: how to look at a directory.
        baseline: a directory (such as the live version), or the JSON of an earlier check.

    Returns:
        None: there is no such directory or file, as on a first deploy; or it could not be checked in time.

    Raises:
        ConfigError: the file is not a report.
    """
    if not os.path.exists(baseline):
        return None
    if os.path.isdir(baseline):
        directory = os.path.realpath(baseline)
        first = tuple(path.replace(job.directory, directory, 1) for path in job.terms.first)
        paths = tuple(path for path in job.paths if os.path.isdir(os.path.join(directory, path)))
        report = check(replace(job, directory=directory, paths=paths, terms=replace(job.terms, first=first)), baseline)
        return None if report.timed_out else {finding.file for finding in report.findings}
    try:
        with open(baseline, "rb") as file:
            errors = json.loads(file.read(MAX_BASELINE))["errors"]
        return {str(error["file"]) for error in errors}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError("--baseline", f"{baseline} is not the output of dagferry-check --json") from error
