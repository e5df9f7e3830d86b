"""What a check found: findings, and the report as JSON (``puller/CHECK.md``) or as lines for people."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dagferry_puller.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ERRORS = 1000  # in one report; what is more is counted
MAX_MESSAGE = 500  # characters
MAX_DETAIL = 8000  # characters

_FRAME = re.compile(r'^  File "([^"\n]{1,4096})", line (\d{1,9})', re.MULTILINE)


class Kind(StrEnum):
    """What sort of error a finding is."""

    SYNTAX = "syntax"
    IMPORT = "import"
    DUPLICATE = "duplicate"
    DIED = "died"
    TIMEOUT = "timeout"
    TREE = "tree"


@dataclass(frozen=True, slots=True)
class Finding:
    """An error.

    Attributes:
        file: relative to the directory; empty: the tree as a whole.
        line: from 1, where it is known.
        kind: what sort.
        message: one line.
        detail: a traceback, or empty.
    """

    file: str
    line: int | None
    kind: Kind
    message: str
    detail: str = ""

    def text(self) -> str:
        """Return ``file:line: message``."""
        place = self.file or "."
        return f"{place}:{self.line}: {self.message}" if self.line else f"{place}: {self.message}"


@dataclass(slots=True)
class Report:
    """All that one check says.

    Attributes:
        directory: as it was given.
        compiled: files that were compiled; None: not asked for.
        loaded: files that Airflow loaded; None: not asked for.
        airflow: its version, where it was asked for.
        dags: the files of each DAG id.
        findings: what was found.
        known: files that were broken before.
        sandbox: what was taken from the process that loads; None: not asked for.
        timed_out: ``--timeout`` passed before all was looked at.
        notes: lines.
    """

    directory: str
    compiled: int | None = None
    loaded: int | None = None
    airflow: str | None = None
    dags: dict[str, set[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    sandbox: dict[str, Any] | None = None
    timed_out: bool = False
    notes: list[str] = field(default_factory=list)

    def blocking(self) -> list[Finding]:
        """Return the errors in files that were not broken before."""
        return [finding for finding in self.findings if finding.file not in self.known]

    def code(self) -> Exit:
        """Return the exit code that the report means."""
        if self.timed_out:
            return Exit.TIMEOUT
        return Exit.REFUSED if self.blocking() else Exit.OK

    def summary(self) -> str:
        """Return one line: the outcome and how much was looked at."""
        blocking, known = len(self.blocking()), len(self.findings) - len(self.blocking())
        outcome = "timed out" if self.timed_out else "refused" if blocking else "good"
        parts = [f"{_count(blocking, 'error')}" + (f", {known} more known before" if known else "")]
        if self.compiled is not None:
            parts.append(f"{_count(self.compiled, 'file')} compiled")
        if self.loaded is not None:
            version = f" with Airflow {self.airflow}" if self.airflow else ""
            parts.append(f"{_count(len(self.dags), 'DAG')} in {_count(self.loaded, 'file')} loaded{version}")
        return f"{outcome}: " + "; ".join(parts)

    def lines(self) -> Iterable[str]:
        """Return the report for people: notes, known errors, errors, summary. The puller shows the last lines."""
        blocking = self.blocking()
        yield from (f"note: {note}" for note in self.notes)
        known = [finding for finding in self.findings if finding.file in self.known]
        yield from (f"{finding.text()} (known before)" for finding in known[:MAX_ERRORS])
        yield from (finding.text() for finding in blocking[:MAX_ERRORS])
        if len(blocking) > MAX_ERRORS:
            yield f"… and {len(blocking) - MAX_ERRORS} errors more"
        yield self.summary()

    def document(self) -> dict[str, Any]:
        """Return the report as ``puller/CHECK.md`` describes it."""
        ordered = sorted(self.findings, key=lambda finding: finding.file in self.known)
        return {
            "directory": self.directory,
            "exit_code": int(self.code()),
            "summary": self.summary(),
            "compiled": self.compiled,
            "loaded": self.loaded,
            "airflow": self.airflow,
            "dags": None if self.loaded is None else len(self.dags),
            "errors": [_described(finding, known=finding.file in self.known) for finding in ordered[:MAX_ERRORS]],
            "errors_left_off": max(0, len(ordered) - MAX_ERRORS),
            "duplicates": [{"dag_id": name, "files": sorted(files)} for name, files in duplicates(self.dags)],
            "sandbox": self.sandbox,
            "timed_out": self.timed_out,
            "notes": self.notes,
        }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _described(finding: Finding, *, known: bool) -> dict[str, Any]:
    return {
        "file": finding.file,
        "line": finding.line,
        "kind": str(finding.kind),
        "message": finding.message,
        "detail": finding.detail,
        "known": known,
    }


def duplicates(dags: dict[str, set[str]]) -> list[tuple[str, set[str]]]:
    """Return the DAG ids that more than one file has, sorted."""
    return sorted((name, files) for name, files in dags.items() if len(files) > 1)


def printable(text: str, most: int, *, newlines: bool = False) -> str:
    """Return a text that no terminal, log or JSON reader minds: hostile characters become spaces."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    kept = "".join(char if char.isprintable() or (newlines and char == "\n") else " " for char in shown)
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def from_traceback(path: str, file: str, text: str) -> Finding:
    """Make a finding of what Airflow's DagBag says about a file.

    Args:
        path: absolute path of the file, as frames name it.
        file: what the report calls it.
        text: a traceback, or one line; hostile.
    """
    frames = list(_FRAME.finditer(text))
    numbers = [int(frame[2]) for frame in frames if frame[1] == path]
    rest = text[frames[-1].end() :].split("\n")[1:] if frames else text.split("\n")
    message = next((line for line in rest if line and not line.startswith(" ")), text)
    detail = printable(text, MAX_DETAIL, newlines=True).strip() if frames else ""
    return Finding(file, numbers[-1] if numbers else None, Kind.IMPORT, printable(message, MAX_MESSAGE).strip(), detail)
