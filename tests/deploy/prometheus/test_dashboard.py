"""deploy/grafana: a dashboard whose queries Prometheus parses. And: rules and dashboard use metrics that there are."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from deploy.prometheus.test_rules import RULES
from support.bundles import Simulator, small_tree
from support.dagctl import TOP
from support.pods import Pod
from support.promtool import promtool
from support.relays import relay

if TYPE_CHECKING:
    from pathlib import Path

DASHBOARD: dict[str, Any] = json.loads((TOP / "deploy/grafana/dagferry.json").read_text(encoding="utf-8"))
PANELS = DASHBOARD["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
# Of a relay with a broker alone; tests/e2e/puller shows it.
WITH_BROKER = {"dagferry_relay_connected"}


def parsed(queries: list[str], directory: Path) -> int:
    """Let promtool parse queries, as rules that record them."""
    plain = [query.replace("$__rate_interval", "5m") for query in queries]
    rules = [{"record": f"panel:query:{number}", "expr": query} for number, query in enumerate(plain)]
    path = directory / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    return promtool("check", "rules", str(path)).returncode


def test_prometheus_parses_each_query(tmp_path: Path) -> None:
    assert parsed(QUERIES, tmp_path) == 0
    assert parsed(["sum by (le (up)"], tmp_path) == 1, "promtool finds one that is wrong"


def test_panels_have_ids_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in PANELS]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(set(cells)) == len(cells), "two panels lie on each other"
    assert max(x for x, _ in cells) < 24


def test_the_data_source_is_asked_for_and_each_variable_is_declared() -> None:
    assert VARIABLES["datasource"]["type"] == "datasource"
    for panel in PANELS:
        for holder in (panel, *panel["targets"]):
            assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    used = {name for query in QUERIES for name in re.findall(r"\$(\w+)", query)} - {"__rate_interval"}
    assert used == VARIABLES.keys() - {"datasource"}


def test_rules_and_dashboard_use_metrics_that_a_real_puller_and_relay_print(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "store")
    simulator.publish(small_tree("1"), "commit 1")
    pod = Pod(tmp_path, simulator)
    try:
        running = pod.run("--exec-hook", "true", "--airflow", "http://127.0.0.1:9")
        running.wait("a version is live", lambda status: status["ready"])
        text = running.request("/metrics").body
    finally:
        pod.close()
    with relay(tmp_path, targets="http://127.0.0.1:9") as running:
        text += running.request("/metrics").body
    printed = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        printed |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    variables = [str(variable["query"]) for variable in VARIABLES.values()]
    used = set(re.findall(r"\bdagferry_(?:puller|relay)_\w+", "\n".join([*rules, *QUERIES, *variables])))
    assert used <= printed | WITH_BROKER
    assert len(used) > 20
