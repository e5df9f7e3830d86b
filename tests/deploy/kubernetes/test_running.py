"""The containers of deploy/kubernetes in the built images, as a cluster would run them.

Arguments, environment, mounts, user and rights are the manifests'; the port and the store's address are the test's own.
"""

from __future__ import annotations

import subprocess
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.gitrepos import REPOSITORY, GitRepo
from support.images import Mount, Unpacked
from support.manifests import Container, all_containers
from support.moto_server import MotoServer
from support.mounts import needs_root
from support.pods import Running
from support.s3server import client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_root
EACH = {container.id: container for container in all_containers()}
PULLERS = [name for name, container in EACH.items() if container.mode == "run"]


@dataclass(frozen=True)
class World:
    """A store with one release in it, published by the publisher's image."""

    directory: Path
    secret: dict[str, str]
    commit: str

    def volume(self, name: str) -> Path:
        """A directory as kubelet makes an emptyDir."""
        path = self.directory / name
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
        return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, publisher_image: Unpacked) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    repo = GitRepo(directory / "clone")  # root's, and the publisher is somebody else
    commit = repo.commit({"dags/etl.py": "# one\n"})
    with MotoServer() as moto:
        with closing(client(moto)) as s3:
            s3.create_bucket(Bucket="dags")
        made = World(directory, dict(moto.environ), commit)
        publish(made, publisher_image)
        yield made


def publish(world: World, image: Unpacked) -> None:
    work = Mount("/work", world.volume("work"))
    script = """
    set -e; cd /work; dagctl keygen --out ci; dagctl trust init --bundle etl --channel main --path dags \
      --repository $DAGFERRY_REPOSITORY --release-key ci.pub --pointer-key ci.pub --out trust.json
    dagctl publish --repo /clone --ref main --release-key ci.key --pointer-key ci.key
    """
    told = {"STORE": "s3://dags/prod", "BUNDLE": "etl", "CHANNEL": "main", "TRUST": "/work/trust.json"}
    told |= {"REPOSITORY": REPOSITORY, "ACTOR": "tester"}
    environ = world.secret | {f"DAGFERRY_{name}": value for name, value in told.items()}
    done = image.run(
        ["sh", "-c", script], work, Mount("/clone", world.directory / "clone", read_only=True), environ=environ
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def dags(world: World, tmp_path: Path) -> Path:
    """A pod's volume."""
    path = tmp_path / "dags"
    path.mkdir()
    path.chmod(0o777)
    return path


def command(container: Container, image: Unpacked, world: World, dags: Path, user: int = 10001) -> list[str]:
    """Return the container's command line; ``user`` is whom the pod names, else the image."""
    spec = container.spec
    sources = {"dags": dags, "dagferry-trust": world.volume("work"), "dagferry-tmp": world.volume("tmp")}
    mounts = [
        Mount(row["mountPath"], sources[row["name"]], row.get("readOnly", False))
        for row in spec.get("volumeMounts", ())
    ]
    rights = spec["securityContext"]
    words = spec["command"] if "command" in spec else image.entrypoint(*spec["args"])
    keep = (name.lower() for name in rights["capabilities"].get("add", ()))
    return image.command(words, mounts, str(rights.get("runAsUser", user)), *keep)


def environ(container: Container, image: Unpacked, world: World) -> dict[str, str]:
    """Return its environment, with the Secret's, and a port that is free on this machine."""
    told = image.environ(container.environ() | world.secret)
    for name in ("DAGFERRY_HTTP", "DAGFERRY_LISTEN"):
        if name in told:
            told[name] = "127.0.0.1:0"
    return told


@contextmanager
def started(container: Container, image: Unpacked, world: World, dags: Path, user: int = 10001) -> Iterator[Running]:
    log = dags.parent / f"{container.spec['name']}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(container, image, world, dags, user),
            env=environ(container, image, world),
            stdout=file,
            stderr=file,
        )
    try:
        yield Running(process, log, http=True)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def finished(container: Container, image: Unpacked, world: World, dags: Path) -> None:
    """Run a container to its end."""
    words, told = command(container, image, world, dags), environ(container, image, world)
    done = subprocess.run(words, env=told, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr


def peak_mib(process: subprocess.Popen[bytes]) -> float:
    """Return the most memory that a process had."""
    with open(f"/proc/{process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


@pytest.mark.parametrize("name", PULLERS)
def test_a_puller_is_ready_and_answers_its_probes(name: str, puller_image: Unpacked, world: World, dags: Path) -> None:
    container = EACH[name]
    with started(container, puller_image, world, dags) as running:
        running.wait(f"{world.commit[:12]} is live", lambda s: s["ready"] and s["live"]["commit"] == world.commit)
        assert {running.request(path).status for path in container.probes().values()} == {200}
        assert running.request("/metrics").status == 200
        assert (dags / "current/etl.py").read_text() == "# one\n"
        request = int(container.spec["resources"]["requests"]["memory"].removesuffix("Mi"))
        assert peak_mib(running.process) < request
        assert running.stop() == 0
    assert (dags / "current").stat().st_uid == 10001


def test_a_sidecar_runs_as_the_user_of_airflows_chart(puller_image: Unpacked, world: World, dags: Path) -> None:
    sidecar = EACH["sidecar-airflow-worker-dagferry"]
    assert sidecar.spec["securityContext"].keys().isdisjoint({"runAsUser", "runAsGroup"})  # the pod's hold
    with started(sidecar, puller_image, world, dags, user=50000) as running:
        running.wait("a version is live", lambda s: s["ready"])
        assert running.stop() == 0
    assert (dags / "current").stat().st_uid == 50000


def test_a_sidecar_can_check_before_a_swap(puller_image: Unpacked, world: World, dags: Path) -> None:
    sidecar = EACH["sidecar-airflow-worker-dagferry"]
    told = {"DAGFERRY_CHECK_COMMAND": "dagferry-check --compile"}
    with started(sidecar, puller_image, World(world.directory, world.secret | told, world.commit), dags) as running:
        running.wait("a version is live", lambda s: s["ready"])
        assert running.stop() == 0


def test_once_brings_a_version_and_ends(puller_image: Unpacked, world: World, dags: Path) -> None:
    finished(EACH["sidecar-airflow-preview-dagferry"], puller_image, world, dags)
    assert (dags / "current/etl.py").read_text() == "# one\n"


def test_the_relay_is_ready_and_takes_notifications(puller_image: Unpacked, world: World, dags: Path) -> None:
    container = EACH["sidecar-dagferry-relay-relay"]
    with started(container, puller_image, world, dags) as running:
        assert {running.request(path).status for path in container.probes().values()} == {200}
        assert running.request("/notify", "POST").status == 202
        assert running.stop() == 0


def test_a_node_agent_may_write_a_directory_that_kubelet_made(puller_image: Unpacked, world: World, dags: Path) -> None:
    dags.chmod(0o755)
    agent = EACH["node-agent-dagferry-node-dagferry"]
    own = EACH["node-agent-dagferry-node-own"]
    assert (own.pod["spec"]["initContainers"], own.mode) == ([own.spec], None)
    finished(own, puller_image, world, dags)
    assert dags.stat().st_uid == 10001
    with started(agent, puller_image, world, dags) as running:
        running.wait("a version is live", lambda s: s["ready"])
        assert running.stop() == 0


@pytest.mark.parametrize("name", [name for name in EACH if name.endswith("-wait")])
def test_a_reader_waits_until_there_is_a_version(name: str, puller_image: Unpacked, world: World, dags: Path) -> None:
    words, told = command(EACH[name], puller_image, world, dags), environ(EACH[name], puller_image, world)
    waiting = subprocess.Popen(words, env=told)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=1)
        finished(EACH["sidecar-airflow-preview-dagferry"], puller_image, world, dags)
        assert waiting.wait(timeout=30) == 0
    finally:
        waiting.kill()
        waiting.wait()


def test_the_toolbox_asks_pods_and_store(
    puller_image: Unpacked, publisher_image: Unpacked, world: World, dags: Path
) -> None:
    toolbox, sidecar = EACH["sidecar-dagferry-toolbox-toolbox"], EACH["sidecar-airflow-worker-dagferry"]
    assert toolbox.environ()["DAGFERRY_TARGETS"] == "dns://dagferry-pods:9474"
    with started(sidecar, puller_image, world, dags) as running:
        running.wait("a version is live", lambda s: s["ready"])
        # What kubectl exec would start there.
        words = command(toolbox, publisher_image, world, dags)[: -len(toolbox.spec["command"])]
        told = environ(toolbox, publisher_image, world) | {"DAGFERRY_TARGETS": f"http://127.0.0.1:{running.port}"}
        for asked in (["status"], ["wait", "--commit", world.commit], ["why"], ["verify", "--all"]):
            done = subprocess.run(
                [*words, "dagctl", *asked], env=told, capture_output=True, encoding="utf-8", timeout=60
            )
            assert done.returncode == 0, done.stderr
        assert running.stop() == 0
