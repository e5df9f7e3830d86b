"""What all peers deliver from: one tree as a git repository, as plain objects, and as dagferry's releases."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.trees import Tree, changed_files, make_repository
from bench.wire import Counter, counting, git_server
from support.gitrepos import git, git_environ
from support.moto_server import MotoServer
from support.s3server import Rgw, client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from support.s3server import S3Server

RGW = Path(__file__).parents[1] / "rgw/rgw"
DAGCTL = [sys.executable, "-m", "dagferry_publisher"]


@contextmanager
def s3_server(directory: Path, *, moto: bool) -> Iterator[tuple[str, S3Server]]:
    """Bring up a real RGW if this machine can have one, else moto; gives its name for the output, too."""
    if moto or not (shutil.which("radosgw") or (os.geteuid() == 0 and shutil.which("apt-get"))):
        with MotoServer() as server:
            yield "moto (a real RGW needs root and Debian)", server
        return
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RGW_")}
    environ = {**kept, "RGW_DIR": str(directory), "RGW_PORT": "0", "RGW_SIZE": "6144"}
    try:
        subprocess.run([RGW, "up"], env=environ, check=True)
        lines = subprocess.run([RGW, "env"], env=environ, check=True, capture_output=True, text=True).stdout
        os.environ.update(re.findall(r"^export (\w+)='(.*)'$", lines, re.MULTILINE))
        version = subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=True).stdout
        yield f"RGW {version.split()[2]} (memstore)", Rgw(os.environ["RGW_ENDPOINT"], "", str(directory))
    finally:
        subprocess.run([RGW, "down"], env=environ, check=True)


def _client_at(endpoint: str, environ: dict[str, str]) -> S3Client:
    import boto3

    keys = {
        "aws_access_key_id": environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environ["AWS_SECRET_ACCESS_KEY"],
    }
    return boto3.client("s3", endpoint_url=endpoint, region_name=environ["AWS_REGION"], **keys)


# Between two versions: some peers tell by size and whole seconds that an object is new, and all files have one size.
APART_SECONDS = 1.1


@dataclass(frozen=True)
class Ends:
    """Where a peer reads: the servers themselves, or the proxies that count before them."""

    s3: str
    git: str


class World:
    """One tree, delivered in every way at once.

    Attributes:
        tree: what it is made of.
        direct: the servers.
        counted: the same behind proxies that count into ``counter``.
    """

    def __init__(self, tree: Tree, work: Path, server: S3Server, versions: int, stack: ExitStack) -> None:
        self.tree, self.work, self._server = tree, work / tree.name, server
        self.work.mkdir()
        self._repository = self.work / "git/dags.git"
        self.versions = make_repository(tree, versions, self._repository)
        self.at = -1
        self._newest = self._before = -1
        self.bucket = f"bench-{secrets.token_hex(6)}"
        self.s3 = stack.enter_context(closing(client(server)))
        self.s3.create_bucket(Bucket=self.bucket)
        base = stack.enter_context(git_server(self.work / "git"))
        self.direct = Ends(server.environ["AWS_ENDPOINT_URL_S3"], base)
        self.counters: list[Counter] = []
        ends = []
        for end in (self.direct.s3, self.direct.git):
            address, counter = stack.enter_context(counting(end))
            ends.append(address)
            self.counters.append(counter)
        self.counted = Ends(*ends)
        self._prepare()

    def _prepare(self) -> None:
        # Neither has a pod SSL_CERT_DIR: with it each client reads a directory of certificates, also for http.
        ours = ("AWS_", "DAGFERRY_", "SSL_CERT_")
        kept = {name: value for name, value in git_environ().items() if not name.startswith(ours)}
        self.environ = {**kept, **self._server.environ}
        self._dagctl("keygen", "--out", "key")
        keys = ["--release-key", "key.pub", "--pointer-key", "key.pub", "--out", "trust.json"]
        names = [
            "--bundle",
            "bench",
            "--channel",
            "main",
            "--repository",
            "https://git.example.org/dags",
            "--path",
            "dags",
        ]
        self._dagctl("trust", "init", *names, *keys)
        settings = {
            "STORE": f"s3://{self.bucket}/ferry",
            "BUNDLE": "bench",
            "CHANNEL": "main",
            "TRUST": f"{self.work}/trust.json",
        }
        self.puller_environ = {**self.environ, **{f"DAGFERRY_{name}": value for name, value in settings.items()}}
        more = {"REPO": self._repository, "REPOSITORY": "https://git.example.org/dags", "REF": "main"}
        keys_at = {"RELEASE_KEY": self.work / "key.key", "POINTER_KEY": self.work / "key.key"}
        self.environ = {**self.puller_environ, **{f"DAGFERRY_{n}": str(v) for n, v in {**more, **keys_at}.items()}}

    def _dagctl(self, *arguments: str) -> None:
        done = subprocess.run([*DAGCTL, *arguments], cwd=self.work, env=self.environ, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"dagctl {arguments[0]}: {done.stderr}")

    def forward(self, *arguments: str) -> None:
        """Deliver the next version: a push, an upload of what changed, a publish."""
        self._newest += 1
        self._before, first = self.at, self.at < 0
        self._move(self._newest)
        if first:
            self._upload_all()
        self._dagctl("publish", "--commit", self.versions[self.at], *arguments)

    def back(self) -> None:
        """Go back to what was live before."""
        self._move(self._before)
        self._dagctl("rollback", "--no-hold")

    def _move(self, to: int) -> None:
        self.at = to
        time.sleep(APART_SECONDS)
        git(self._repository, "update-ref", "refs/heads/main", self.versions[to])
        for path, data in changed_files(self.tree, to).items():
            self.s3.put_object(Bucket=self.bucket, Key=f"plain/{path.removeprefix('dags/')}", Body=data)

    def _upload_all(self) -> None:
        out = self.work / "plain"
        out.mkdir()
        packed = subprocess.run(
            ["git", "-C", self._repository, "archive", "main", "dags"], capture_output=True, check=True
        ).stdout
        subprocess.run(["tar", "x", "-C", out], input=packed, check=True)
        for path in sorted((out / "dags").rglob("*.py")):
            key = f"plain/{path.relative_to(out / 'dags')}"
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=path.read_bytes())
        shutil.rmtree(out)

    def archive_url(self, ends: Ends) -> str:
        """Return an address of the archive that needs no key."""
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="ferry/bench/v1/archives/")["Contents"]
        newest = max(found, key=lambda one: one["LastModified"])["Key"]
        with closing(_client_at(ends.s3, self._server.environ)) as asked:
            return asked.generate_presigned_url("get_object", Params={"Bucket": self.bucket, "Key": newest})

    def check(self, directory: Path, *, whole: bool) -> None:
        """Demand that a directory holds the version that is delivered now: the floor under every figure."""
        for path, data in changed_files(self.tree, self.at).items():
            found = (directory / path.removeprefix("dags/")).read_bytes()
            if found != data:
                raise RuntimeError(f"{directory} does not hold version {self.at}")
        if whole:
            count = sum(len(files) for _, _, files in os.walk(directory))
            if count != self.tree.files:
                raise RuntimeError(f"{directory} holds {count} files of {self.tree.files}")
