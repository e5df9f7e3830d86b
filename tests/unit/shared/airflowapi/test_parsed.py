"""What counts as parsed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dagferry_shared.airflowapi.answers import Dag, ImportFailure
from dagferry_shared.airflowapi.parsed import Snapshot, Target, has_our_versions, pending

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
OLD, NEW = (f"{digit * 40}-{'0' * 64}" for digit in "ab")
TARGET = Target(NEW, NOON, NOON + timedelta(seconds=15))


def dag(after: float | None, took: float | None = 0.0, version: str | None = None, source: str | None = None) -> Dag:
    parsed = None if after is None else NOON + timedelta(seconds=after)
    return Dag("d", "b", "d.py", version, source, parsed, took, "t")


def failure(after: float, file: str = "d.py", source: str | None = None) -> ImportFailure:
    return ImportFailure("b", file, NOON + timedelta(seconds=after), "E", source)


@pytest.mark.parametrize(
    ("found", "done"),
    [
        (dag(None), False),
        (dag(14), False),
        (dag(15), True),
        (dag(17, 3.0), False),  # began before
        (dag(18, 3.0), True),
        (dag(16, None), True),  # 2.11 does not say when it began
        (dag(1, version=NEW, source=NEW), True),
        (dag(-1, version=NEW, source=NEW), True),
        (dag(100, version=NEW, source=OLD), False),  # parsed from the directory before, and labelled with this one
        (dag(100, version=OLD, source=OLD), False),
        (dag(1, version=NEW), True),  # whose path does not say: by its time
        (dag(1, 2.0, NEW), False),
        (dag(100, version=OLD), False),
        (dag(100, version="v7"), True),  # of somebody else's versions only the time is known
        (dag(1, version="v7"), False),
        (dag(None, version=NEW), False),
    ],
)
def test_a_dag_is_parsed_by_its_version_else_by_the_begin_of_its_parse(found: Dag, *, done: bool) -> None:
    assert (pending(Snapshot((found,), ()), TARGET) == ()) is done


@pytest.mark.parametrize(("after", "done"), [(14, False), (15, True)])
def test_a_file_that_cannot_be_imported_is_parsed_once_its_error_is_new(after: float, *, done: bool) -> None:
    assert (pending(Snapshot((dag(-100),), (failure(after),)), TARGET) == ()) is done


def test_an_error_of_another_version_is_an_old_one() -> None:
    assert pending(Snapshot((dag(-1, version=OLD, source=OLD),), (failure(20, source=NEW),)), TARGET) == ()
    assert pending(Snapshot((dag(-1, version=OLD, source=OLD),), (failure(20, source=OLD),)), TARGET) != ()


def test_an_old_error_of_a_file_that_was_parsed_since_is_about_to_go() -> None:
    assert pending(Snapshot((dag(20),), (failure(1),)), TARGET) == (dag(20),)
    assert pending(Snapshot((dag(20),), (failure(1, "other.py"),)), TARGET) == ()


def test_without_an_assumption_every_dag_must_be_as_new_as_the_version() -> None:
    assert pending(Snapshot((dag(1),), ()), Target(NEW, NOON)) == ()


def test_only_version_ids_are_our_versions() -> None:
    assert has_our_versions(dag(1, version=NEW))
    assert not has_our_versions(dag(1, version="main"))
    assert not has_our_versions(dag(1))
