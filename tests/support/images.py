"""The two images, built by the real buildah from a Debian that debootstrap's heir made, and run as a cluster would."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import debian
from support.dagctl import TOP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IMAGES = TOP / "deploy/images"
NAMES = ("puller", "publisher")
SUITE = "trixie"
BASE = f"localhost/debian:{SUITE}-slim"
CACHE = TOP / ".cache/images"
LOCAL_CAS = Path("/usr/local/share/ca-certificates")
# As Debian's slim images are configured.
_LEFT_OUT = ("doc", "man", "info", "lintian", "linda", "locale")
_DPKG = ("force-unsafe-io", *(f"path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT))
_OPTIONS = [*(f"--dpkgopt={option}" for option in _DPKG), '--aptopt=Acquire::Languages "none"']


def buildah(*words: str | Path, timeout: float = 600) -> str:
    """Run buildah on a storage of our own; returns what it said."""
    where = ["--root", CACHE / "root", "--runroot", CACHE / "run"]
    done = subprocess.run(["buildah", *where, *words], capture_output=True, encoding="utf-8", timeout=timeout)
    assert done.returncode == 0, f"buildah {words[0]}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


@cache
def build(name: str) -> str:
    """Build an image and return its name; other processes wait, and find its layers."""
    if not all(map(shutil.which, ("buildah", "mmdebstrap"))):
        debian.install("buildah", "mmdebstrap")
    CACHE.mkdir(parents=True, exist_ok=True)
    image = f"localhost/dagferry/{name}"
    with (CACHE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not buildah("images", "--quiet", "--filter", f"reference={BASE}"):
            _make_base()
        how = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--build-arg", f"BASE={BASE}"]
        buildah("build", *how, "--file", IMAGES / f"{name}.Dockerfile", "--tag", image, TOP)
    return image


def _make_base() -> None:
    """Make what a registry would give: no registry is asked for anything."""
    tar = CACHE / "base.tar"
    words = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--include=ca-certificates",
        *_OPTIONS,
        SUITE,
        os.fspath(tar),
    ]
    subprocess.run(words, check=True, capture_output=True, timeout=600)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, tar, "/")
    tar.unlink()
    if LOCAL_CAS.is_dir() and any(LOCAL_CAS.iterdir()):  # a proxy's, which the builds go through
        buildah("add", "--quiet", container, LOCAL_CAS, os.fspath(LOCAL_CAS))
        buildah("run", "--isolation", "chroot", container, "update-ca-certificates")
    buildah("commit", "--quiet", "--rm", container, BASE)


def config(image: str) -> dict[str, Any]:
    """Return what the image says of itself (OCI)."""
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    return found


@dataclass(frozen=True)
class Mount:
    """A directory of this machine, and its place in a container."""

    place: str
    directory: Path
    read_only: bool = False


@dataclass(frozen=True)
class Unpacked:
    """An image, and its root."""

    image: str
    root: Path

    def command(self, words: Sequence[str], mounts: Sequence[Mount] = (), user: str = "10001", *keep: str) -> list[str]:
        """Return a command line that runs words in the image as a cluster's runtime would.

        Root read-only, only the mounts writable, no new privileges, group 0 alone.

        Args:
            words: what runs.
            mounts: what is mounted.
            user: who runs it.
            keep: the only capabilities that may be had, such as "chown".
        """
        script = 'set -e; root=$1; shift; mount --bind "$root" "$root"; mount -o remount,bind,ro "$root"; '
        for mount in mounts:
            (self.root / mount.place[1:]).mkdir(parents=True, exist_ok=True)
            there = f'"$root"{shlex.quote(mount.place)}'
            script += f"mount --bind {shlex.quote(os.fspath(mount.directory))} {there}; "
            script += f"mount -o remount,bind,ro {there}; " if mount.read_only else ""
        script += 'mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; exec /usr/sbin/chroot "$root" "$@"'
        bounds = ",".join(("-all", *(f"+{name}" for name in keep)))
        rights = ["--no-new-privs", f"--bounding-set={bounds}", "--inh-caps=-all", f"--reuid={user}", "--regid=0"]
        inside = ["/usr/bin/setpriv", *rights, "--clear-groups", *words]
        return ["unshare", "--mount", "sh", "-c", script, "sh", os.fspath(self.root), *inside]

    def environ(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment that the image sets, and more."""
        return dict(row.split("=", 1) for row in config(self.image)["Env"]) | dict(more or {})

    def entrypoint(self, *arguments: str) -> list[str]:
        """Return the image's command with these arguments."""
        return [*config(self.image)["Entrypoint"], *arguments]

    def run(
        self, words: Sequence[str], *mounts: Mount, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run words to their end."""
        command = self.command(words, mounts)
        return subprocess.run(
            command,
            env=self.environ(environ),
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=120,
        )


@contextmanager
def unpacked(name: str) -> Iterator[Unpacked]:
    """Build an image and give its root."""
    image = build(name)
    container = buildah("from", "--pull-never", image)
    try:
        yield Unpacked(image, Path(buildah("mount", container)))
    finally:
        buildah("umount", container)
        buildah("rm", container)
