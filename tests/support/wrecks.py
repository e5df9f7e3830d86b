"""Roots in the middle of a sync: made again and again, wrecked, looked at as a reader would, and started anew.

A ``Scenario`` says what lies on the root and in the store before the start that is disturbed. A ``Yard`` holds both:
``fresh`` puts the root back as it was, ``check_reader`` and ``check_memory`` say what must hold at any moment,
``check_recovery`` what the next start must make of it.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import fsio, options, state
from dagferry_puller.prepare import new_recorder, open_store, open_trust
from dagferry_puller.session import Session
from dagferry_shared.errors import Reason, Refused
from support.bundles import Published, Simulator, small_tree
from support.gitid import tree_of
from support.pods import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dagferry_puller.status import Outcome
    from support.zygote import Traced, Zygote


@dataclass(frozen=True)
class Scenario:
    """One kind of start.

    Attributes:
        name: for test ids.
        prepare: publishes, and brings the root into its state before the start; returns what must be live at its end.
        settings: of every start.
        linkless: whether a reader may find no link, or one that leads nowhere: there was none before, or somebody had
            taken it, or the file system cannot exchange two directories.
        inject: faults that every start has, such as a call that the file system does not know.
        forgiving: whether an error may end well: there is another way to the same tree.
        shared: whether hard links between versions are put back with the root; else each gets files of its own.
    """

    name: str
    prepare: Callable[[Yard], Published]
    settings: Mapping[str, str] = field(default_factory=dict)
    linkless: bool = False
    inject: tuple[str, ...] = ()
    forgiving: bool = False
    shared: bool = False

    def __str__(self) -> str:
        return self.name


class Yard:
    """A store and a root for one scenario.

    Args:
        directory: for both.
        scenario: what to prepare.
        zygote: starts the command.

    Attributes:
        simulator: the store.
        path: the root.
        target: what is live in the end.
        older: the pointer before the target's, to be replayed; None: there was none.
        trees: ids of the trees that a reader may find.
        linked: where the link points before the start.
        settings: of the command.
    """

    def __init__(self, directory: Path, scenario: Scenario, zygote: Zygote) -> None:
        self.simulator = Simulator(directory / "store")
        self.path = directory / "root"
        self._template = directory / "template"
        self.scenario = scenario
        self.link = scenario.settings.get("link", "current")
        self.older: Published | None = None
        self.settings = {
            "store": self.simulator.url,
            "bundle": self.simulator.bundle,
            "channel": self.simulator.channel,
            "trust": str(self.simulator.write_trust(directory / "trust.json")),
            "root": str(self.path),
            "timeout": "20s",
            **scenario.settings,
        }
        self._zygote = zygote
        self.target = scenario.prepare(self)
        self.trees = {self.target.release.tree} | ({tree} if (tree := self._tree()) else set())
        self._seen = self._memory()
        self.linked = self.target_of_link()
        if self.path.exists():
            self._copy(self.path, self._template)

    # Starts

    def arguments(self, mode: str = "once") -> list[str]:
        """Return the command line."""
        given = {name: value for name, value in self.settings.items() if name != "timeout" or mode == "once"}
        pairs = ([f"--{name}", *([value] if value != ON else [])] for name, value in given.items())
        return [mode, *(word for pair in pairs for word in pair)]

    def start(self, *inject: str, **more: Any) -> Traced:
        """Run ``once`` in a traced process with faults; ``names`` are the syscalls to record."""
        faults = [*self.scenario.inject, *inject]
        return self._zygote.start(self.arguments(), inject=faults, **more)

    def command(self, *before: str) -> subprocess.CompletedProcess[str]:
        """Run the real command to its end, as the argument of another command if one is given."""
        words = [*before, *COMMAND, *self.arguments()]
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    def pull(self, **changes: str) -> Outcome:
        """Do what a new ``once`` does, in this process; nobody pulls the plug here."""
        settings = options.resolve("once", {**self.settings, "no-fsync": ON, **changes}, {})
        session = Session(settings, open_store(settings), open_trust(settings), new_recorder(settings))
        try:
            puller = session.own()
            assert puller is not None, "the root is locked"
            return puller.fetch(settings.pin) if settings.no_link else puller.sync()
        finally:
            session.close()

    def bring(self, word: str) -> Published:
        """Publish a commit and make it live."""
        self.older = self.simulator.last
        published = self.simulator.publish(small_tree(word), word)
        self.pull(keep="9")
        return published

    def publish(self, word: str) -> Published:
        """Publish a commit."""
        self.older = self.simulator.last
        return self.simulator.publish(small_tree(word), word)

    def fresh(self) -> None:
        """Put the root back as it was before the start."""
        self._remove()
        if self._template.exists():
            self._copy(self._template, self.path)

    def _copy(self, source: Path, to: Path) -> None:
        if self.scenario.shared:
            subprocess.run(["cp", "-a", source, to], check=True)
        else:
            shutil.copytree(source, to, symlinks=True)

    def _remove(self) -> None:
        with fsio.closing(os.open(self.path.parent, fsio.DIRECTORY)) as parent:
            fsio.remove(self.path.name, parent)

    # What must hold at any moment

    def check_reader(self) -> None:
        """Demand that who resolves the link now finds a whole tree, the old or the new one."""
        path = self.path / self.link
        if not path.is_dir() or not path.is_symlink():
            assert self.scenario.linkless, "the link leads nowhere"
        else:
            assert self._tree() in self.trees, "the tree behind the link is neither the old nor the new one"

    def check_memory(self) -> None:
        """Demand that the memory is whole, did not go back, and is not behind what is live."""
        seen = self._memory()
        assert seen >= self._seen, f"seen went back from {self._seen} to {seen}"
        if self._is_live():
            assert seen >= self.target.pointer.position, "live, and not remembered"

    def check_replay(self) -> None:
        """Demand, if the target was made live, that a start refuses the pointer before it."""
        if self.older is None or not self._is_live():
            return
        link = self.target_of_link()
        self.simulator.show(self.older)
        try:
            with pytest.raises(Refused) as caught:
                self.pull()
        finally:
            self.simulator.show(self.target)
        assert caught.value.reason is Reason.ROLLBACK
        assert self.target_of_link() == link

    def check_recovery(self, wanted: Mapping[str, Any]) -> None:
        """Demand that the next start makes the root what an undisturbed start makes of it, debris included."""
        self.pull()
        self.check_inventory(wanted)

    def check_inventory(self, wanted: Mapping[str, Any]) -> None:
        """Demand that the root holds exactly this."""
        found = self.inventory()
        different = {path: (found.get(path), wanted.get(path)) for path in found.keys() | wanted.keys()}
        different = {path: pair for path, pair in different.items() if pair[0] != pair[1]}
        assert not different, f"not as after an undisturbed start (found, wanted): {different}"

    def _is_live(self) -> bool:
        return os.path.basename(self.target_of_link() or "") == self.target.version

    def _tree(self) -> str | None:
        path = self.path / self.link
        return tree_of(path) if path.is_symlink() and path.is_dir() else None

    def _memory(self) -> tuple[int, int]:
        """Return the position that would be remembered after a crash now; a damaged file must be as it was."""
        meta = self.path / ".dagferry"
        channel = f"{self.simulator.bundle}/{self.simulator.channel}"
        positions = [(0, 0)]
        if (meta / state.STATE).exists():
            raw = (meta / state.STATE).read_bytes()
            if raw != DAMAGED:
                positions += [seen.position for name, seen in state.parse(raw).seen.items() if name == channel]
        kept = meta / "envelopes" / f"pointer+{channel.replace('/', '+')}.json"
        if kept.exists():
            payload = json.loads(_payload(kept.read_bytes()))
            positions.append((payload["epoch"], payload["sequence"]))
        return max(positions)

    # What is on the root

    def target_of_link(self) -> str | None:
        """Return where the link points."""
        path = self.path / self.link
        return os.readlink(path) if path.is_symlink() else None

    def debris(self) -> list[str]:
        """List what only a start that was cut off may leave behind."""
        names = [name for _, directories, files in os.walk(self.path) for name in [*directories, *files]]
        return [name for name in names if fsio.is_leftover(name)]

    def inventory(self) -> dict[str, Any]:
        """List all that is on the root: type, mode and content of each path, and what is remembered but for times."""
        found = {}
        for top, directories, files in os.walk(self.path):
            for name in [*directories, *files]:
                full = os.path.join(top, name)
                found[os.path.relpath(full, self.path)] = _entry(full)
        remembered = state.parse((self.path / ".dagferry" / state.STATE).read_bytes())
        live = remembered.live
        found["state"] = (remembered.seen, live and (live.version, live.previous), set(remembered.left))
        return found

    def stamps(self) -> list[int]:
        """Return the modification times of all versions, in whole seconds, the live one's last."""
        live = os.path.basename(os.readlink(self.path / self.link))
        versions = self.path / "versions"
        others = sorted(int((versions / name).stat().st_mtime) for name in os.listdir(versions) if name != live)
        return [*others, int((versions / live).stat().st_mtime)]


ON = "true"  # value of a switch
DAMAGED = b'{"format":1,"seen'


def _payload(envelope: bytes) -> bytes:
    import base64

    return base64.b64decode(json.loads(envelope)["payload"])


def _entry(path: str) -> tuple[Any, ...]:
    info = os.lstat(path)
    kind, mode = stat.S_IFMT(info.st_mode), oct(stat.S_IMODE(info.st_mode))
    if stat.S_ISLNK(info.st_mode):
        return kind, os.readlink(path)
    if stat.S_ISDIR(info.st_mode) or os.path.basename(path) in {"lock", state.STATE}:
        return kind, mode
    with open(path, "rb") as file:
        return kind, mode, file.read()
