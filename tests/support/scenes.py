"""What has happened when somebody opens the runbook: each scene makes it so, with real pods and a real store."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from support import mounts
from support.moto_server import MotoServer
from support.relays import relay
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.desks import Desk

SCENES: dict[str, Callable[[Desk], None]] = {}


def scene(function: Callable[[Desk], None]) -> Callable[[Desk], None]:
    """Name a scene by its function."""
    SCENES[function.__name__.replace("_", "-")] = function
    return function


@scene
def live(desk: Desk) -> None:
    """Two pods, at the second of two commits."""
    desk.publish()
    desk.publish()
    desk.start(2)
    desk.wait_live(desk.commits()[-1])


@scene
def nothing(desk: Desk) -> None:
    """A store without anything, and no pod."""


@scene
def store_away(desk: Desk) -> None:
    """The store is an S3 API, and ends under running pods."""
    import boto3

    server = desk.ending.enter_context(MotoServer())
    keys = {name.lower(): server.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="dags")
    client.close()
    for environ in (desk.environ, desk.site.dagctl.environ):
        environ.update(server.environ, DAGFERRY_STORE="s3://dags/prod")
    commit = desk.publish()
    desk.start(2, environ=server.environ)
    desk.wait_live(commit)
    server.__exit__(None, None, None)
    for running in desk.running:
        running.wait_problem("store-unreachable")


@scene
def refused(desk: Desk) -> None:
    """CI signs with a new key, and the pods' trust file does not know it yet."""
    live(desk)
    desk.run("dagctl keygen --out ci-2; dagctl trust add-key ci-2.pub --channel main --role release")
    desk.site.repo.commit({"dags/etl.py": "A = 9\n"}, "change")
    desk.run("dagctl publish --ref main --release-key ci-2.key --pointer-key ci.key")
    for running in desk.running:
        running.wait_problem("unknown-key")


@scene
def not_ready(desk: Desk) -> None:
    """A pod that was told a channel where nothing was ever published."""
    live(desk)
    desk.start(1, channel="canary").wait_problem("not-found")


@scene
def stale(desk: Desk) -> None:
    """A pod that does not reach the store any more, which others do."""
    live(desk)
    pod = desk.pods[-1]
    desk.running.pop().stop()
    elsewhere = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "x"}
    pod.settings["store"] = "s3://dags/prod"
    pod.run(environ={**elsewhere, "AWS_SECRET_ACCESS_KEY": "x"})
    desk.running.append(pod._running[-1])
    desk.environ["DAGFERRY_TARGETS"] = ",".join(f"http://127.0.0.1:{running.port}" for running in desk.running)
    desk.environ["POD"] = f"127.0.0.1:{desk.running[-1].port}"
    desk.running[-1].wait_problem("store-unreachable")


@scene
def pod_behind(desk: Desk) -> None:
    """One pod's check refuses what the others have live."""
    live(desk)
    running = desk.start(1, check_command="""sh -c 'test ! -e "$0/bad.py"'""")
    desk.wait_live(desk.commits()[-1])
    commit = desk.site.repo.commit({"dags/bad.py": ""}, "bad")
    desk.ci("publish", "--commit", commit, "--ref", "main")
    running.wait_problem("check-failed")


@scene
def diverged(desk: Desk) -> None:
    """One pod is shown another store, with another pointer of the same sequence."""
    live(desk)
    other = desk.site.root / "other"
    shutil.copytree(desk.site.store, other)
    commit = desk.publish()
    desk.wait_live(commit)
    ours = desk.site.dagctl.environ["DAGFERRY_STORE"]
    desk.site.dagctl.environ["DAGFERRY_STORE"] = f"file://{other}"
    desk.ci("publish", "--commit", commit, "--ref", "main", "--reason", "for your eyes only")
    desk.start(1, store=f"file://{other}")
    desk.site.dagctl.environ["DAGFERRY_STORE"] = ours
    desk.wait_live(commit)


@scene
def equivocation(desk: Desk) -> None:
    """Two pointers were signed for one sequence, and the pods are shown one after the other."""
    live(desk)
    other = desk.site.root / "other"
    shutil.copytree(desk.site.store, other)
    commit = desk.publish()
    desk.wait_live(commit)
    desk.ci("publish", "--commit", commit, "--ref", "main", "--reason", "again", "--store", f"file://{other}")
    pointer = "analytics/v1/channels/main/pointer.json"
    os.replace(other / pointer, desk.site.store / pointer)
    for running in desk.running:
        running.wait_problem("equivocation")


@scene
def tampered(desk: Desk) -> None:
    """Somebody wrote into the live version of a pod, and the puller has put it right."""
    live(desk)
    version = desk.pods[-1].root / "current"
    os.chmod(version, 0o755)
    (version / "debug.py").write_text("print('let me see')\n")
    desk.running[-1].wait("it was repaired", lambda status: status["tampered"])


@scene
def disk_full(desk: Desk) -> None:
    """The volume of a pod has no room for another version."""
    desk.publish()
    mounts.enter_own_namespace()
    volume = mounts.tmpfs(desk.directory / "volume", "size=256k")
    desk.ending.callback(mounts.unmount, volume)
    desk.start(1, root=str(volume / "root"))
    desk.wait_live(desk.commits()[-1])
    desk.publish(text="".join(f"A{number} = {os.urandom(8).hex()!r}\n" for number in range(20000)))
    desk.running[-1].wait_problem("volume-failed")


@scene
def expired(desk: Desk) -> None:
    """The live pointer expired, as nothing refreshed it."""
    live(desk)
    desk.publish("--expires", "1s")
    for running in desk.running:
        running.wait_problem("expired")


@scene
def hook_failing(desk: Desk) -> None:
    """A hook that ends with an error each time."""
    desk.publish()
    running = desk.start(1, exec_hook="false")
    running.wait("the hook failed", lambda status: status["hooks"]["exec"]["failures"])


@scene
def airflow_away(desk: Desk) -> None:
    """The Airflow that should be told is not there."""
    desk.publish()
    who = {"DAGFERRY_AIRFLOW_USERNAME": "dagferry", "DAGFERRY_AIRFLOW_PASSWORD": "x"}
    running = desk.start(1, environ=who, airflow="http://127.0.0.1:9")
    running.wait("it was asked", lambda status: (status["airflow"] or {}).get("problem"))


@scene
def relay_failing(desk: Desk) -> None:
    """A relay that cannot reach one of its pods."""
    live(desk)
    targets = desk.environ["DAGFERRY_TARGETS"] + ",http://127.0.0.1:9"
    told = desk.ending.enter_context(relay(desk.directory, targets=targets))
    desk.environ["RELAY"] = f"127.0.0.1:{told.port}"
    wait_for(lambda: told.metrics()["dagferry_relay_failed_total"], "the relay gave up a pod")


@scene
def puller_down(desk: Desk) -> None:
    """A pod's puller is dead."""
    live(desk)
    desk.running[-1].kill()


@scene
def held(desk: Desk) -> None:
    """Somebody held the channel, and CI published since."""
    live(desk)
    desk.run("dagctl hold --reason 'incident 4711'")
    commit = desk.site.repo.commit({"dags/etl.py": "A = 9\n"}, "change")
    desk.ci("publish", "--commit", commit, "--ref", "main", code=5)


@scene
def restored(desk: Desk) -> None:
    """The bucket was restored from a backup that is a publish behind."""
    live(desk)
    backup = desk.site.root / "backup"
    shutil.copytree(desk.site.store, backup)
    desk.wait_live(desk.publish())
    shutil.rmtree(desk.site.store)
    shutil.copytree(backup, desk.site.store)
    for running in desk.running:
        running.wait_problem("rollback")


@scene
def lost(desk: Desk) -> None:
    """The bucket is gone, and no backup of it is left; the pods run on."""
    live(desk)
    shutil.rmtree(desk.site.store / "analytics")
    for running in desk.running:
        running.wait_problem("not-found")


@scene
def behind(desk: Desk) -> None:
    """The pointer is older than the newest entry of the history: somebody put an old copy back."""
    live(desk)
    pointer = desk.site.bundle / "channels/main/pointer.json"
    old = pointer.read_bytes()
    desk.wait_live(desk.publish())
    pointer.write_bytes(old)
    for running in desk.running:
        running.wait_problem("rollback")


@scene
def stuck_rollout(desk: Desk) -> None:
    """A rollout whose machine died in the check after its first stage."""
    live(desk)
    desk.site.dagctl.environ["DAGFERRY_CHANNEL"] = "canary"
    desk.ci("publish", "--commit", desk.commits()[-1], "--ref", "main")
    desk.publish()
    desk.site.dagctl.environ["DAGFERRY_CHANNEL"] = "main"
    flag = desk.directory / "checking"
    check = f"import os, time; open({str(flag)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    words = ["dagctl", "rollout", "--stages", "canary,main", "--check", shlex.join([sys.executable, "-c", check])]
    with subprocess.Popen(words, cwd=desk.clone, env=desk.environ, stderr=subprocess.DEVNULL) as process:
        pid = int(wait_for(lambda: flag.exists() and flag.read_text(), "the check runs"))
        process.kill()
    os.kill(pid, signal.SIGKILL)


@scene
def staged(desk: Desk) -> None:
    """Pods on both channels; canary is at a commit that main does not have yet; a smoke test lies in the clone."""
    live(desk)
    desk.site.dagctl.environ["DAGFERRY_CHANNEL"] = "canary"
    desk.ci("publish", "--commit", desk.commits()[-1], "--ref", "main")
    desk.start(1, channel="canary")
    desk.publish()
    desk.site.dagctl.environ["DAGFERRY_CHANNEL"] = "main"
    smoke = desk.clone / "smoke-test"
    smoke.write_text("#!/bin/sh\ntrue\n")
    smoke.chmod(0o755)


@scene
def monorepo(desk: Desk) -> None:
    """A repository of several instances, of which nothing was published."""
    files = {
        "analytics/dags/a.py": "",
        "research/dags/r.py": "",
        "wmf_airflow_common/x.py": "",
        "config/c.yaml": "a: 1\n",
    }
    desk.site.repo.commit(files, "one of many")


@scene
def synced_folder(desk: Desk) -> None:
    """A folder that was synchronised for years, and got a file by hand."""
    live(desk)
    shutil.copytree(desk.clone / "dags", desk.clone / "synced")
    (desk.clone / "synced/generated.json").write_text("{}\n")
