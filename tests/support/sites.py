"""A whole site for a test: keys, trust file, store, clone, and ``dagctl`` set up to use them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagferry_publisher import keyring
from dagferry_publisher.chain import Chain
from dagferry_shared import trust
from dagferry_shared.keys import FileSigner
from dagferry_shared.release import Selection
from dagferry_shared.rules import Rules
from dagferry_shared.store.directory import DirectoryStore
from dagferry_shared.trust import ChannelTrust, Role, TrustFile
from support.dagctl import Dagctl, Result, clean_environ
from support.gitrepos import REPOSITORY, GitRepo

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ("ci", "ops", "spare", "stranger")  # release and pointers; pointers; in no trust file, twice


def make_keys(directory: Path) -> Path:
    """Write the key pairs of all sites."""
    for name in KEYS:
        keyring.write_pair(directory / name, FileSigner.generate(), None)
    return directory


def make_trust(keys: Path, *, channels: dict[str, dict[str, Any]] | None = None) -> TrustFile:
    """Trust ``ci`` with releases and pointers and ``ops`` with pointers, on ``main`` and ``canary`` (any ref)."""
    ci, ops = (keyring.public_key(str(keys / f"{name}.pub"), "key") for name in ("ci", "ops"))
    entries = {}
    for name, changes in (channels or {"main": {}, "canary": {"refs": ("**",)}}).items():
        facts: dict[str, Any] = {"paths": ("dags",), "refs": ("main",), "selection": Selection()} | changes
        roles = {"release": Role(1, (ci.id,)), "pointer": Role(1, (ci.id, ops.id))}
        entries[name] = ChannelTrust(repository=REPOSITORY, **(roles | facts))
    return TrustFile("analytics", 1, {ci.id: ci, ops.id: ops}, entries)


@dataclass
class Site:
    """A directory with everything a publisher needs."""

    root: Path
    keys: Path
    repo: GitRepo
    dagctl: Dagctl

    @property
    def store(self) -> Path:
        """The store's directory."""
        return self.root / "store"

    @property
    def bundle(self) -> Path:
        """Where the bundle's objects are."""
        return self.store / "analytics/v1"

    @property
    def trust(self) -> Path:
        """The trust file."""
        return self.root / "trust.json"

    def key(self, name: str) -> Path:
        """A private key file."""
        return self.keys / f"{name}.key"

    def key_id(self, name: str) -> str:
        """A key's id."""
        return keyring.public_key(str(self.keys / f"{name}.pub"), "key").id

    def trust_text(self, **changes: object) -> None:
        """Change top-level fields of the trust file."""
        self.trust.write_text(json.dumps(json.loads(self.trust.read_text()) | changes))

    def publish(self, commit: str, *arguments: object, code: int = 0, **environ: str) -> Result:
        """Publish a commit on main, or as the arguments say."""
        return self.dagctl("publish", "--commit", commit, "--ref", "main", *arguments, code=code, **environ)

    def pointer(self, channel: str = "main") -> dict[str, Any]:
        """The live pointer's payload, verified."""
        signed, _ = self.chain(channel).verified_head()
        assert signed is not None
        found: dict[str, Any] = json.loads(signed.content.payload())
        return found

    def live(self, channel: str = "main") -> str:
        """The live commit."""
        return str(self.pointer(channel)["commit"])

    def chain(self, channel: str = "main") -> Chain:
        """The channel, in this process."""
        return Chain(DirectoryStore(self.store), Rules(trust.parse(self.trust.read_bytes()), channel))

    def tree(self) -> dict[str, bytes]:
        """Every object of the store and its bytes."""
        files = sorted(path for path in self.store.rglob("*") if path.is_file() and path.name != ".lock")
        return {str(path.relative_to(self.store)): path.read_bytes() for path in files}


def make_site(root: Path, keys: Path, repo: GitRepo) -> Site:
    """Build a site in an empty directory; its settings are in ``DAGFERRY_*`` variables."""
    (root / "home").mkdir(parents=True)
    (root / "store").mkdir()
    (root / "trust.json").write_bytes(make_trust(keys).encode())
    settings = {
        "STORE": f"file://{root / 'store'}",
        "TRUST": str(root / "trust.json"),
        "CHANNEL": "main",
        "REPO": str(repo.path),
        "RELEASE_KEY": str(keys / "ci.key"),
        "POINTER_KEY": str(keys / "ci.key"),
        "ACTOR": "tester",
    }
    environ = clean_environ(root / "home") | {f"DAGFERRY_{name}": value for name, value in settings.items()}
    return Site(root, keys, repo, Dagctl(root, environ))


def copy_store(site: Site, to: Path) -> None:
    """Keep a copy of the store, to bring it back later."""
    shutil.copytree(site.store, to, dirs_exist_ok=True)
