"""What somebody can change on a root beside its versions: the link, and the directories of the root itself."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from support.tampering import edit_with_size_and_times_kept

if TYPE_CHECKING:
    from pathlib import Path

# The link


def link_deleted(link: Path, _: Path) -> None:
    link.unlink()


def _point(link: Path, target: str | Path) -> None:
    link.unlink()
    link.symlink_to(target)


def link_made_absolute(link: Path, _: Path) -> None:
    _point(link, link.resolve())


def link_pointed_at_the_older_version(link: Path, _: Path) -> None:
    live = os.path.basename(os.readlink(link))
    _point(link, next(f"versions/{path.name}" for path in link.with_name("versions").iterdir() if path.name != live))


def link_pointed_out_of_the_root(link: Path, outside: Path) -> None:
    (outside / "etl.py").write_text("import evil\n")
    _point(link, os.path.relpath(outside, link.parent))


def link_pointed_to_nothing(link: Path, _: Path) -> None:
    _point(link, "versions/nothing")


def link_with_a_detour(link: Path, _: Path) -> None:
    _point(link, f"versions/../{os.readlink(link)}")


def link_with_a_slash_at_its_end(link: Path, _: Path) -> None:
    _point(link, f"{os.readlink(link)}/")


def link_replaced_by_file(link: Path, _: Path) -> None:
    link.unlink()
    link.write_text("x")


def link_replaced_by_fifo(link: Path, _: Path) -> None:
    link.unlink()
    os.mkfifo(link)


def link_replaced_by_evil_copy(link: Path, _: Path) -> None:
    real = link.resolve()
    link.unlink()
    shutil.copytree(real, link, symlinks=True)
    edit_with_size_and_times_kept(link, link)


LINKS = [
    link_deleted,
    link_made_absolute,
    link_pointed_at_the_older_version,
    link_pointed_out_of_the_root,
    link_pointed_to_nothing,
    link_with_a_detour,
    link_with_a_slash_at_its_end,
    link_replaced_by_file,
    link_replaced_by_fifo,
    link_replaced_by_evil_copy,
]


# The root's own directories


def versions_removed(root: Path, _: Path) -> None:
    shutil.rmtree(root / "versions")


def versions_replaced_by_empty_directory(root: Path, outside: Path) -> None:
    (root / "versions").rename(outside / "stolen")
    (root / "versions").mkdir()


def versions_replaced_by_link_to_itself_outside(root: Path, outside: Path) -> None:
    (root / "versions").rename(outside / "stolen")
    (root / "versions").symlink_to(outside / "stolen")


def versions_replaced_by_file(root: Path, outside: Path) -> None:
    (root / "versions").rename(outside / "stolen")
    (root / "versions").write_text("x")


def memory_removed(root: Path, _: Path) -> None:
    shutil.rmtree(root / ".dagferry")


def memory_replaced_by_fifo(root: Path, _: Path) -> None:
    shutil.rmtree(root / ".dagferry")
    os.mkfifo(root / ".dagferry")


def envelopes_removed(root: Path, _: Path) -> None:
    shutil.rmtree(root / ".dagferry/envelopes")


def leases_replaced_by_link(root: Path, outside: Path) -> None:
    (root / ".dagferry/leases").rename(outside / "stolen")
    (root / ".dagferry/leases").symlink_to(outside / "stolen")


def everything_removed(root: Path, _: Path) -> None:
    (root / "current").unlink()
    shutil.rmtree(root / "versions")
    shutil.rmtree(root / ".dagferry")


ROOTS = [
    versions_removed,
    versions_replaced_by_empty_directory,
    versions_replaced_by_link_to_itself_outside,
    versions_replaced_by_file,
    memory_removed,
    memory_replaced_by_fifo,
    envelopes_removed,
    leases_replaced_by_link,
    everything_removed,
]
