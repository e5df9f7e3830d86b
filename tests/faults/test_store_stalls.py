"""A store that falls silent, before an answer or in the middle of one, at each object: given up in bounded time."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from support import faults
from support.pods import Pod, Running
from support.scale import LONG
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.proxy import Exchange, Fault
    from support.s3site import S3Site

POINTER, RELEASE, ARCHIVE = "pointer.json", "/releases/", "/archives/"


class Stall(NamedTuple):
    """What stalls, where, how often."""

    fault: Fault
    where: str
    times: int = 1000


# In the middle of an archive the rest is asked for up to three times: a minute in all, for the long form.
STALLS = [
    Stall(faults.stall, POINTER),
    Stall(faults.stall_in_body, POINTER),
    Stall(faults.stall, RELEASE),
    Stall(faults.stall_in_body, RELEASE),
    Stall(faults.stall, ARCHIVE),
    Stall(faults.stall_in_body, ARCHIVE, times=1),
    *([Stall(faults.stall_in_body, ARCHIVE)] if LONG else []),
]


def pod_of(exchange: Exchange) -> int:
    return int(re.findall(r"Credential=pod(\d+)/", exchange.headers["authorization"])[0])


def script_for(stalls: list[Stall]) -> Any:
    """Each pod has an access key of its own, by which the proxy knows what to do to it."""

    left = [stall.times for stall in stalls]

    def script(exchange: Exchange) -> Fault | None:
        number = pod_of(exchange)
        if stalls[number].where not in exchange.path or not left[number]:
            return None
        left[number] -= 1
        return stalls[number].fault

    return script


def test_pods_keep_what_they_have_while_the_store_is_silent_and_give_it_up_in_time(
    s3_site: S3Site, tmp_path: Path, record_property: Any
) -> None:
    first, pods = s3_site.publish(), []
    for number in range(len(STALLS)):
        (tmp_path / str(number)).mkdir()
        pods.append(Pod(tmp_path / str(number), s3_site.simulator))
    try:
        silent_store(s3_site, pods, first.version)
    finally:
        for pod in pods:
            pod.close()
    record_property("faults", len(STALLS))


def silent_store(site: S3Site, pods: list[Pod], version: str) -> None:
    """All at once, as each waits for its time-out."""
    running: list[Running] = []
    for number, pod in enumerate(pods):
        environ = {**site.environ, "AWS_ACCESS_KEY_ID": f"pod{number}"}
        running.append(pod.run(store=site.store, environ=environ, min_rate="1"))
    for one in running:
        one.wait_live(version)
    site.proxy.lifted.clear()
    site.proxy.script = script_for(STALLS)
    second = site.publish()
    for number, (pod, one) in enumerate(zip(pods, running, strict=True)):
        wait_for(lambda n=number: stalled(site, n), f"{STALLS[number]} stalls")  # type: ignore[misc]
        assert one.ready()
        assert one.request("/healthz").status == 200
        assert pod.live() == version
    for one, stall in zip(running, STALLS, strict=True):
        if stall.times == 1:  # the same sync asks for the rest
            assert one.wait_live(second.version)["failures"] == 0
            continue
        wait_for(lambda o=one: o.status()["problem"], f"{stall} is given up", seconds=120)  # type: ignore[misc]
        status = one.status()
        assert status["problem"]["outcome"] == "store-unreachable"
        assert "no answer in time" in status["problem"]["detail"], status["problem"]
        assert (status["live"]["version"], status["ready"]) == (version, True)
    site.proxy.heal()
    for pod, one in zip(pods, running, strict=True):
        one.signal(signal.SIGHUP)
        one.wait_live(second.version)
        assert not [name for name in pod.versions() if name.startswith(".")]


def stalled(site: S3Site, number: int) -> list[Exchange]:
    return [asked for asked in site.proxy.asked(STALLS[number].where) if asked.fault and pod_of(asked) == number]


def test_signal_and_probes_are_served_while_the_store_is_silent(s3_site: S3Site, s3_pod: Pod) -> None:
    s3_site.publish()
    s3_site.proxy.fail(faults.stall_in_body, ARCHIVE)
    running = s3_pod.run(environ=s3_site.environ)
    wait_for(lambda: s3_site.proxy.asked(ARCHIVE), "it stalls")
    running.signal(signal.SIGHUP)
    assert running.request("/healthz").status == 200
    assert running.request("/readyz").status == 503
    assert running.stop() == 0


def test_answer_that_comes_late_is_no_fault(s3_site: S3Site, s3_pod: Pod) -> None:
    first = s3_site.publish()
    s3_site.proxy.fail(faults.slow)
    running = s3_pod.run(environ=s3_site.environ, period="1h")
    wait_for(lambda: s3_site.proxy.requests, "it was asked")
    s3_site.proxy.heal()
    status = running.wait_live(first.version)
    assert (status["failures"], status["syncs"]["swapped"]) == (0, 1)
