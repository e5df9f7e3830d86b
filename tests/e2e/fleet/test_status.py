"""``dagctl status`` and ``wait`` on real pullers behind a real DNS server."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING, Any

from support.sitepods import wait_commit
from support.waiting import wait_for

if TYPE_CHECKING:
    from support.fleets import Fleet
    from support.sites import Site

TIMED_OUT, PART = 11, 13


def by_pod(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["pod"].rpartition(":")[0]: row for row in document["pods"]}


def diverge(fleet: Fleet, commit: str) -> str:
    """Show the last pod another store: a pointer of the next sequence that CI signed for another reason."""
    site, pod = fleet.site, fleet.pods[-1]
    other = site.root / "other"
    shutil.copytree(site.store, other)
    site.publish(commit, "--reason", "for your eyes only", DAGFERRY_STORE=f"file://{other}")
    fleet.running[-1].stop()
    pod.settings["store"] = f"file://{other}"
    fleet.running[-1] = pod.run(http=f"{fleet.running[-1].host}:{fleet.port}")
    wait_commit(fleet.running[-1], commit)
    return fleet.running[-1].host


def test_status_says_what_is_live_where_and_shows_the_dead_and_the_diverging_pod(
    pods: Fleet, site: Site, line: list[str]
) -> None:
    site.publish(line[0])
    pods.start(5)
    well = pods.dagctl("wait", "--commit", line[0][:9], "--timeout", "30s")
    assert "is live on 5 of 5 pods" in well.out
    default = pods.dagctl("wait", "--timeout", "30s").out
    assert default.startswith(f"{line[0][:12]} is live on 5 of 5 pods"), "without a commit: what the channel is at"
    document = pods.dagctl("status", "--json").json
    assert document["well"]
    assert document["counts"] == {"live": 5}
    assert document["channels"][0] | {"issued": ""} == {
        "bundle": "analytics",
        "channel": "main",
        "epoch": 1,
        "sequence": 1,
        "commit": line[0],
        "dev": False,
        "held": False,
        "from": "store",
        "issued": "",
    }

    diverged = diverge(pods, line[1])
    site.publish(line[1])
    for one in pods.running[:4]:
        wait_commit(one, line[1])
    pods.running[0].kill()
    dead = pods.running[0].host

    shown = pods.dagctl("status", "--json", code=PART)
    rows = by_pod(shown.json)
    assert {row["state"] for pod, row in rows.items() if pod not in {dead, diverged}} == {"live"}
    assert rows[dead]["state"] == "unreachable"
    assert rows[dead]["troubles"] == ["connection refused"]
    assert rows[diverged]["state"] == "diverged"
    assert "split view: has pointer" in rows[diverged]["troubles"][0]
    assert rows[diverged]["commit"] == line[1], "the same commit and sequence, and yet"
    assert shown.error["message"].startswith("5 pods: 3 live, 1 ")
    text = pods.dagctl("status", code=PART).out
    assert f"{dead}:{pods.port}: connection refused" in text
    assert "analytics/main is at commit" in text


def test_diverging_pod_shows_without_a_store_as_well(pods: Fleet, site: Site, line: list[str]) -> None:
    """The store is away, at three in the morning: the others outvote it."""
    site.publish(line[0])
    pods.start(3)
    for one in pods.running:
        wait_commit(one, line[0])
    host = diverge(pods, line[1])
    site.publish(line[1])
    pods.dagctl("wait", "--commit", line[1], "--timeout", "30s")
    shown = pods.dagctl("status", "--json", code=PART, DAGFERRY_STORE=f"file://{site.root}/gone").json
    assert {pod: row["state"] for pod, row in by_pod(shown).items() if row["state"] != "live"} == {host: "diverged"}
    assert shown["channels"][0]["from"] == "pods"
    assert "judged by what its pods say" in shown["warnings"][0]


def test_pods_that_lag_are_shown_and_wait_says_who_and_why(pods: Fleet, site: Site, line: list[str]) -> None:
    site.publish(line[0])
    pods.start(3)
    pods.start(1, check_command="false")  # nothing ever passes there
    for one in pods.running[:3]:
        wait_commit(one, line[0])
    pods.running[3].wait_problem("check-failed")
    site.publish(line[1])
    late = pods.running[3].host
    done = pods.dagctl("wait", "--commit", line[1], "--quorum", "75%", "--timeout", "30s", "--json", code=PART)
    assert (done.json["reached"], done.json["live"], done.json["pods"]) == ("quorum", 3, 4)
    assert late in done.json["missing"][0]["pod"]
    assert "the quorum is live, and 1 pods are not" in done.error["message"]
    done = pods.dagctl("wait", "--commit", line[1], "--timeout", "1s", "--json", code=TIMED_OUT)
    assert done.json["reached"] == "none"
    assert done.error["message"].startswith(f"{line[1][:12]} is live on 3 of 4 pods after 1s: {late}:{pods.port} ")
    row = by_pod(pods.dagctl("status", "--json", code=PART).json)[late]
    assert row["state"] == "not-ready"
    assert "check-failed" in " ".join(row["troubles"])
    assert row["refusals"]["check-failed"] >= 1


def test_wait_returns_as_soon_as_the_last_pod_is_there(pods: Fleet, site: Site, line: list[str]) -> None:
    site.publish(line[0])
    pods.start(2)
    with pods.process("wait", "--commit", line[1], "--timeout", "60s", "--json") as process:
        site.publish(line[1])
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["reached"] == "all"


def test_watch_follows_until_it_is_told_to_end(pods: Fleet, site: Site, line: list[str]) -> None:
    site.publish(line[0])
    pods.start(2)
    with pods.process("status", "--watch", "--interval", "1s", "--json") as process:
        assert process.stdout
        commits = set()
        while commits != {line[0]}:
            commits = {row["commit"] for row in json.loads(process.stdout.readline())["pods"]}
        site.publish(line[1])
        while commits != {line[1]}:
            commits = {row["commit"] for row in json.loads(process.stdout.readline())["pods"]}
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0


def test_both_address_families_and_pods_that_come_and_go(pods: Fleet, site: Site, line: list[str]) -> None:
    site.publish(line[0])
    pods.start(2)
    six = pods.pods[0].run(root=str(pods.directory / "six"), http=f"[::1]:{pods.port}")
    wait_for(six.ready, "it is live")
    pods.dns.names(*pods.addresses, "::1")
    assert set(by_pod(pods.dagctl("status", "--json").json)) == {*pods.addresses, "[::1]"}
    pods.dns.names()
    gone = pods.dagctl("status", "--json", code=PART).json["pods"]
    assert [(row["state"], row["pod"]) for row in gone] == [("unreachable", pods.target)]
    assert "the name cannot be resolved" in gone[0]["troubles"][0]
