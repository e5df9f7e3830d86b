"""keygen and the trust commands: what they write, what they refuse, and what they say of a trust file."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.dagctl import Dagctl, clean_environ

if TYPE_CHECKING:
    from pathlib import Path

    from support.sites import Site

USAGE, REFUSED, NOT_FOUND = 2, 3, 8
INIT = ["--channel", "main", "--repository", "git@gitlab.example.org:data/dags.git", "--path", "dags"]


@pytest.fixture
def dagctl(tmp_path: Path) -> Dagctl:
    return Dagctl(tmp_path, clean_environ(tmp_path))


def keygen(dagctl: Dagctl, name: str) -> str:
    return str(dagctl("keygen", "--out", name, "--json").json["id"])


def openssl(*arguments: object) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("umask", [0, 0o077])
def test_keygen_writes_a_pair_that_openssl_reads(dagctl: Dagctl, tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        shown = dagctl.process("keygen", "--out", "ci").out
    finally:
        os.umask(old)
    assert (tmp_path / "ci.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ci.pub").stat().st_mode & 0o777 == 0o644
    assert "ED25519 Private-Key" in openssl("pkey", "-in", tmp_path / "ci.key", "-noout", "-text")
    assert openssl("pkey", "-in", tmp_path / "ci.key", "-pubout") == (tmp_path / "ci.pub").read_text()
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", tmp_path / "ci.pub", "-outform", "DER"], capture_output=True, check=True
    )
    import hashlib

    assert hashlib.sha256(der.stdout).hexdigest() in shown
    assert (tmp_path / "ci.key").read_text().splitlines()[1] not in shown


def test_keygen_with_a_passphrase(dagctl: Dagctl, tmp_path: Path) -> None:
    dagctl("keygen", "--out", "ci", "--passphrase-env", "WORDS", WORDS="correct horse")
    assert "ENCRYPTED" in (tmp_path / "ci.key").read_text()
    assert "ED25519" in openssl("pkey", "-in", tmp_path / "ci.key", "-passin", "pass:correct horse", "-noout", "-text")
    assert (
        "WORDS is not set, or empty" in dagctl("keygen", "--out", "x", "--passphrase-env", "WORDS", code=USAGE).message
    )
    assert not (tmp_path / "x.key").exists()


@pytest.mark.parametrize("there", ["ci.key", "ci.pub"])
def test_keygen_never_overwrites(dagctl: Dagctl, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    assert "is there already: a key is never overwritten" in dagctl.process("keygen", "--out", "ci", code=USAGE).message
    assert (tmp_path / there).read_text() == "precious"
    assert [path.name for path in tmp_path.glob("ci.*")] == [there], "no half pair is left"


def test_keygen_where_nothing_can_be_written(dagctl: Dagctl) -> None:
    assert "cannot be written: No such file" in dagctl("keygen", "--out", "gone/ci", code=USAGE).message


def test_a_key_that_openssl_made_is_taken(site: Site, line: list[str]) -> None:
    own = site.root / "own"
    openssl("genpkey", "-algorithm", "ed25519", "-out", f"{own}.key")
    openssl("pkey", "-in", f"{own}.key", "-pubout", "-out", f"{own}.pub")
    site.dagctl("trust", "add-key", f"{own}.pub", "--channel", "main", "--role", "pointer")
    site.publish(line[0], "--pointer-key", f"{own}.key")


def test_a_key_of_another_kind_is_refused(site: Site, line: list[str]) -> None:
    openssl("genpkey", "-algorithm", "X25519", "-out", site.root / "x.key")
    openssl("pkey", "-in", site.root / "x.key", "-pubout", "-out", site.root / "x.pub")
    options = ("--channel", "main", "--role", "pointer")
    assert "not an Ed25519 key" in site.dagctl("trust", "add-key", "x.pub", *options, code=REFUSED).message
    assert "not an Ed25519 key" in site.publish(line[0], "--pointer-key", "x.key", code=REFUSED).message


@pytest.fixture
def trusted(dagctl: Dagctl) -> Dagctl:
    """A trust file made by trust init, in the directory."""
    dagctl.environ["CI_ID"], dagctl.environ["OPS_ID"] = keygen(dagctl, "ci"), keygen(dagctl, "ops")
    keys = ["--release-key", "ci.pub", "--pointer-key", "ci.pub", "--pointer-key", "ops.pub"]
    dagctl.process("trust", "init", "--bundle", "analytics", *INIT, *keys, "--out", "trust.json")
    dagctl.environ["DAGFERRY_TRUST"] = "trust.json"
    return dagctl


def document(dagctl: Dagctl) -> dict[str, object]:
    found: dict[str, object] = json.loads((dagctl.cwd / "trust.json").read_text())
    return found


def test_init_makes_a_file_that_check_explains(trusted: Dagctl) -> None:
    words = trusted.process("trust", "check").out
    ci, ops = trusted.environ["CI_ID"][:16], trusted.environ["OPS_ID"][:16]
    assert words.splitlines() == [
        "bundle analytics, epoch 1",
        "pointers need no expiry: whoever controls the bucket can withhold updates unnoticed by a new pod",
        "channel main:",
        "  takes releases of https://gitlab.example.org/data/dags, directory dags, ref main",
        f"  a release must be signed by 1 of 1 keys ({ci})",
        f"  a pointer must be signed by 1 of 2 keys ({ci}, {ops})",
        "  no floor: a new pod takes any signed pointer",
        f"  warning: {ci} signs both: whoever has it brings in new code and makes it live",
    ]
    assert trusted("trust", "check", "--json").json == {"valid": True, "explained": words.splitlines()}


def test_init_never_overwrites_and_add_extends(trusted: Dagctl) -> None:
    before = document(trusted)
    options = ["--bundle", "analytics", "--repository", "https://h/x", "--path", "b/", "--path", "a"]
    options += ["--release-key", "ci.pub", "--pointer-key", "ops.pub", "--out", "trust.json"]
    assert "is there already" in trusted("trust", "init", "--channel", "dev-*", *options, code=USAGE).message
    assert document(trusted) == before
    more = ["--ref", "feature/**", "--ref", "v*", "--include", "*.py", "--exclude", "tests", "--allow-dev", "--add"]
    out = trusted("trust", "init", "--channel", "dev-*", *options, *more).out
    assert "  takes releases of https://h/x, directory a, b, ref feature/**, v*" in out
    assert "  packed as: *.py, without tests" in out
    assert "  takes dev releases: uncommitted work of whoever has a release key" in out
    assert (
        "an entry 'dev-*' already" in trusted("trust", "init", "--channel", "dev-*", *options, "--add", code=2).message
    )
    assert (
        "is of bundle analytics, not other"
        in trusted(
            "trust",
            "init",
            "--channel",
            "x",
            *["other" if word == "analytics" else word for word in options],
            "--add",
            code=2,
        ).message
    )
    assert trusted("trust", "check").out == out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--bundle", "Analytics"], REFUSED, "is not a name"),
        (["--threshold", "2"], REFUSED, "needs 2 of 1 keys"),
        (["--max-ttl", "never"], REFUSED, "is not a duration"),
        (["--path", "dags/sub"], USAGE, "--path dags/sub lies in --path dags"),
        (["--repository", "nothing"], USAGE, "--repository is not a repository URL"),
        (["--channel", "a/b"], REFUSED, "is not a channel name"),
        (["--release-key", "gone.pub"], USAGE, "--release-key gone.pub cannot be read"),
        (["--release-key", "ci.key"], REFUSED, "holds a private key; give the .pub file"),
        (["--out", "gone/trust.json"], USAGE, "gone/trust.json cannot be written"),
    ],
)
def test_init_with_a_wrong_option_writes_nothing(dagctl: Dagctl, options: list[str], code: int, words: str) -> None:
    keygen(dagctl, "ci")
    good = ["--bundle", "b", *INIT, "--release-key", "ci.pub", "--pointer-key", "ci.pub", "--out", "trust.json"]
    assert words in dagctl("trust", "init", *good, *options, code=code).message
    assert sorted(path.name for path in dagctl.cwd.iterdir()) == ["ci.key", "ci.pub"]


def test_max_ttl_is_explained(dagctl: Dagctl) -> None:
    keygen(dagctl, "ci")
    good = ["--bundle", "b", *INIT, "--release-key", "ci.pub", "--pointer-key", "ci.pub", "--out", "trust.json"]
    out = dagctl("trust", "init", *good, "--max-ttl", "30d").out
    assert "a pointer may be used for 2592000 s after it was issued, and must have an expiry" in out


def test_a_pointer_gets_the_expiry_that_max_ttl_demands(site: Site, line: list[str]) -> None:
    site.trust_text(max_ttl=3600)
    site.publish(line[0])
    pointer = site.pointer()
    assert pointer["expires"][:13] != pointer["issued"][:13] or pointer["expires"] > pointer["issued"]
    from dagferry_shared import times

    assert (times.parse(pointer["expires"]) - times.parse(pointer["issued"])).total_seconds() == 3600


def test_adding_retiring_and_removing_keys(trusted: Dagctl) -> None:
    spare, ci = keygen(trusted, "spare"), trusted.environ["CI_ID"]
    role = ("--channel", "main", "--role", "release")
    assert "add the new one first (trust add-key)" in trusted("trust", "retire-key", ci[:9], *role, code=USAGE).message
    assert "add the new one first" in trusted("trust", "remove-key", ci, code=USAGE).message
    shown = trusted.process("trust", "add-key", "spare.pub", *role).out
    assert f"+   a release must be signed by 1 of 2 keys ({ci[:16]}, {spare[:16]})" in shown
    assert "written: trust.json; bring it to the pods" in shown
    assert "nothing changes" in trusted("trust", "add-key", "spare.pub", *role).out
    shown = trusted("trust", "retire-key", ci[:7], *role).out
    assert f"1 of 1 keys ({spare[:16]}); retired: {ci[:16]}" in shown
    assert "is not an active release key" in trusted("trust", "retire-key", ci[:7], *role, code=NOT_FOUND).message
    trusted("trust", "add-key", "ci.pub", *role)
    assert "retired: " not in trusted("trust", "check").out
    shown = trusted("trust", "remove-key", ci).out
    assert f"- {'  '}a pointer must be signed by 1 of 2 keys" in shown
    assert ci[:16] not in trusted("trust", "check").out
    assert ci not in (trusted.cwd / "trust.json").read_text()


def test_revoke_floor_and_epoch(trusted: Dagctl) -> None:
    shown = trusted("trust", "revoke", "a" * 40).out
    assert f"+ revoked: {'a' * 40}" in shown
    trusted("trust", "revoke", "b" * 64)
    assert "is not a full commit id or a release digest" in trusted("trust", "revoke", "abcdef1", code=REFUSED).message
    assert "+   sequence at least 7" in trusted("trust", "floor", "7", "--channel", "main").out
    assert "is 7; it only rises" in trusted("trust", "floor", "6", "--channel", "main", code=USAGE).message
    assert "has no entry 'nope'; it has: main" in trusted("trust", "floor", "9", "--channel", "nope", code=8).message
    shown = trusted("trust", "epoch").out
    assert "+ bundle analytics, epoch 2" in shown
    assert "+   no floor: a new pod takes any signed pointer" in shown
    found = document(trusted)
    assert (found["epoch"], found["revoked"]) == (2, ["a" * 40, "b" * 64])


@pytest.mark.parametrize(
    "command",
    [
        ["add-key", "ops.pub", "--channel", "main", "--role", "release"],
        ["retire-key", "{OPS_ID}", "--channel", "main", "--role", "pointer"],
        ["remove-key", "{OPS_ID}"],
        ["revoke", "a" * 40],
        ["floor", "3", "--channel", "main"],
        ["epoch"],
    ],
    ids=lambda command: command[0],
)
def test_a_dry_run_shows_the_change_and_does_not_write_it(trusted: Dagctl, command: list[str]) -> None:
    before = (trusted.cwd / "trust.json").read_bytes()
    words = [word.format(**trusted.environ) for word in command]
    shown = trusted("trust", *words, "--dry-run").out
    assert "dry run: not written" in shown
    assert "\n+ " in f"\n{shown}"
    assert (trusted.cwd / "trust.json").read_bytes() == before
    assert trusted("trust", *words, "--json").json["changed"] is True
    assert (trusted.cwd / "trust.json").read_bytes() != before


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (
            ["add-key", "ops.pub", "--channel", "main", "--role", "root"],
            USAGE,
            "--role is release or pointer, not 'root'",
        ),
        (["add-key", "ops.pub", "--channel", "nope", "--role", "pointer"], NOT_FOUND, "has no entry 'nope'"),
        (["remove-key", "0000000"], NOT_FOUND, "has no key '0000000'; it has: "),
        (["remove-key", "{short}"], USAGE, "has fewer than 7 digits"),
    ],
)
def test_a_wrong_edit_changes_nothing(trusted: Dagctl, command: list[str], code: int, words: str) -> None:
    before = (trusted.cwd / "trust.json").read_bytes()
    filled = [word.format(short=trusted.environ["CI_ID"][:6]) for word in command]
    assert words in trusted("trust", *filled, code=code).message
    assert (trusted.cwd / "trust.json").read_bytes() == before
    assert not list(trusted.cwd.glob(".trust*")), "no temporary file is left"


def test_check_refuses_an_unknown_field_and_names_it(trusted: Dagctl) -> None:
    path = trusted.cwd / "trust.json"
    path.write_text(path.read_text().replace('"allow_dev"', '"alow_dev"'))
    message = trusted.process("trust", "check", code=REFUSED).message
    assert "trust.channels.main has an unknown field 'alow_dev'; known: allow_dev" in message
