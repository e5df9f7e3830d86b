"""``dagctl archive extract FILE DIR``: the puller's own reader, for anyone who wants to try an archive."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from support import handmade, hostile_frames, hostile_tars
from support.dagctl import Dagctl, clean_environ
from support.gitid import tree_of
from support.tars import read

if TYPE_CHECKING:
    from pathlib import Path

USAGE, REFUSED = 2, 3
GOOD = handmade.tar(*(handmade.member(b"d%d/f.py" % number, b"x" * 600) for number in range(5)))

# of each row of the table the first three
HOSTILE = {
    f"{row}-{variant}": data
    for row, variants in {
        **{row: {v: handmade.frame(d) for v, (d, _) in rows.items()} for row, rows in hostile_tars.ROWS.items()},
        **{f"zstd-{row}": {v: d for v, (d, _) in rows.items()} for row, rows in hostile_frames.ROWS.items()},
    }.items()
    for variant, data in list(variants.items())[:3]
}


@pytest.fixture
def dagctl(tmp_path: Path) -> Dagctl:
    made = Dagctl(tmp_path / "work", clean_environ(tmp_path))
    made.cwd.mkdir()
    (made.cwd / "good").write_bytes(handmade.frame(GOOD))
    return made


def names(dagctl: Dagctl) -> list[str]:
    return sorted(os.listdir(dagctl.cwd))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive_is_one_line_and_exit_3_and_nothing_is_made(dagctl: Dagctl, name: str) -> None:
    (dagctl.cwd / "bad").write_bytes(HOSTILE[name])
    result = dagctl("archive", "extract", "bad", "out", code=REFUSED)
    assert result.message.startswith("dagctl: bad-archive: ")
    assert result.message.isprintable()  # a hostile name may not reach the terminal as it is
    assert result.out == ""
    error = dagctl("archive", "extract", "bad", "out", "--json", code=REFUSED).error
    assert error["reason"] == "bad-archive"
    assert names(dagctl) == ["bad", "good"]


@pytest.mark.parametrize("limit", [("--max-files", 9), ("--max-bytes", len(GOOD) - 1), ("--max-bytes", 1)], ids=str)
def test_more_than_the_limits_is_refused(dagctl: Dagctl, limit: tuple[str, int]) -> None:
    message = dagctl("archive", "extract", "good", "out", *limit, code=REFUSED).message
    assert message.startswith("dagctl: too-large: ")
    assert names(dagctl) == ["good"]


@pytest.mark.parametrize(
    "limit", [("--max-files", 0), ("--max-bytes", 0), ("--max-files", -1), ("--max-bytes", "all")], ids=str
)
def test_limit_that_is_none_is_a_usage_error(dagctl: Dagctl, limit: tuple[str, object]) -> None:
    dagctl("archive", "extract", "good", "out", *limit, code=USAGE)
    assert names(dagctl) == ["good"]


def test_archive_at_its_limits_is_unpacked_and_described(dagctl: Dagctl) -> None:
    limits = ("--max-files", 10, "--max-bytes", len(GOOD))
    document = dagctl("archive", "extract", "good", "out", *limits, "--json").json
    manifest = read(GOOD)
    assert (document["tree"], document["tar_sha256"]) == (manifest.tree, manifest.tar_sha256)
    assert (document["unpacked_size"], document["files"]) == (len(GOOD), 5)
    assert [row["path"] for row in document["entries"]] == list(manifest.leaves)
    assert tree_of(dagctl.cwd / "out") == manifest.tree
    assert names(dagctl) == ["good", "out"]


def test_real_command_refuses_and_leaves_nothing(dagctl: Dagctl) -> None:
    """In a process of its own: nothing of the staging directory is left behind, and no traceback is shown."""
    escape = handmade.tar(handmade.member(b"a/b/c", b"x" * 10_000), handmade.link(b"l", b"/etc/passwd"))
    (dagctl.cwd / "bad").write_bytes(handmade.frame(escape))
    message = dagctl.process("archive", "extract", "bad", "out", code=REFUSED).message
    assert "symlink" in message
    assert "'/etc/passwd'" in message
    assert names(dagctl) == ["bad", "good"]


@pytest.mark.parametrize("source", ["directory", "pipe", "device"])
def test_what_is_no_archive_file_is_refused_or_a_usage_error(dagctl: Dagctl, source: str) -> None:
    (dagctl.cwd / "directory").mkdir()
    path = {"directory": "directory", "pipe": "/dev/stdin", "device": "/dev/null"}[source]
    result = dagctl.process("archive", "extract", path, "out", code=REFUSED if source == "device" else USAGE)
    assert "Traceback" not in result.err
    assert names(dagctl) == ["directory", "good"]


def test_directory_that_is_there_is_never_written_to(dagctl: Dagctl) -> None:
    (dagctl.cwd / "out").mkdir()
    (dagctl.cwd / "link").symlink_to("elsewhere")
    for there in ("out", "link", ".", "..", "good"):
        assert "is there already" in dagctl("archive", "extract", "good", there, code=USAGE).message
    assert os.listdir(dagctl.cwd / "out") == []
    assert names(dagctl) == ["good", "link", "out"]


def test_help_says_what_it_does_and_how_it_ends(dagctl: Dagctl) -> None:
    shown = " ".join(dagctl("archive", "extract", "--help", COLUMNS="300").out.split())
    for words in (
        "Unpack an archive under the puller's rules, whole or not at all",
        "Exit 3: refused, and nothing is made",
        "Directory to make; must not exist",
        "--max-files",
        "--max-bytes",
        "default: 200000",
        "default: 2147483648",
    ):
        assert words in shown
