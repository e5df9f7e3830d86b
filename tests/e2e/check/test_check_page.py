"""puller/CHECK.md says what the command prints, and what its help says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support import fakedagbag
from support.checks import hostile, run_check, write_tree

PAGE = (Path(__file__).parents[3] / "puller" / "CHECK.md").read_text(encoding="utf-8")


def names(value: object) -> set[str]:
    """Return the names of all fields, also of nested objects."""
    if isinstance(value, dict):
        return set(value).union(*(names(child) for child in value.values()))
    return set().union(*(names(child) for child in value)) if isinstance(value, list) else set()


def test_every_field_is_on_the_page_and_no_other(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {name: hostile(0)[name] for name in ("syntax.py", "same_a.py", "same_b.py")})
    checked = run_check("--compile", "--dags", "--json", tree, environ=fakedagbag.install(tmp_path / "fake"))
    printed = names(checked.report) | names(json.loads(checked.stderr))
    table = PAGE[PAGE.index("| field |") :]
    assert set(re.findall(r"`([a-z_]+)`", table)) == printed


def test_exit_codes_are_those_of_the_help() -> None:
    help_text = run_check("--help").stdout
    codes = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert codes == re.findall(r"^ {2,3}(\d+)  ", help_text, re.MULTILINE)
    for option in re.findall(r"--[a-z]+(?:-[a-z]+)*", PAGE):
        assert option in help_text, option
