"""What ``dagctl wait`` prints of an Airflow, and what it ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.cli.moving import carry_out
from dagferry_publisher.cli.output import SHORT
from dagferry_publisher.errors import ImportErrors, TimedOut
from dagferry_publisher.ops.rollback import RollbackRequest, rollback
from dagferry_shared import names, times
from dagferry_shared.errors import DagferryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_publisher.airflowwait import Plan, Result
    from dagferry_publisher.baseline import Baseline
    from dagferry_publisher.chain import Chain
    from dagferry_publisher.cli.output import Output
    from dagferry_publisher.cli.session import Cli
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.airflowapi.answers import ImportFailure
    from dagferry_shared.pointer import Pointer

_NAMED = 5  # files, in a line


class Report:
    """The end of a wait.

    Args:
        pointer: what was waited for.
        known: what was before.
        plan: how it was waited.
        result: what came of it.

    Attributes:
        new: files that cannot be imported, and could be before as far as is known.
    """

    def __init__(self, pointer: Pointer, known: Baseline, plan: Plan, result: Result) -> None:
        self._pointer = pointer
        self._known = known
        self._plan = plan
        self._result = result
        self._undone: Outcome | None = None
        self._consequence = ""
        self.new = result.new_failures(known)

    def roll_back(self, cli: Cli, chain: Chain, writer: Writer, notify: Sequence[str] | None) -> None:
        """Roll the channel back and hold it, unless it has moved on; how that went is told by ``judge``."""
        request = RollbackRequest(
            reason=names.clean_text(f"new import errors in Airflow: {self._files()}"), only_from=self._pointer.release
        )
        try:
            self._undone, _ = carry_out(cli, notify, writer, lambda writer: rollback(chain, writer, request))
        except DagferryError as error:
            self._consequence = f"; NOT rolled back: {error}"
            return
        pointer = self._undone.pointer
        commit = pointer.content.commit[:SHORT] if pointer else "?"
        self._consequence = f"; rolled back to commit {commit}, and the channel is held"

    def as_json(self) -> dict[str, object]:
        """Return the document of ``--json``."""
        result, known, after = self._result, self._known, self._result.snapshot
        return {
            "commit": self._pointer.commit,
            "version": self._pointer.version,
            "issued": self._pointer.issued,
            "parsed_at": times.show(result.parsed_at) if result.parsed_at else None,
            "waiting": [dag.dag_id for dag in result.waiting],
            "before": {"dags": known.dags, "import_errors": len(known.failing | known.unsure)},
            "after": {"dags": len(after.dags), "import_errors": len(after.failures)} if after else None,
            "new_import_errors": [self._failure(one) for one in self.new],
            "rollback": self._undone.as_json() if self._undone else None,
        }

    def show(self, out: Output) -> None:
        """Show it to a person."""
        result, known, after = self._result, self._known, self._result.snapshot
        if result.parsed_at:
            seconds = (result.parsed_at - times.parse(self._pointer.issued)).total_seconds()
            out.line(f"{self._pointer.commit[:SHORT]} is parsed, {seconds:.1f} s after it was published", "green")
        failing = str(len(known.failing | known.unsure))
        rows = [
            ("DAGs", str(known.dags), str(len(after.dags)) if after else "?"),
            ("import errors", failing, str(len(after.failures)) if after else "?"),
        ]
        out.table(("", "before", "after"), rows)
        for one in self.new:
            older = " (it may be older than this commit: use --baseline)" if self._is_unsure(one) else ""
            out.line(f"new import error: {one.file}: {one.error}{older}", "red")

    def judge(self) -> None:
        """End well, or raise what the command ends with.

        Raises:
            ImportErrors: there are new ones.
            TimedOut: not all was parsed.
        """
        if self.new:
            raise ImportErrors(f"{len(self.new)} new import errors: {self._files()}{self._consequence}")
        if self._result.parsed_at is None or self._result.waiting:
            few = ", ".join(dag.dag_id for dag in self._result.waiting[:_NAMED])
            why = self._result.problem or (f"not parsed yet: {few}" if few else "Airflow has no DAGs")
            raise TimedOut(f"not parsed within {self._plan.timeout:.0f} s: {why}")

    def _files(self) -> str:
        more = f" and {len(self.new) - _NAMED} more" if len(self.new) > _NAMED else ""
        return ", ".join(one.file for one in self.new[:_NAMED]) + more

    def _is_unsure(self, failure: ImportFailure) -> bool:
        return (failure.bundle, failure.file) in self._known.unsure

    def _failure(self, failure: ImportFailure) -> dict[str, object]:
        facts = {"bundle": failure.bundle, "file": failure.file, "error": failure.error}
        return {**facts, "unsure": self._is_unsure(failure)}
