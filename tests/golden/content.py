"""What the golden files are made of. ``python -m golden.content`` writes those that are missing and changes none.

A golden file never changes: what it holds lies in stores for ever. A new rule gets a new file.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

from dagferry_shared import cut, envelope, pointer, release
from dagferry_shared.cut import Cut
from dagferry_shared.pointer import Action, Held, Pointer
from dagferry_shared.release import ArchiveInfo, Builder, DeltaInfo, Release, Selection, Source
from dagferry_shared.trust import ChannelTrust, Role, TrustFile
from support import deltas
from support.bundles import File, Symlink
from support.docs import CI, CI_2, CI_RETIRED, COMMIT, OPERATOR, OPERATOR_RETIRED
from support.tars import read, tree, zst

HERE = Path(__file__).parent
FILES: dict[str, bytes | str] = {
    "dags/etl.py": b"from airflow.sdk import DAG\n",
    "dags/latest.py": "etl.py",
    "dags/" + "long_directory_name/" * 5 + "report.py": b"x = 1\n",
    "run.sh": b"#!/bin/sh\nexit 0\n",
    "to_report": "dags/" + "long_directory_name/" * 5 + "report.py",
    "übersicht.md": "Übersicht: 日本\n".encode(),
}
BASE: dict[str, bytes | str] = {  # the delta's: what it leads to is FILES
    **{path: value for path, value in FILES.items() if path != "run.sh"},
    "dags/etl.py": b"from airflow import DAG\n" * 9,
    "dags/latest.py": "old.py",
    "dags/old.py": b"x = 0\n",
}
PREVIOUS = hashlib.sha256(b"the pointer before").hexdigest()


def make_tar() -> bytes:
    """Encode the tar."""
    return tree(FILES, executable=frozenset({"run.sh"}))


def make_release(archive: bytes) -> Release:
    """Describe an archive."""
    manifest = read(make_tar())
    return Release(
        bundle="prod",
        tree=manifest.tree,
        source=Source(
            repository="https://gitlab.example.org/data/dags",
            commit=COMMIT,
            ref="main",
            paths=("airflow",),
            selection=Selection((), ("tests", "**/*.ipynb")),
            committed="2023-11-14T22:13:20.000Z",
            author="Jörg Example <joerg@example.org>",
            subject="Add the nightly report",
        ),
        archive=ArchiveInfo(hashlib.sha256(archive).hexdigest(), len(archive), manifest.tar_size, len(manifest.leaves)),
        builder=Builder("gitlab-ci", "0.1.0", "https://gitlab.example.org/data/dags/-/pipelines/7"),
        created="2023-11-14T22:15:00.000Z",
    )


def entries(files: dict[str, bytes | str]) -> dict[str, File | Symlink]:
    """Return a tree as the simulator knows it."""
    return {p: Symlink(v) if isinstance(v, str) else File(v, executable=p == "run.sh") for p, v in files.items()}


def make_delta_release(archive: bytes, delta: bytes) -> Release:
    """Describe the archive and a delta that leads to the same tree."""
    made = make_release(archive)
    base = read(tree(BASE)).tree
    size = len(deltas.tar_of(entries(BASE), entries(FILES)))
    info = DeltaInfo(base, hashlib.sha256(delta).hexdigest(), len(delta), size)
    return replace(made, archive=replace(made.archive, deltas=(info,)))


def make_pointer(release_digest: str) -> Pointer:
    """Point at a release, on a held channel."""
    return Pointer(
        bundle="prod",
        channel="main",
        epoch=1,
        sequence=2,
        issued="2023-11-14T22:16:00.000Z",
        expires="2023-12-14T22:16:00.000Z",
        release=release_digest,
        commit=COMMIT,
        tip=COMMIT,
        previous=PREVIOUS,
        action=Action.ROLLBACK,
        held=Held("ann", "incident 7", "2023-11-14T22:16:00.000Z"),
        actor="ann",
        reason="the report was late",
    )


def make_cut(entry: str) -> Cut:
    """Begin a history with an entry."""
    return Cut("prod", "main", 1, 2, entry, "2024-03-01T06:00:00.000Z", "ann", "prune --keep 50 --keep-days 90")


def make_trust() -> TrustFile:
    """Trust the keys that signed the other golden files."""
    release_role = Role(1, (CI.public.id,), (CI_RETIRED.public.id,))
    pointer_role = Role(1, (CI.public.id, OPERATOR.public.id), (OPERATOR_RETIRED.public.id,))
    main = ChannelTrust(
        repository="https://gitlab.example.org/data/dags",
        paths=("airflow",),
        refs=("main", "release/*"),
        selection=Selection((), ("tests", "**/*.ipynb")),
        release=release_role,
        pointer=pointer_role,
        floor=2,
    )
    dev = ChannelTrust(
        repository="https://gitlab.example.org/data/dags",
        paths=("airflow",),
        refs=("**",),
        selection=Selection(),
        release=Role(1, (CI.public.id, CI_2.public.id)),
        pointer=Role(1, (CI.public.id, CI_2.public.id)),
        allow_dev=True,
    )
    keys = {signer.public.id: signer.public for signer in (CI, CI_2, CI_RETIRED, OPERATOR, OPERATOR_RETIRED)}
    return TrustFile("prod", 1, keys, {"main": main, "dev-*": dev}, frozenset({"d" * 40}), 30 * 86400)


def make_all(archive: bytes, delta: bytes) -> dict[str, bytes]:
    """Encode every golden file that has one encoding, around archive and delta as they were compressed once."""
    with_delta = make_delta_release(archive, delta)
    release_raw = envelope.sign(release.PAYLOAD_TYPE, make_release(archive).payload(), [CI]).encode()
    content = make_pointer(envelope.digest(release_raw))
    cutting = make_cut(hashlib.sha256(content.payload()).hexdigest())
    return {
        "archive.tar": make_tar(),
        "release.json": release_raw,
        "pointer.json": envelope.sign(pointer.PAYLOAD_TYPE, content.payload(), [OPERATOR, CI]).encode(),
        "cut.json": envelope.sign(cut.PAYLOAD_TYPE, cutting.payload(), [OPERATOR]).encode(),
        "trust.json": make_trust().encode(),
        "delta.tar": deltas.tar_of(entries(BASE), entries(FILES)),
        "delta.release.json": envelope.sign(release.PAYLOAD_TYPE, with_delta.payload(), [CI]).encode(),
    }


def main() -> None:
    """Write what is missing."""
    archive = HERE / "archive.tar.zst"
    if not archive.exists():
        archive.write_bytes(zst(make_tar()))
    delta = HERE / "delta.tar.zst"
    if not delta.exists():
        delta.write_bytes(deltas.make(entries(BASE), entries(FILES)))
    for name, data in make_all(archive.read_bytes(), delta.read_bytes()).items():
        if not (HERE / name).exists():
            (HERE / name).write_bytes(data)
    for path in sorted(HERE.glob("*.*")):
        if path.suffix != ".py":
            sys.stdout.write(f'    "{path.name}": "{hashlib.sha256(path.read_bytes()).hexdigest()}",\n')


if __name__ == "__main__":
    main()
