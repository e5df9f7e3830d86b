"""``dagctl why`` on real stores, clones and pullers' ports."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller.status import LiveInfo, Problem
from dagferry_shared import times
from support.gitrepos import GitRepo
from support.portfixtures import Port
from support.sites import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED, CONFLICT, HELD, UNREACHABLE, NOT_FOUND, PART, USAGE = 3, 4, 5, 7, 8, 13, 2


def why(site: Site, *words: str, code: int = 0, **environ: str) -> list[dict[str, Any]]:
    document = site.dagctl("why", *words, "--json", code=code, **environ).json
    assert document["channel"] == "main"
    return document["reasons"]


def test_live_commit_needs_no_reason_nor_does_one_that_is_part_of_it(site: Site, line: list[str]) -> None:
    site.publish(line[2])
    assert why(site) == why(site, "--commit", line[2]) == why(site, "--commit", line[1][:8]) == []
    out = site.dagctl("why", "--commit", line[1]).out
    assert f"Channel main is at commit {line[2][:12]}, sequence 1-1: publish by tester" in out
    assert f"Commit {line[1][:12]} is live, as far as the store says." in out
    assert why(site, "main", "--commit", "main~2") == []


def test_each_story_of_a_merge_that_is_not_live(site: Site, line: list[str]) -> None:
    (reason,) = why(site, "--commit", line[1], code=NOT_FOUND)
    assert "Nothing was ever published" in reason["sentence"]
    site.publish(line[1])
    (reason,) = why(site, "--commit", line[2], code=NOT_FOUND)
    assert f"{line[2][:12]} was never published on this channel" in reason["sentence"]
    site.publish(line[2])
    site.dagctl("rollback", "--reason", "imports fail")
    (reason,) = why(site, "--commit", line[2], code=HELD)
    assert "moved the channel to" in reason["sentence"]
    assert "by rollback (imports fail); it is held by tester" in reason["sentence"]
    site.publish(line[3], code=HELD)
    (reason,) = why(site, "--commit", line[3], code=HELD)
    assert "publishes upload, and move nothing" in reason["sentence"]
    site.dagctl("resume")
    (reason,) = why(site, "--commit", line[3], code=NOT_FOUND)
    assert f"A release of {line[3][:12]} is in the store" in reason["sentence"]
    site.trust_text(revoked=[line[3]])
    (reason,) = why(site, "--commit", line[3], code=REFUSED)
    assert "is revoked" in reason["sentence"]


def test_branch_that_does_not_descend_is_named(own_site: Site, repo: GitRepo) -> None:
    first = repo.git("rev-parse", "HEAD").strip()
    second = repo.commit({"dags/etl.py": "A = 2\n"}, "second")
    repo.git("checkout", "-q", "-b", "side", first)
    side = repo.commit({"dags/etl.py": "A = 3\n"}, "side")
    own_site.publish(second)
    (reason,) = why(own_site, "--commit", "side", code=CONFLICT)
    assert reason["sentence"].startswith(f"{side[:12]} does not descend from {second[:12]}")
    (reason,) = why(own_site, "--commit", side, code=NOT_FOUND, DAGFERRY_REPO="")
    assert "was never published" in reason["sentence"], "without a clone nobody can say"


def test_store_and_pointer_that_cannot_be_used(site: Site, line: list[str]) -> None:
    (reason,) = why(site, code=UNREACHABLE, DAGFERRY_STORE=f"file://{site.root}/gone")
    assert reason["cure"].startswith("Run dagctl doctor")
    site.publish(line[0])
    (site.bundle / "channels/main/pointer.json").write_text("{}")
    (reason,) = why(site, code=REFUSED)
    assert "dagctl repair" in reason["cure"]


def test_release_that_is_lost_is_said(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    for path in (site.bundle / "releases").iterdir():
        path.unlink()
    (reason,) = why(site, "--commit", line[0], code=NOT_FOUND)
    assert "Pods that do not have it yet will refuse what is live there" in reason["sentence"]


def test_what_is_no_commit_is_named(site: Site) -> None:
    assert "is no commit of the clone" in site.dagctl("why", "--commit", "nonsense", code=USAGE).message


# Pods


@pytest.fixture
def port(site: Site, line: list[str]) -> Iterator[Port]:
    """A pod of the site's channel, at its first commit."""
    site.publish(line[0])
    head = site.chain().live()
    content, now = head.content, times.show(times.now())
    live = LiveInfo(
        *(content.version, content.commit, content.release, "c" * 64, "https://x", "main"),
        epoch=1,
        sequence=1,
        pointer=head.payload_digest,
    )
    with Port() as made:
        made.recorder.update(bundle="analytics", ready=True, live=live, last_attempt=now, period=3600.0, host="pod-7")
        yield made


def fails(port: Port, outcome: str, reason: str | None, detail: str) -> None:
    port.recorder.update(problem=Problem(outcome, reason, detail, times.show(times.now()), 1))


def test_pod_that_lags_says_which_check_failed_and_the_cure(site: Site, port: Port, line: list[str]) -> None:
    pods = ("--targets", f"http://127.0.0.1:{port.number}")
    assert "is live on all 1 pods." in site.dagctl("why", "--commit", line[0], *pods).out
    site.publish(line[1])
    (reason,) = why(site, *pods, code=PART)
    assert reason["sentence"] == f"Has {line[0][:12]} live, its channel is at {line[1][:12]}."
    assert "POST /notify" in reason["cure"]
    fails(port, "refused", "check-failed", "check ended with 4: DAG etl is broken")
    (reason,) = why(site, "--commit", line[1], *pods, code=PART)
    assert reason["where"] == f"pod 127.0.0.1:{port.number} (pod-7)"
    assert reason["sentence"].startswith("Refused (check-failed) since 20")
    assert reason["sentence"].endswith(": check ended with 4: DAG etl is broken.")
    assert "--check-command" in reason["cure"]
    assert why(site, "--commit", line[0], *pods) == [], "the older commit is live there all the same"
    fails(port, "store-denied", None, "no")
    assert "credentials" in why(site, "main", *pods, code=PART)[0]["cure"]
    fails(port, "unheard-of", "of-tomorrow", "no")
    assert why(site, *pods, code=PART)[0]["cure"] == "Look at the pod's log."


def test_pod_is_named_by_address_or_host(site: Site, port: Port, line: list[str]) -> None:
    site.publish(line[1])
    address = f"127.0.0.1:{port.number}"
    assert why(site, address, code=PART)[0]["where"] == f"pod {address} (pod-7)"
    assert why(site, "pod-7", "--targets", f"http://{address},http://127.0.0.1:1", code=PART)[0]["where"].endswith(
        "(pod-7)"
    )
    (reason,) = why(site, "127.0.0.1:1", code=PART)
    assert reason["sentence"] == "Connection refused."
    done = site.dagctl("why", "pod-8", "--targets", f"http://{address}", code=NOT_FOUND)
    assert "'pod-8' is neither a channel of the trust file nor one of the 1 pods asked" in done.message


def test_pod_that_diverged_or_is_revoked_is_told_first(site: Site, port: Port) -> None:
    live = port.recorder.snapshot().live
    assert live
    port.recorder.update(live=replace(live, pointer="f" * 64))
    fails(port, "store-unreachable", None, "no")
    (reason,) = why(site, f"127.0.0.1:{port.number}", code=PART)
    assert "split view" in reason["sentence"].lower()
    assert "shown another pointer" in reason["cure"]


def test_in_words_each_reason_has_its_cure_below(site: Site, port: Port, line: list[str]) -> None:
    site.publish(line[1])
    done = site.dagctl("why", "--targets", f"http://127.0.0.1:{port.number}", code=PART)
    assert done.out.splitlines()[-1].startswith("  → It has not looked yet")
    assert done.message == "dagctl: part-of-fleet: the reason is named above"
    assert json.loads(site.dagctl("why", "--json", "--targets", "http://127.0.0.1:1", code=PART).out)["pods"] == 1
