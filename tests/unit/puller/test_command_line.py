"""The quick reader of a command line: it reads what argparse reads, the same way, or leaves it to argparse."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagferry_puller import cli

WORDS = [
    "run",
    "once",
    "relay",
    "--store",
    "--store=s3://x",
    "--period=1=2",
    "--no-fsync",
    "--no-fsync=x",
    "--offline-ok",
]
WORDS += [
    "--period",
    "5s",
    "--commit",
    "",
    "-5",
    "-x y",
    "--",
    "-h",
    "--help",
    "--stor",
    "value",
    "--link=",
    "--listen",
    "=",
    "--",
]


def by_argparse(words: list[str]) -> dict[str, str | None]:
    return {name: value for name, value in vars(cli._parser(words[0]).parse_args(words)).items() if value is not None}


@given(st.sampled_from(["run", "once"]), st.lists(st.sampled_from(WORDS), max_size=6))
def test_what_is_read_quickly_is_what_argparse_reads(mode: str, words: list[str]) -> None:
    quick = cli._plain([mode, *words])
    if quick is not None:
        assert quick == by_argparse([mode, *words])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["relay"],
        ["--help"],
        ["run", "--help"],
        ["run", "--store"],
        ["run", "--store", "-x"],
        ["run", "extra"],
        ["run", "--no-fsync=yes"],
        ["run", "--commit", "a"],  # an option of once
        ["once", "--unknown", "x"],
    ],
)
def test_what_is_unusual_is_left_to_argparse(words: list[str]) -> None:
    assert cli._plain(words) is None


def test_usual_lines_are_read_without_argparse() -> None:
    words = ["once", "--store", "s3://x", "--root=/r", "--no-fsync", "--check-command", "x --y", "--root", "/s"]
    expected = {"store": "s3://x", "root": "/s", "no-fsync": "true", "check-command": "x --y"}
    assert cli._plain(words) == {"mode": "once", **expected}


def test_a_start_loads_none_of_what_it_does_not_need() -> None:
    script = (
        "import sys\nfrom dagferry_puller.cli import main\n"
        "main(['once', '--store', 'file:///no', '--bundle', 'b', '--channel', 'c', '--trust', '/no', '--root', '/x'])\n"
        "from dagferry_puller import prepare, once\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", "import sys\nsys.path[:0] = " + repr(sys.path) + "\n" + script],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "dagferry_puller.sync" in loaded
    heavy = {
        "argparse",
        "dataclasses",
        "inspect",
        "pathlib",
        "urllib.parse",
        "configparser",
        "subprocess",
        "socketserver",
    }
    assert set(loaded) & heavy == set()


STARTS = """
import ctypes, os
from dagferry_puller import cli, entry

def main():
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    print(getenv(b"SSL_CERT_FILE"), getenv(b"SSL_CERT_DIR"), "SSL_CERT_FILE" in os.environ)
    return 0

cli.main, entry._CERTIFICATES = main, "/dev/null"
entry.main()
"""


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({}, "b'/dev/null' None False"),
        ({"SSL_CERT_FILE": "/mine.crt"}, "b'/mine.crt' None True"),
        ({"SSL_CERT_DIR": "/mine"}, "None b'/mine' False"),
    ],
)
def test_certificates_are_read_once_and_from_where_the_user_says(chosen, wanted):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
    done = subprocess.run([sys.executable, "-c", STARTS], env={**kept, **chosen}, capture_output=True, text=True)
    assert done.stdout.strip() == wanted, done.stderr
