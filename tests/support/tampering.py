"""What somebody can change in a version on the volume: one function for each change, in lists by what they change."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from support.bundles import small_tree

DEEP = "deep/er/still/dag.py"
Change = Callable[[Path, Path], None]  # gets what is to be changed, and a directory outside of the root


def tree(word: str = "one") -> dict[str, object]:
    """Return a tree with something deep in it."""
    return {**small_tree(word), DEEP: "X = 1\n", "deep/er/other.py": "Y = 2\n"}


def opened(path: Path) -> Path:
    """Make the directory of a path writable, as only its owner can, and return the path."""
    path.parent.chmod(0o755)
    return path


# Files and directories of the live tree


def edit_with_size_and_times_kept(version: Path, _: Path) -> None:
    path, before = version / DEEP, os.stat(version / DEEP)
    path.chmod(0o644)
    path.write_text("X = 2\n")
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def truncate(version: Path, _: Path) -> None:
    (version / DEEP).chmod(0o644)
    os.truncate(version / DEEP, 0)


def append(version: Path, _: Path) -> None:
    (version / DEEP).chmod(0o644)
    with (version / DEEP).open("a") as file:
        file.write("import evil\n")


def make_executable(version: Path, _: Path) -> None:
    (version / DEEP).chmod(0o555)


def take_executable_bit(version: Path, _: Path) -> None:
    (version / "run.sh").chmod(0o444)


def replace_by_new_file(version: Path, outside: Path) -> None:
    (outside / "evil.py").write_text("X = 2\n")
    os.replace(outside / "evil.py", opened(version / DEEP))


def replace_by_link_to_the_same_content(version: Path, outside: Path) -> None:
    shutil.copy(version / DEEP, outside / "dag.py")
    opened(version / DEEP).unlink()
    (version / DEEP).symlink_to(outside / "dag.py")


def replace_by_hard_link(version: Path, outside: Path) -> None:
    (outside / "evil.py").write_text("X = 2\n")
    opened(version / DEEP).unlink()
    os.link(outside / "evil.py", version / DEEP)


def replace_by_fifo(version: Path, _: Path) -> None:
    opened(version / DEEP).unlink()
    os.mkfifo(version / DEEP)


def replace_by_socket(version: Path, _: Path) -> None:
    opened(version / DEEP).unlink()
    there = os.open(version / DEEP.rpartition("/")[0], os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{there}/dag.py")
    os.close(there)


def replace_by_directory(version: Path, _: Path) -> None:
    opened(version / DEEP).unlink()
    (version / DEEP).mkdir()


def retarget_link(version: Path, _: Path) -> None:
    opened(version / "same.py").unlink()
    (version / "same.py").symlink_to("etl.py")


def add_file(version: Path, _: Path) -> None:
    opened(version / "deep/er/added.py").write_text("import evil\n")


def add_hidden_file_with_a_newline_in_its_name(version: Path, _: Path) -> None:
    opened(version / "deep/er/.hid\nden").write_text("")


def add_bytecode(version: Path, _: Path) -> None:
    opened(version / "lib/__pycache__").mkdir()
    (version / "lib/__pycache__/tables.cpython-311.pyc").write_bytes(b"code")


def add_empty_directory(version: Path, _: Path) -> None:
    opened(version / "deep/er/still/empty").mkdir()


def delete_file(version: Path, _: Path) -> None:
    opened(version / DEEP).unlink()


def rename_file(version: Path, _: Path) -> None:
    opened(version / DEEP).rename(version / "deep/er/still/dag.py.off")


def exchange_two_files(version: Path, outside: Path) -> None:
    one, other = opened(version / DEEP), opened(version / "deep/er/other.py")
    one.rename(outside / "aside")
    other.rename(one)
    (outside / "aside").rename(other)


def rename_directory(version: Path, _: Path) -> None:
    opened(version / "deep/er").rename(version / "deep/err")


def replace_directory_by_link_to_a_copy(version: Path, outside: Path) -> None:
    shutil.copytree(version / "deep/er", outside / "er")
    opened(version / "deep/er").rename(outside / "gone")
    (version / "deep/er").symlink_to(outside / "er")


CONTENT = [
    edit_with_size_and_times_kept,
    truncate,
    append,
    make_executable,
    take_executable_bit,
    replace_by_new_file,
    replace_by_link_to_the_same_content,
    replace_by_hard_link,
    replace_by_fifo,
    replace_by_socket,
    replace_by_directory,
    retarget_link,
    add_file,
    add_hidden_file_with_a_newline_in_its_name,
    add_bytecode,
    add_empty_directory,
    delete_file,
    rename_file,
    exchange_two_files,
    rename_directory,
    replace_directory_by_link_to_a_copy,
]


# The version's directory


def version_deleted(version: Path, _: Path) -> None:
    shutil.rmtree(version)


def version_moved_away(version: Path, outside: Path) -> None:
    version.rename(outside / "stolen")


def version_replaced_by_file(version: Path, outside: Path) -> None:
    version.rename(outside / "stolen")
    version.write_text("x")


def version_replaced_by_link_to_itself_outside(version: Path, outside: Path) -> None:
    version.rename(outside / "stolen")
    version.symlink_to(outside / "stolen")


def version_replaced_by_empty_directory(version: Path, outside: Path) -> None:
    version.rename(outside / "stolen")
    version.mkdir()


def version_replaced_by_fifo(version: Path, outside: Path) -> None:
    version.rename(outside / "stolen")
    os.mkfifo(version)


def version_replaced_by_evil_copy(version: Path, outside: Path) -> None:
    version.rename(outside / "stolen")
    shutil.copytree(outside / "stolen", version, symlinks=True)
    edit_with_size_and_times_kept(version, outside)


VERSIONS = [
    version_deleted,
    version_moved_away,
    version_replaced_by_file,
    version_replaced_by_link_to_itself_outside,
    version_replaced_by_empty_directory,
    version_replaced_by_fifo,
    version_replaced_by_evil_copy,
]
