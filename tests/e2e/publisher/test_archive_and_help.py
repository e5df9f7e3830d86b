"""archive extract under the puller's rules, and the help of every command."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer

from dagferry_publisher.cli.exits import MEANING
from dagferry_publisher.cli.main import build
from support import docwords
from support.dagctl import Dagctl, clean_environ
from support.desks import commands_on_path
from support.gitrepos import GitRepo, Link, Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USAGE, REFUSED = 2, 3


@pytest.fixture
def packed(tmp_path: Path) -> Dagctl:
    """A directory with the archive ``a``: four files in two directories."""
    repo = GitRepo(tmp_path / "repo")
    repo.commit({"dags/a.py": "a\n", "dags/run": Script("r\n"), "dags/sub/b.py": b"b" * 2000, "dags/link": Link("sub")})
    dagctl = Dagctl(tmp_path / "work", clean_environ(tmp_path))
    dagctl.cwd.mkdir()
    dagctl("archive", "create", "a", "--repo", repo.path, "--path", "dags")
    return dagctl


def names(dagctl: Dagctl) -> list[str]:
    return sorted(path.name for path in dagctl.cwd.iterdir())


def test_extract_gives_plain_writable_files_whatever_the_umask(packed: Dagctl) -> None:
    old = os.umask(0o077)
    try:
        document = packed.process("archive", "extract", "a", "out", "--json").json
    finally:
        os.umask(old)
    out = packed.cwd / "out"
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in [out, *out.rglob("*")] if not path.is_symlink()}
    assert modes == {"out": 0o755, "a.py": 0o644, "run": 0o755, "sub": 0o755, "b.py": 0o644}
    assert os.readlink(out / "link") == "sub"
    assert document["files"] == 4
    assert names(packed) == ["a", "out"]


def test_extract_of_a_damaged_archive_leaves_nothing_behind(packed: Dagctl) -> None:
    data = (packed.cwd / "a").read_bytes()
    cuts = [0, 1, 10, len(data) // 2, len(data) - 1]
    broken = [data[:cut] for cut in cuts] + [data + b"x", data[:-1] + bytes([data[-1] ^ 1]), data + data]
    for number, content in enumerate(broken):
        (packed.cwd / "b").write_bytes(content)
        message = packed("archive", "extract", "b", "out", code=REFUSED).message
        assert message.startswith("dagctl: bad-archive: "), number
        packed("archive", "inspect", "b", code=REFUSED)
        assert names(packed) == ["a", "b"]
    packed.process("archive", "extract", "b", "out", code=REFUSED)


def test_extract_of_what_only_shows_its_fault_late_leaves_nothing_behind(packed: Dagctl) -> None:
    """Files and directories were made already when the limit is passed."""
    assert "too-large" in packed.process("archive", "extract", "a", "out", "--max-files", "4", code=REFUSED).message
    assert names(packed) == ["a"]
    packed("archive", "extract", "a", "out", "--max-files", "5")


@pytest.mark.parametrize("command", ["extract", "inspect"])
def test_limits(packed: Dagctl, command: str) -> None:
    out = ["out"] if command == "extract" else []
    size = packed("archive", "inspect", "a", "--json").json["unpacked_size"]
    assert "too-large" in packed("archive", command, "a", *out, "--max-bytes", size - 1, code=REFUSED).message
    assert "too-large" in packed("archive", command, "a", *out, "--max-files", 4, code=REFUSED).message
    packed("archive", command, "a", *out, "--max-bytes", size, "--max-files", 5)


def test_nothing_that_is_there_is_touched(packed: Dagctl) -> None:
    (packed.cwd / "there").mkdir()
    (packed.cwd / "dangling").symlink_to("nothing")
    for name in ("there", "dangling"):
        assert "is there already" in packed("archive", "extract", "a", name, code=USAGE).message
    assert "gone is not a directory" in packed("archive", "extract", "a", "gone/out", code=USAGE).message
    assert "cannot be read: No such file" in packed("archive", "extract", "gone", "out", code=USAGE).message
    before = (packed.cwd / "a").read_bytes()
    result = packed("archive", "create", "a", "--repo", "../repo", "--path", "dags", code=USAGE)
    assert "a cannot be written: File exists" in result.message
    assert (packed.cwd / "a").read_bytes() == before
    assert names(packed) == ["a", "dangling", "there"]


def commands(group: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command, with its words."""
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, *words, name)
        else:
            yield (*words, name), found


COMMANDS = list(commands(typer.main.get_command(build())))


def test_all_commands_are_there() -> None:
    assert {" ".join(words) for words, _ in COMMANDS} == {
        *("keygen", "publish", "rollback", "hold", "resume", "refresh", "promote", "repair", "history", "list", "show"),
        *("diff", "verify", "config", "context list", "context use", "doctor", "setup ceph"),
        *("status", "wait", "log", "announce", "why", "rollout", "prune"),
        *(f"archive {name}" for name in ("create", "inspect", "extract")),
        *(
            f"trust {name}"
            for name in ("init", "check", "add-key", "retire-key", "remove-key", "revoke", "floor", "epoch")
        ),
    }


@pytest.mark.parametrize(("words", "found"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_help_says_the_exit_codes_and_every_options_variable(
    words: tuple[str, ...], found: Any, tmp_path: Path
) -> None:
    shown = Dagctl(tmp_path, clean_environ(tmp_path))(*words, "--help", COLUMNS="300").out
    for code, meaning in MEANING.items():
        assert f"{int(code):>2}  {meaning}" in shown
    for parameter in found.params:
        if not parameter.opts[0].startswith("--") or parameter.name == "help":
            continue
        option = parameter.opts[0].removeprefix("--")
        takes_public_key = words == ("trust", "init") and option in {"release-key", "pointer-key"}
        # DAGFERRY_ACTOR says who acts, and DAGFERRY_WATCH is of status.
        own = (*words, option) in {("log", "actor"), ("log", "commit"), ("publish", "watch")}
        variable = "_".join(("DAGFERRY", *(words if own else ()), *option.split("-"))).upper()
        text = " ".join(shown.split("\nOptions:", 1)[1].split(f"\n  --{option} ", 1)[1].split("\n  --")[0].split())
        assert (variable in text) is not takes_public_key, (option, text)


@pytest.mark.parametrize(("words", "found"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_help_has_examples_that_our_parser_takes(words: tuple[str, ...], found: Any) -> None:
    text = (found.help or "").partition("Example: ")[2]
    lines = list(docwords.commands(text))
    assert any(line[1 : 1 + len(words)] == list(words) for line in lines), f"dagctl {' '.join(words)} has no example"
    assert not [problem for line in lines if (problem := docwords.problem(line))]


def test_help_of_the_whole_and_the_version(tmp_path: Path) -> None:
    dagctl = Dagctl(tmp_path, clean_environ(tmp_path))
    assert "When it burns:  dagctl rollback" in dagctl.process("--help").out
    assert dagctl("-h").out
    assert dagctl.process("--version").out.startswith("dagctl 0.")
    assert "Commands:" in dagctl.process("trust", code=USAGE).err + dagctl.process("trust", code=USAGE).out


def test_own_options_really_read_their_variables(packed: Dagctl) -> None:
    assert "too-large" in packed("archive", "inspect", "a", code=REFUSED, DAGFERRY_MAX_FILES="4").message
    packed("archive", "inspect", "a", DAGFERRY_MAX_FILES="5", DAGFERRY_JSON="1").json  # noqa: B018 - it parses
    packed("keygen", DAGFERRY_OUT="made")
    assert (packed.cwd / "made.key").exists()


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["table", "json"])
def test_output_to_a_reader_that_left_is_no_error(packed: Dagctl, option: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dagferry_publisher", "archive", "inspect", "a", *option]
    done = subprocess.run(
        command, cwd=packed.cwd, env=packed.environ, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def python(code: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)


def test_help_of_the_whole_loads_no_command_and_says_the_same(tmp_path: Path) -> None:
    environ = clean_environ(tmp_path)
    whole = python(
        "from dagferry_publisher.cli.main import build; build()(['--help'], prog_name='dagctl')", environ
    ).stdout
    assert "rollback" in whole
    for words in (["--help"], ["-h"], [], ["--context", "x", "--help"]):
        done = python(
            f"import sys; sys.argv = ['dagctl', *{words}]; from dagferry_publisher.cli import main\n"
            "try: main.main()\n"
            "finally: print('\\nLOADED', *sys.modules)",
            environ,
        )
        shown, _, loaded = done.stdout.partition("\nLOADED ")
        assert (shown or done.stderr).strip() == whole.strip(), words
        assert not {"rich", "boto3", "cryptography", "ssl", "dagferry_publisher.cli.publish"} & set(loaded.split())


def test_completion_knows_all_commands_and_their_options(tmp_path: Path) -> None:
    environ = {"_DAGCTL_COMPLETE": "complete_bash", "COMP_WORDS": "dagctl ro", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['dagctl']; from dagferry_publisher.cli import main; main.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environ(tmp_path) | environ, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["rollback", "rollout"], done


def test_completion_works_in_a_real_bash_and_as_zsh_asks(tmp_path: Path) -> None:
    environ = clean_environ(tmp_path) | {"PATH": commands_on_path(tmp_path / "bin")}
    script = """
        eval "$(_DAGCTL_COMPLETE=source_bash dagctl)"
        COMP_WORDS=(dagctl rollback --no) COMP_CWORD=2
        _dagctl_completion dagctl
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["--no-hold", "--notify"]
    asked = {"_DAGCTL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "dagctl trust fl"}
    done = subprocess.run(["dagctl"], env=environ | asked, capture_output=True, text=True, check=True)
    assert "floor" in done.stdout
    assert "epoch" not in done.stdout
