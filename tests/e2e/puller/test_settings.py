"""Wrong settings end the process at once, with a line that names the setting, and change nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from support.bundles import Simulator, small_tree
from support.pods import COMMAND, Pod


@pytest.mark.parametrize("mode", ["run", "once"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"store": None}, "--store: is missing; give it, or set DAGFERRY_STORE"),
        ({"store": "ftp://host/x"}, "--store"),
        ({"store": "nonsense"}, "--store"),
        ({"bundle": "UPPER"}, "--bundle (or DAGFERRY_BUNDLE)"),
        ({"bundle": "another"}, "--bundle: trust file is for bundle 'etl'"),
        ({"channel": "another"}, "--channel"),
        ({"trust": "/does/not/exist"}, "--trust: trust file /does/not/exist: No such file"),
        ({"trust": "/dev/null"}, "--trust"),
        ({"link": "versions/x"}, "--link"),
        ({"link": ".dagferry"}, "--link"),
        ({"link": "/absolute"}, "--link"),
        ({"link": "../out"}, "--link"),
        ({"keep": "0"}, "--keep"),
        ({"keep_hours": "many"}, "--keep-hours"),
        ({"max_bytes": "2X"}, "--max-bytes"),
        ({"touch": "some"}, "--touch"),
        ({"on_revoked": "panic"}, "--on-revoked"),
        ({"check_command": "'open"}, "--check-command"),
        ({"check_timeout": "soon"}, "--check-timeout"),
        ({"accept_expired_for": "-1"}, "--accept-expired-for"),
        ({"root": "/proc/nothing"}, "--root"),
        ({"root": "/dev/null/x"}, "--root"),
    ],
)
def test_wrong_setting_is_named(pod: Pod, mode: str, settings: dict[str, str | None], words: str) -> None:
    merged = {"http": "127.0.0.1:0", **settings} if mode == "run" else settings
    done = subprocess.run(pod.arguments(mode, **merged), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2, done.stderr
    assert f"dagferry-puller: error: {words}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (pod.root / "current").exists()


def code_and_line(command: list[str], **environ: str) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env={**os.environ, **environ})
    return done.returncode, done.stderr


@pytest.mark.parametrize("address", ["8080", "host:", "127.0.0.1:99999", "no such host:80", "203.0.113.1:80"])
def test_address_that_cannot_be_had_is_named(pod: Pod, address: str) -> None:
    code, line = code_and_line(pod.arguments("run", http=address))
    assert code == 2
    assert "--http" in line


def test_port_in_use_is_named(pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = code_and_line(pod.arguments("run", http=f"127.0.0.1:{port}"))
    assert code == 2
    assert f"--http: cannot listen on 127.0.0.1:{port}: Address already in use" in line


def test_directory_in_the_links_place_is_not_touched_at_a_first_start(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    (pod.root / "current").mkdir(parents=True)
    (pod.root / "current/dag.py").write_text("mine")
    code, line = code_and_line(pod.arguments("once"))
    assert code == 2
    assert "--link" in line
    assert (pod.root / "current/dag.py").read_text() == "mine"


def test_link_of_another_tool_is_taken_over(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    (pod.root / ".worktrees/abc").mkdir(parents=True)
    (pod.root / "current").symlink_to(".worktrees/abc")
    assert pod.once().code == 0
    assert pod.live() == first.version
    assert (pod.root / ".worktrees/abc").is_dir()


def test_root_owned_by_a_puller_of_another_channel_is_an_error(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    pod.run()
    trust = simulator.write_trust(pod.directory / "canary.json", channel="canary")
    code, line = code_and_line(pod.arguments("run", channel="canary", trust=str(trust), http="none"))
    assert code == 2
    assert "is owned by another puller (run of etl/main" in line


def test_root_that_is_a_file_is_named(pod: Pod) -> None:
    pod.root.write_text("x")
    assert code_and_line(pod.arguments("once"))[0] == 2


def test_meta_directory_that_is_a_link_is_not_followed(pod: Pod) -> None:
    pod.root.mkdir()
    (pod.directory / "elsewhere").mkdir()
    (pod.root / ".dagferry").symlink_to(pod.directory / "elsewhere")
    code, line = code_and_line(pod.arguments("once"))
    assert code == 2
    assert "--root" in line
    assert not list((pod.directory / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), ("ä".encode(), "ASCII"), (b"\xff", "UTF-8"), (None, "No such file")]
)
def test_unusable_token_is_named(pod: Pod, content: bytes | None, words: str) -> None:
    path = pod.directory / "token"
    if content is not None:
        path.write_bytes(content)
    code, line = code_and_line(pod.arguments("run", notify_token_file=str(path), http="none"))
    assert code == 2
    assert "--notify-token-file" in line
    assert words in line


def test_commit_and_pin_exclude_each_other(pod: Pod) -> None:
    code, line = code_and_line(pod.arguments("once", commit="0" * 40, pin=f"{'0' * 40}-{'0' * 64}"))
    assert code == 2
    assert "--commit" in line


@pytest.mark.parametrize(
    "arguments", [["once", "--commit", "abc"], ["once", "--pin", "x"], ["run", "--pin", "x"], [], ["fly"]]
)
def test_usage_errors_have_exit_code_2(pod: Pod, arguments: list[str]) -> None:
    command = [*COMMAND, *arguments]
    if arguments[:1] == ["once"]:
        command = pod.arguments("once", *arguments[1:])
    assert code_and_line(command)[0] == 2


@pytest.mark.parametrize("mode", ["", "run", "once"])
def test_help_teaches(mode: str) -> None:
    done = subprocess.run([*COMMAND, *([mode] if mode else []), "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "exit codes:" in done.stdout
    assert "examples:" in done.stdout
    if mode:
        assert "DAGFERRY_STORE" in done.stdout
    assert ("--period" in done.stdout) == (mode == "run")


def test_help_and_usage_import_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "once", "--help"], capture_output=True, text=True, timeout=30
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {
        "boto3",
        "botocore",
        "obstore",
        "http.server",
        "prometheus_client",
        "cryptography",
        "zstandard",
    }
    assert not any(name.startswith("dagferry_publisher") for name in imported)


def test_no_link_is_for_a_pinned_version_alone(pod: Pod) -> None:
    code, line = code_and_line(pod.arguments("once", "--no-link"))
    assert (code, line) == (2, "dagferry-puller: error: --no-link: is for --pin alone; give a version id\n")
