"""Has Airflow parsed a version? Pure: what it answered in, what is still to be parsed out.

What counts as parsed:

1. a DAG of a bundle with dagferry's versions (DagferryBundle): last parsed from that version's directory. The version
   that Airflow names is not enough: what it queued before it took the version up is parsed from the directory before,
   and labelled with the new one (seen on 3.3.2);
2. any other DAG: a parse that began after the version was live. Airflow 3 says how long a parse took, so its begin is
   known. 2.11 does not: there the end counts, and a parse that was under way at the swap is taken for a new one;
3. a DAG whose file cannot be imported: an import error that was stored after the version was live, and names no
   directory of another one. When its parse began is not said: behind a link, an error of the version before whose
   parse was under way at the swap is taken for a new one, until the file is parsed again.

Times are compared between two clocks, this process's and Airflow's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_shared import names
from dagferry_shared.errors import Refused
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime

    from dagferry_shared.airflowapi.answers import Dag, ImportFailure
    from dagferry_shared.airflowapi.client import Airflow


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What Airflow knows of a bundle at a moment."""

    dags: tuple[Dag, ...]
    failures: tuple[ImportFailure, ...]

    @property
    def files(self) -> dict[tuple[str, str], str]:
        """The tokens of all files that have DAGs, by bundle and path."""
        return {(dag.bundle, dag.file): dag.token for dag in self.dags}

    @property
    def failing(self) -> set[tuple[str, str]]:
        """Bundle and path of each file that cannot be imported. Tracebacks differ by version, so they do not count."""
        return {(failure.bundle, failure.file) for failure in self.failures}


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be parsed.

    Attributes:
        version: id of the version.
        since: when it was live where Airflow reads it, or an instant before that if DagferryBundle names versions.
        assumed: the same for DAGs without such versions; None: ``since``.
    """

    version: str
    since: datetime
    assumed: datetime | None = None

    def begin(self, dag: Dag) -> datetime:
        """Return when a DAG's parse must have begun."""
        return self.since if self.assumed is None or has_our_versions(dag) else self.assumed


def take(airflow: Airflow, bundle: str = "") -> Snapshot:
    """Ask Airflow: DAGs first, so that what fails between the two questions is seen failing.

    Raises:
        AirflowError: it does not answer.
    """
    return Snapshot(airflow.dags(bundle), airflow.import_failures(bundle))


def has_our_versions(dag: Dag) -> bool:
    """Tell whether a DAG comes from a bundle whose versions are dagferry's."""
    try:
        names.split_version_id(dag.version or "")
    except Refused:
        return False
    return True


def pending(snapshot: Snapshot, target: Target) -> tuple[Dag, ...]:
    """Return the DAGs that are not parsed yet."""
    failed = {(one.bundle, one.file): one for one in snapshot.failures}
    return tuple(dag for dag in snapshot.dags if not _is_done(dag, target, failed.get((dag.bundle, dag.file))))


def _is_done(dag: Dag, target: Target, failure: ImportFailure | None) -> bool:
    begin = target.begin(dag)
    if failure is not None:
        # An older error of a file that was parsed since: Airflow stores the DAGs first, and is about to remove it.
        return failure.at >= begin and failure.source in {None, target.version}
    if dag.parsed is None:
        return False
    if has_our_versions(dag):
        if dag.version != target.version:
            return False
        if dag.source is not None:
            return dag.source == target.version
    return dag.parsed - timedelta(seconds=dag.seconds or 0.0) >= begin
