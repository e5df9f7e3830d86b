"""The mixing experiment in short; ``make bench-mixing`` is the long form."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support.mixing import SYSTEMS, experiment

if TYPE_CHECKING:
    from pathlib import Path

SWAPS = 200 if os.environ.get("LONG") else 20


def test_behind_a_plain_link_versions_mix(tmp_path: Path, airflow2_python: Path) -> None:
    found, _, _ = experiment(
        SYSTEMS["2-link"], tmp_path, airflow2_python, 200, until=lambda seen: bool(seen.mixed_parses + seen.mixed_runs)
    )
    assert found.mixed_parses + found.mixed_runs, "the experiment shows nothing if it does not show this"


def test_with_the_pin_nothing_mixes(tmp_path: Path, airflow2_python: Path) -> None:
    found, swaps, _ = experiment(SYSTEMS["2-pin"], tmp_path, airflow2_python, SWAPS)
    assert (found.mixed_parses, found.mixed_runs) == (0, 0), found.example
    assert swaps == SWAPS
    assert found.versions > SWAPS // 4
    assert found.parses > SWAPS // 4
    assert found.runs
