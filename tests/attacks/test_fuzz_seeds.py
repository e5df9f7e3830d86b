"""Every committed seed of the fuzzer, what it ever found included, against every parser: an answer or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fuzz import fuzz, seeds
from fuzz.targets import MUTATORS, PARSERS, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = seeds.stored()
VALID = [(name, seed) for name in SEEDS for seed in SEEDS[name] if seed in {"valid", "release", "pointer", "notify"}]


@pytest.mark.parametrize("parser", TARGETS)
def test_no_seed_of_any_parser_escapes(parser: str, record_property: Callable[[str, object], None]) -> None:
    tried = 0
    for owner, rows in SEEDS.items():
        for name, data in rows.items():
            try:
                TARGETS[parser](data)
            except Exception as error:
                raise AssertionError(f"seed {owner}/{name}") from error
            tried += 1
    record_property("seeds replayed", tried)


@pytest.mark.parametrize(("parser", "name"), VALID)
def test_valid_seed_is_accepted(parser: str, name: str) -> None:
    """Else the fuzzer would start at a closed door."""
    PARSERS[parser](SEEDS[parser][name])


def test_every_parser_has_seeds_valid_and_hostile() -> None:
    assert set(TARGETS) == set(fuzz.NAMES) == set(SEEDS)
    assert {parser for parser, _ in VALID} == set(TARGETS)
    assert min(len(rows) for rows in SEEDS.values()) >= 6
    assert set(MUTATORS) <= set(TARGETS)


def test_committed_seeds_are_what_the_script_makes_and_what_was_found() -> None:
    for parser, made in seeds.make().items():
        stored = {name: data for name, data in SEEDS[parser].items() if not name.startswith("finding-")}
        assert stored == made, parser


@pytest.mark.parametrize(
    ("log", "code", "found"),
    [
        (
            "#1 INITED cov: 3 ft: 4\n#9 DONE cov: 5 ft: 9\nstat::number_of_executed_units: 7\nstat::peak_rss_mb: 60",
            0,
            "",
        ),
        ("#9 DONE cov: 5 ft: 9\nstat::peak_rss_mb: 60", 77, "FINDING (exit 77)"),
        ("#9 DONE cov: 5 ft: 9\nstat::peak_rss_mb: 9999", 0, "FINDING: 9999 MiB"),
        ("", 0, "FINDING: 0 MiB"),
    ],
    ids=["good", "crash", "memory", "no figures"],
)
def test_fuzzing_that_crashed_or_took_too_much_memory_is_a_finding(log: str, code: int, found: str) -> None:
    outcome = fuzz.outcome_of("tar", log, code)
    assert outcome.finding.startswith(found) if found else not outcome.finding
    assert ("none" in outcome.row()) is (not found)
