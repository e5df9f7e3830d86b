"""What a command works with: settings resolved, trust file read, store opened and proven, keys loaded."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dagferry_publisher import keyring
from dagferry_publisher.chain import Chain
from dagferry_publisher.cli.output import Output
from dagferry_publisher.errors import UsageError
from dagferry_publisher.patience import Patience, Patient
from dagferry_publisher.proof import check_clock, prove_conditional_writes
from dagferry_publisher.settings import Settings, load_contexts
from dagferry_publisher.stores import open_remover, open_store
from dagferry_publisher.transaction import Writer
from dagferry_shared import names, times, trust
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_shared.keys import FileSigner
    from dagferry_shared.layout import Layout
    from dagferry_shared.store import Remover, Store
    from dagferry_shared.trust import TrustFile

_STORE_WAIT_SECONDS = 30.0


class Cli:
    """One command's surroundings; everything is read when it is first asked for.

    Attributes:
        settings: effective settings.
        out: where results go.
    """

    def __init__(self, given: Mapping[str, object], context: str | None) -> None:
        self._given = {key: value for key, value in given.items() if isinstance(value, str)}
        self.out = Output(as_json=bool(given.get("json")))
        self.settings = Settings(os.environ, load_contexts(os.environ, Path.cwd(), context))
        self._store: Store | None = None
        self._remover: Remover | None = None
        self._proven = False

    def one(self, option: str) -> str:
        """Return a common option's value; UsageError if it is missing."""
        return self.settings.one(option, self._given.get(option))

    def given(self, option: str) -> str | None:
        """Return a common option's value as it was given on the command line."""
        return self._given.get(option)

    @property
    def store(self) -> Store:
        """The store."""
        if self._store is None:
            self._store = open_store(self.one("store"))
            self._make_patient(self._store)
        return self._store

    @property
    def remover(self) -> Remover:
        """What removes from the store; ``dagctl prune`` alone asks for it."""
        if self._remover is None:
            self._remover = open_remover(self.one("store"))
            self._make_patient(self._remover)
        return self._remover

    def renew_patience(self) -> None:
        """Wait for a store that is away as if it had never been: for a command that goes on after it gave up."""
        self._make_patient(self._store)

    def _make_patient(self, opened: object) -> None:
        if isinstance(opened, Patient):
            opened.patience = Patience(self._store_wait(), self.out.progress)

    def _store_wait(self) -> float:
        """Seconds to wait for a store that is away."""
        setting = self.settings.find("store-wait")
        if setting is None:
            return _STORE_WAIT_SECONDS
        text = setting.value[0]
        return 0.0 if text in {"0", "0s"} else times.duration(text, "store-wait").total_seconds()

    def trust(self) -> TrustFile:
        """Read the trust file."""
        return trust.parse(keyring.read_bounded(self.one("trust"), "trust", trust.MAX_TRUST_FILE))

    def bundle(self, trusted: TrustFile | None = None) -> str:
        """Return the bundle's name: as given, else the trust file's, which is read unless it was."""
        asked = self.settings.find("bundle", self._given.get("bundle"))
        return names.name(asked.value[0] if asked else (trusted or self.trust()).bundle, "--bundle")

    def own_bundle(self, trusted: TrustFile) -> str:
        """Return the bundle's name; UsageError if the trust file is of another one."""
        bundle = self.bundle(trusted)
        if bundle != trusted.bundle:
            raise UsageError(f"--bundle {bundle} is not the trust file's bundle, {trusted.bundle}")
        return bundle

    def chain(self, channel: str | None = None, *, begin_epoch: bool = False) -> Chain:
        """Open a channel; Refused if the trust file is of another bundle or does not know the channel."""
        trusted = self.trust()
        self.own_bundle(trusted)
        name = names.name(channel or self.one("channel"), "--channel")
        return Chain(self.store, Rules(trusted, name), begin_epoch=begin_epoch)

    def ready_to_write(self, layout: Layout) -> None:
        """Prove that the store honours conditional writes and that the clocks agree, once a process."""
        if not self._proven:
            check_clock(self.store, times.now())
            prove_conditional_writes(self.store, layout)
            self._proven = True

    def signers(self, option: str, given: list[str] | None, chain: Chain) -> list[FileSigner]:
        """Load a role's keys (``release-key`` or ``pointer-key``) and check that the trust file gives it to them."""
        loaded = self.load_keys(option, given)
        entry = chain.rules.entry
        keyring.check_role(entry.release if option == "release-key" else entry.pointer, loaded, option, chain.channel)
        return loaded

    def load_keys(self, option: str, given: list[str] | None) -> list[FileSigner]:
        """Load private keys, whatever the trust file says of them."""
        self.settings.need(option, given)
        setting = self.settings.find(option, given)
        assert setting is not None  # noqa: S101 - need() raised
        return keyring.signers(option, setting, self.settings.environ, _ask if sys.stdin.isatty() else None)

    def actor(self) -> str:
        """Say who acts: ``DAGFERRY_ACTOR``, GitLab's user, else user@host."""
        setting = self.settings.find("actor")
        if setting:
            return names.word(setting.value[0].strip(), "actor")
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a uid without a name, as containers have it
            user = f"uid-{os.getuid()}"
        return names.clean_text(f"{user}@{socket.gethostname()}")

    def writer(self, chain: Chain, pointer_key: list[str] | None, expires: str | None) -> Writer:
        """Load what signs pointers; ``expires`` is a duration such as ``7d``."""
        setting = self.settings.find("expires", expires)
        ttl = times.duration(setting.value[0], "--expires") if setting else None
        return Writer(self.actor(), self.signers("pointer-key", pointer_key, chain), ttl)

    def begin(
        self, pointer_key: list[str] | None, expires: str | None, *, dry_run: bool, channel: str | None = None
    ) -> tuple[Chain, Writer]:
        """Open a channel to move it: keys loaded, and unless ``dry_run`` the store proven."""
        chain = self.chain(channel)
        writer = self.writer(chain, pointer_key, expires)
        if not dry_run:
            self.ready_to_write(chain.layout)
        return chain, writer


def _ask(where: str) -> str:
    return str(typer.prompt(f"Passphrase of {where}", hide_input=True, err=True))
