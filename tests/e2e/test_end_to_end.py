"""The main job through both real commands, on a directory and on an S3 API: publish, pull, swap, roll back."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.airflow_dags import git
from demo.pod import Pod
from support.s3server import new_bucket, s3_server

DAGCTL = [sys.executable, "-m", "dagferry_publisher"]
PULLER = [sys.executable, "-m", "dagferry_puller"]


class World:
    """A repository, keys, a trust file and a store, and the commands called in it."""

    def __init__(self, home: Path, store: str, environ: dict[str, str]) -> None:
        self.home = home
        self.repo = home / "repo"
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("DAGFERRY_", "AWS_", "CI"))}
        settings = {"STORE": store, "BUNDLE": "etl", "CHANNEL": "main", "TRUST": f"{home}/trust.json"}
        settings |= {"REPO": str(self.repo), "REPOSITORY": "https://git.example.org/etl", "REF": "main"}
        settings |= {"RELEASE_KEY": f"{home}/ci.key", "POINTER_KEY": f"{home}/ci.key"}
        self.environ = {**clean, **environ, **{f"DAGFERRY_{key}": value for key, value in settings.items()}}
        self.repo.mkdir()
        git(self.repo, "init", "--quiet", "--initial-branch=main")
        self.dagctl("keygen", "--out", f"{home}/ci")
        trust = ("trust", "init", "--bundle", "etl", "--channel", "main", "--repository", "https://git.example.org/etl")
        keys = ("--release-key", f"{home}/ci.pub", "--pointer-key", f"{home}/ci.pub", "--out", f"{home}/trust.json")
        self.dagctl(*trust, "--path", "dags", *keys)

    def commit(self, files: dict[str, str]) -> str:
        """Commit exactly these files below ``dags``."""
        git(self.repo, "rm", "-r", "--quiet", "--ignore-unmatch", "dags")
        for path, content in files.items():
            target = self.repo / "dags" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        git(self.repo, "add", "--all")
        git(self.repo, "commit", "--quiet", "--message", f"{len(files)} files")
        return git(self.repo, "rev-parse", "HEAD").strip()

    def dagctl(self, *arguments: str, exit_code: int = 0) -> dict[str, object]:
        """Run ``dagctl … --json``; returns the document, or the error."""
        done = subprocess.run([*DAGCTL, *arguments, "--json"], env=self.environ, capture_output=True, text=True)
        assert done.returncode == exit_code, done.stderr
        return json.loads(done.stderr.splitlines()[-1] if exit_code else done.stdout)

    def version(self, document: dict[str, object]) -> str:
        """Return the version id that a command made live."""
        pointer = document["pointer"]
        assert isinstance(pointer, dict)
        return f"{pointer['commit']}-{pointer['release']}"

    def tree(self, root: Path) -> dict[str, str]:
        """Return what the link shows, resolved once."""
        top = (root / "current").resolve()
        return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


@pytest.fixture(params=["directory", "s3"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "directory":
        (tmp_path / "store").mkdir()
        yield World(tmp_path, f"file://{tmp_path}/store", {})
        return
    with s3_server() as server:
        yield World(tmp_path, f"s3://{new_bucket(server)}/prod", server.environ)


def test_a_running_pod_follows_publishes_and_a_rollback(world: World, tmp_path: Path) -> None:
    first = {"etl.py": "v1", "lib/helper.py": "v1"}
    second = {"etl.py": "v2", "lib/new.py": "v2"}
    with Pod(tmp_path / "pod", world.environ, "--period", "0.2") as pod:
        world.commit(first)
        one = world.version(world.dagctl("publish"))
        pod.until("the first version", lambda: pod.live == one)
        assert world.tree(pod.root) == first
        world.commit(second)
        two = world.version(world.dagctl("publish"))
        pod.until("the second version", lambda: pod.live == two)
        assert world.tree(pod.root) == second
        assert world.version(world.dagctl("rollback", "--reason", "bad")) == one
        pod.until("the first version again", lambda: pod.live == one)
        assert world.tree(pod.root) == first
        assert pod.get("/readyz")
    assert pod.process.returncode == 0
    assert world.dagctl("verify", "--all")["findings"] == []


def test_a_new_pod_gets_the_commit_it_asks_for(world: World, tmp_path: Path) -> None:
    commits = [world.commit({"etl.py": text}) for text in ("a", "b", "c")]
    pins = [world.version(world.dagctl("publish", "--commit", commit)) for commit in commits]

    def once(name: str, *options: str) -> dict[str, str]:
        command = [*PULLER, "once", "--root", str(tmp_path / name), *options]
        done = subprocess.run(command, env=world.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return world.tree(tmp_path / name)

    assert once("newest") == {"etl.py": "c"}
    assert once("by-commit", "--commit", commits[1]) == {"etl.py": "b"}
    assert once("pinned", "--pin", pins[0]) == {"etl.py": "a"}


def test_a_held_channel_uploads_and_moves_nothing(world: World, tmp_path: Path) -> None:
    world.commit({"etl.py": "a"})
    live = world.version(world.dagctl("publish"))
    world.dagctl("hold", "--reason", "freeze")
    world.commit({"etl.py": "b"})
    assert "freeze" in str(world.dagctl("publish", exit_code=5))
    done = subprocess.run([*PULLER, "once", "--root", str(tmp_path / "pod")], env=world.environ, capture_output=True)
    assert done.returncode == 0
    assert Path(os.readlink(tmp_path / "pod" / "current")).name == live
    world.dagctl("resume")
    assert world.version(world.dagctl("publish")) != live
