"""``dagctl archive``: the canonical archive alone, without a store."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from dagferry_publisher.archive import DEFAULT_LEVEL, MAX_LEVEL, pack
from dagferry_publisher.cli.command import JSON, command
from dagferry_publisher.cli.output import Output
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import UsageError
from dagferry_publisher.gitrepo import Repo
from dagferry_publisher.stored import kind
from dagferry_publisher.tree import check_paths, select
from dagferry_shared import globs
from dagferry_shared.archive.extract import extract_archive
from dagferry_shared.archive.reader import Limits, Manifest, read_archive
from dagferry_shared.release import Selection, source_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_shared.strictjson import Json

_LIMITS = Limits()
File = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A .tar.zst file.")]
MaxFiles = Annotated[int, typer.Option(min=1, help="Files, links and directories taken at most.")]
MaxBytes = Annotated[int, typer.Option(min=1, help="Bytes of the unpacked tar taken at most.")]


def _manifest_json(manifest: Manifest) -> dict[str, Json]:
    return {
        "tree": manifest.tree,
        "tar_sha256": manifest.tar_sha256,
        "unpacked_size": manifest.tar_size,
        "files": len(manifest.leaves),
        "mtime": manifest.mtime,
        "entries": [
            {"path": path, "kind": kind(leaf.mode), "blob": leaf.blob} for path, leaf in manifest.leaves.items()
        ],
    }


def _show_manifest(out: Output, manifest: Manifest) -> None:
    out.line(f"tree        {manifest.tree}")
    out.line(f"tar sha256  {manifest.tar_sha256}")
    out.line(f"{len(manifest.leaves)} files, {manifest.tar_size} bytes unpacked")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        if not file.seekable():
            raise UsageError(f"{path} is a pipe: an archive is read twice, save it to a file first")
        yield file


def _make_writable(directory: Path) -> None:
    for parent, _, _ in os.walk(directory):
        os.chmod(parent, 0o700)


def _extract(file: BinaryIO, directory: Path, limits: Limits) -> Manifest:
    """Unpack beside ``directory`` and rename: it is there whole, or not at all."""
    staging = directory.with_name(f".{directory.name}-{secrets.token_hex(8)}")
    staging.mkdir(mode=0o700)
    try:
        fd = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            manifest = extract_archive(file, fd, limits, writable=True)
        finally:
            os.close(fd)
        staging.rename(directory)
    except BaseException:
        _make_writable(staging)
        shutil.rmtree(staging)
        raise
    return manifest


def _register_create(app: typer.Typer) -> None:
    @command(app, "create", JSON)
    def create(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        out: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="File to write; must not exist.")],
        path: Annotated[list[str], typer.Option(metavar="DIR", help="Directory of the repository.")],
        repo: Annotated[Path, typer.Option(help="Clone.")] = Path(),
        commit: Annotated[str, typer.Option(help="Commit, branch or tag.")] = "HEAD",
        include: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Pack only what matches.")] = None,
        exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Leave out what matches.")] = None,
        level: Annotated[int, typer.Option(min=1, max=MAX_LEVEL, help="zstd compression level.")] = DEFAULT_LEVEL,
    ) -> None:
        """Pack a commit: the same tar, byte for byte, on any machine.

        \b
        Example: dagctl archive create dags.tar.zst --path dags --commit v1.2
        """
        clone = Repo(repo)
        full = clone.resolve(commit)
        selection = Selection(
            tuple(globs.pattern(glob, "--include") for glob in include or ()),
            tuple(globs.pattern(glob, "--exclude") for glob in exclude or ()),
        )
        paths = check_paths([source_path(word.rstrip("/") or word, "--path") for word in path])
        items = select(clone, full, paths, selection)
        try:
            file = out.open("x+b")
        except OSError as error:
            raise UsageError(f"{out} cannot be written: {error.strerror}") from error
        try:
            with file:
                packed = pack(clone, items, int(clone.commit_info(full).committed.timestamp()), file, level=level)
        except BaseException:
            out.unlink()
            raise
        document = {"archive": str(out), "commit": full, "sha256": packed.sha256, "size": packed.size}
        cli.out.emit({**document, **_manifest_json(packed.manifest)}, lambda: _show_manifest(cli.out, packed.manifest))


def _register_read(app: typer.Typer) -> None:
    @command(app, "inspect", JSON)
    def inspect(
        cli: Cli, archive: File, max_files: MaxFiles = _LIMITS.max_files, max_bytes: MaxBytes = _LIMITS.max_bytes
    ) -> None:
        """Read an archive under the puller's rules and list it. Exit 3: refused.

        \b
        Example: dagctl archive inspect dags.tar.zst
        """
        with _opened(archive) as file:
            manifest = read_archive(file, Limits(max_files, max_bytes))

        def show() -> None:
            rows = [(leaf.blob[:12], kind(leaf.mode), path) for path, leaf in manifest.leaves.items()]
            cli.out.table(("blob", "kind", "path"), rows)
            _show_manifest(cli.out, manifest)

        cli.out.emit(_manifest_json(manifest), show)

    @command(app, "extract", JSON)
    def extract(
        cli: Cli,
        archive: File,
        directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory to make; must not exist.")],
        max_files: MaxFiles = _LIMITS.max_files,
        max_bytes: MaxBytes = _LIMITS.max_bytes,
    ) -> None:
        """Unpack an archive under the puller's rules, whole or not at all. Exit 3: refused, and nothing is made.

        \b
        Example: dagctl archive extract dags.tar.zst unpacked
        """
        if directory.exists() or directory.is_symlink():
            raise UsageError(f"{directory} is there already: give a directory that does not exist")
        if not directory.parent.is_dir():
            raise UsageError(f"{directory.parent} is not a directory")
        with _opened(archive) as file:
            manifest = _extract(file, directory, Limits(max_files, max_bytes))
        cli.out.emit(_manifest_json(manifest), lambda: _show_manifest(cli.out, manifest))


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(name="archive", no_args_is_help=True, help="The canonical archive alone, without a store.")
    _register_create(group)
    _register_read(group)
    app.add_typer(group)
