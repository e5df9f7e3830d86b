"""Services, policies and monitors of deploy/kubernetes select the pods and ports that there are."""

from __future__ import annotations

from typing import Any

import pytest

from support.manifests import OVERLAYS, Container, Document, containers, of_kind

SERVED = {"run": 9474, "relay": 9475}


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Kubernetes' rule, as far as it is used here."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for row in selector.get("matchExpressions", ()):
        assert row["operator"] == "In"
        if labels.get(row["key"]) not in row["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def labels(container: Container) -> dict[str, str]:
    found: dict[str, str] = container.pod["metadata"]["labels"]
    return found


def policies(overlay: str, container: Container) -> list[Document]:
    every = of_kind(overlay, "NetworkPolicy").values()
    return [p["spec"] for p in every if selects(p["spec"]["podSelector"], labels(container))]


def ports(rules: list[Document]) -> set[tuple[str, int]]:
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}


EACH = [pytest.param(c.overlay, c, id=c.id) for overlay in OVERLAYS for c in containers(overlay) if c.mode]


@pytest.mark.parametrize(("overlay", "container"), EACH)
def test_one_policy_lets_in_and_out_what_the_mode_needs(overlay: str, container: Container) -> None:
    (policy,) = policies(overlay, container)
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    if container.mode in SERVED:
        assert ports(policy["ingress"]) == {("TCP", SERVED[container.mode])}
    out = ("TCP", 9474) if container.mode == "relay" else ("TCP", 443)
    assert ports(policy["egress"]) == {("UDP", 53), ("TCP", 53), out}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_relay_may_reach_what_lets_it_in(overlay: str) -> None:
    (relay,) = (c for c in containers(overlay) if c.mode == "relay")
    (out,) = (rule["to"] for rule in policies(overlay, relay)[0]["egress"] if "to" in rule)
    pullers = [c for c in containers(overlay) if c.mode == "run"]
    assert pullers
    for puller in pullers:
        assert any(selects(peer["podSelector"], labels(puller)) for peer in out)
        (rule,) = policies(overlay, puller)[0]["ingress"]
        assert any(selects(peer["podSelector"], labels(relay)) for peer in rule["from"] if "podSelector" in peer)


def test_the_toolbox_may_ask_the_pods_and_is_asked_by_nobody() -> None:
    (toolbox,) = (c for c in containers("sidecar") if c.spec["name"] == "toolbox")
    (policy,) = policies("sidecar", toolbox)
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in policy
    assert ports(policy["egress"]) == {("UDP", 53), ("TCP", 53), ("TCP", 443), ("TCP", 9474)}
    for puller in (c for c in containers("sidecar") if c.mode == "run"):
        (rule,) = policies("sidecar", puller)[0]["ingress"]
        assert any(selects(peer["podSelector"], labels(toolbox)) for peer in rule["from"] if "podSelector" in peer)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_store_is_where_the_overlay_says(overlay: str) -> None:
    found: list[Any] = [
        peer["ipBlock"]["cidr"]
        for policy in of_kind(overlay, "NetworkPolicy").values()
        for rule in policy["spec"]["egress"]
        for peer in rule.get("to", ())
        if "ipBlock" in peer
    ]
    assert set(found) == {"198.51.100.0/24"}  # not a component's placeholder


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_name_the_pods_that_serve_their_port(overlay: str) -> None:
    modes = {"dagferry-pods": "run", "dagferry-relay": "relay"}
    services = of_kind(overlay, "Service")
    assert services.keys() == modes.keys()
    for name, service in services.items():
        (port,) = service["spec"]["ports"]
        assert port["port"] == port["targetPort"] == SERVED[modes[name]]
        for container in containers(overlay):
            picked = service["spec"]["selector"].items() <= labels(container).items()
            assert picked == (modes[name] in {c.mode for c in containers(overlay) if c.workload is container.workload})
    pods = services["dagferry-pods"]["spec"]
    assert (pods["clusterIP"], pods["publishNotReadyAddresses"]) == ("None", True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_monitor_asks_every_port_that_has_metrics(overlay: str) -> None:
    (monitor,) = of_kind(overlay, "PodMonitor").values()
    asked = {row["port"] for row in monitor["spec"]["podMetricsEndpoints"]}
    for container in containers(overlay):
        if container.mode in SERVED:
            assert selects(monitor["spec"]["selector"], labels(container))
            assert container.spec["ports"][0]["name"] in asked
