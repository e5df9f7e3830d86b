"""deploy/prometheus: promtool reads the rules, each alert fires on what it is for, and on nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.prometheus.cases import CASES, MORE, Case, Series
from support.dagctl import TOP
from support.promtool import promtool

RULES = TOP / "deploy/prometheus/dagferry.rules.yml"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
EACH = [*CASES.items(), *MORE.items()]


def rendered(text: str, labels: dict[str, str]) -> str:
    """Put labels into a template that uses nothing else."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)


def expected(name: str, case: Case) -> dict[str, Any]:
    rule = ALERTS[name]
    annotations = rule["annotations"]
    words = {key: rendered(annotations[key], case.labels) for key in ("description", "runbook")}
    return {
        "exp_labels": case.labels | rule["labels"],
        "exp_annotations": words | {"summary": case.summary},
    }


def asked(name: str, series: Series, at: int, alerts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{at}m", "alertname": name, "exp_alerts": alerts}],
    }


def verdict(directory: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Let promtool test the rules; it wants both files beside each other."""
    shutil.copy(RULES, directory / "rules.yml")
    path = directory / "test.yml"
    path.write_text(json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}))
    return promtool("test", "rules", str(path))


def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stderr
    assert f"{len(ALERTS) + 1} rules found" in done.stdout


def test_each_alert_has_its_cases() -> None:
    assert CASES.keys() == ALERTS.keys()
    assert MORE.keys() <= ALERTS.keys()


def test_each_alert_fires_and_says_so(tmp_path: Path) -> None:
    done = verdict(tmp_path, [asked(name, case.fires, case.at, [expected(name, case)]) for name, case in EACH])
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_fires_where_it_must_not(tmp_path: Path) -> None:
    done = verdict(tmp_path, [asked(name, case.quiet, case.at, []) for name, case in EACH])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("fires", "alerts"), [(True, []), (False, [{"exp_labels": {"severity": "critical"}}])])
def test_promtool_finds_a_case_that_is_wrong(tmp_path: Path, *, fires: bool, alerts: list[dict[str, Any]]) -> None:
    case = CASES["DagferryNotReady"]
    wrong = asked("DagferryNotReady", case.fires if fires else case.quiet, case.at, alerts)
    assert verdict(tmp_path, [wrong]).returncode == 1


@pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS.keys())
def test_each_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert re.fullmatch(r"deploy/README\.md#[a-z-]+", rule["annotations"]["runbook"])


def test_each_runbook_is_a_heading_of_the_page() -> None:
    page = (TOP / "deploy/README.md").read_text(encoding="utf-8")
    headings = {line.lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", page, re.MULTILINE)}
    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in ALERTS.values()} <= headings


def test_the_readme_has_each_alert() -> None:
    readme = (RULES.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(Dagferry\w+)` \| (critical|warning) \|", readme, re.MULTILINE)
    assert dict(rows) == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
