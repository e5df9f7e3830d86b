"""Wrong input to publish: one line that says what to do, its own exit code, and nothing changed in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.gitrepos import GitRepo
    from support.sites import Site

USAGE, REFUSED, NOT_FOUND = 2, 3, 8


def refused(site: Site, code: int, *arguments: object, **environ: str) -> str:
    """Run publish with a wrong thing; return its one line after checking that nothing changed."""
    before = site.tree()
    result = site.dagctl.process("publish", "--ref", "main", *arguments, code=code, **environ)
    assert result.out == ""
    assert "Traceback" not in result.err
    assert site.tree() == before
    return result.message


OPTIONS: dict[str, tuple[list[str], int, str]] = {
    "no such commit": (["--commit", "1" * 40], NOT_FOUND, "no commit '1111"),
    "no such branch": (["--commit", "no-such"], NOT_FOUND, "no commit 'no-such'"),
    "path not in the commit": (["--path", "nothing"], NOT_FOUND, "no directory 'nothing' in commit"),
    "path that trust does not allow": (["--path", "dags/lib"], REFUSED, "wrong-path: release packs dags/lib, trusted"),
    "path with ..": (["--path", "dags/.."], REFUSED, "'..' component"),
    "nothing selected": (["--exclude", "*"], NOT_FOUND, "the selection leaves nothing of dags"),
    "selection that trust does not allow": (["--exclude", "lib"], REFUSED, "wrong-selection"),
    "ref that trust does not allow": (["--ref", "feature"], REFUSED, "release is of ref 'feature', trusted is main"),
    "repository that trust does not allow": (["--repository", "https://evil.example/x"], REFUSED, "wrong-repository"),
    "repository that is no address": (["--repository", "what"], USAGE, "--repository is not a repository URL"),
    "repository of another kind": (["--repository", "ftp://host/x"], USAGE, "give an https, ssh or file address"),
    "unknown channel": (["--channel", "nope"], REFUSED, "'nope' is not in the trust file (known: canary, main)"),
    "channel that is no name": (["--channel", "../main"], REFUSED, "--channel '../main' is not a name"),
    "bundle of another trust file": (["--bundle", "other"], USAGE, "is not the trust file's bundle, analytics"),
    "missing trust file": (["--trust", "gone.json"], USAGE, "--trust gone.json cannot be read: No such file"),
    "trust file that is a directory": (["--trust", "."], USAGE, "--trust . cannot be read: Is a directory"),
    "unreadable key": (["--release-key", "gone.key"], USAGE, "--release-key gone.key cannot be read: No such file"),
    "key of no role": (["--release-key", "{stranger}"], REFUSED, "may not sign for channel main; it may with dagctl"),
    "pointer key as release key": (["--release-key", "{ops}"], REFUSED, "unknown-key: --release-key"),
    "stranger's pointer key": (["--pointer-key", "{stranger}"], REFUSED, "unknown-key: --pointer-key"),
    "public key as private key": (["--pointer-key", "{public}"], REFUSED, "is not a PEM private key"),
    "repo that is no repository": (["--repo", "."], USAGE, "not a git repository"),
    "repo that is not there": (["--repo", "gone"], USAGE, "--repo gone is not a directory"),
    "expiry that is no duration": (["--expires", "soon"], REFUSED, "--expires 'soon' is not a duration such as"),
    "reason with a line break": (["--reason", "a\nb"], REFUSED, "--reason holds a control"),
    "unknown store scheme": (["--store", "gs://bucket"], USAGE, "its scheme is unknown; allowed are file:///"),
    "store without a scheme": (["--store", "/dir"], USAGE, "bad store URL: it has no scheme"),
    "store with a password": (["--store", "s3://user:PASS@bucket/x"], USAGE, "no user or password can be given"),
    "store that is not there": (["--store", "file:///nowhere/store"], 7, "mount it, or create it: mkdir"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_option(site: Site, line: list[str], name: str) -> None:
    options, code, words = OPTIONS[name]
    places = {"stranger": site.key("stranger"), "ops": site.key("ops"), "public": site.keys / "ci.pub"}
    filled = [option.format(**places) for option in options]
    if name == "reason with a line break":
        before = site.tree()
        assert words in site.dagctl("publish", "--commit", line[0], "--ref", "main", *filled, code=code).message
        assert site.tree() == before
        return
    message = refused(site, code, "--commit", line[0], *filled)
    assert words in message
    assert "PASS" not in message


TREES: dict[str, tuple[Callable[[GitRepo], dict[str, tuple[str, str]]], str]] = {
    "submodule": (lambda _: {"lib": ("160000", "1" * 40)}, "'lib' is a submodule: --exclude it"),
    "LFS pointer": (
        lambda repo: {"m.bin": ("100644", repo.blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))},
        "'m.bin' is a Git LFS pointer: --exclude it, or keep the file in git itself",
    ),
    "path with ..": (
        lambda repo: {"..": ("040000", repo.git("mktree", stdin=f"100644 blob {repo.blob(b'')}\tx\n".encode()))},
        "'../x' is absolute, or has an empty, '.' or '..' component",
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_commit_that_cannot_be_delivered(own_site: Site, repo: GitRepo, name: str) -> None:
    make, words = TREES[name]
    assert words in refused(own_site, REFUSED, "--commit", repo.commit_tree(make(repo)))


def test_empty_directory_in_git(own_site: Site, repo: GitRepo) -> None:
    assert "dags is empty in commit" in refused(own_site, NOT_FOUND, "--commit", repo.commit_tree({}))


TRUST: dict[str, tuple[Callable[[str], str], str]] = {
    "empty": (lambda _: "", "trust file is not JSON"),
    "not JSON": (lambda text: text[:-20], "trust file is not JSON"),
    "a list": (lambda _: "[]", "trust file is not a JSON object"),
    "unknown field": (lambda text: text.replace('"floor"', '"flor"'), "unknown field 'flor'; known: allow_dev, floor"),
    "missing field": (lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "epoch"}), "epoch"),
    "duplicate": (lambda text: text.replace('"epoch"', '"epoch": 1, "epoch"'), "duplicate name"),
    "oversize": (lambda text: text + " " * 1_100_000, "--trust"),
}


@pytest.mark.parametrize("name", TRUST)
def test_malformed_trust_file(site: Site, line: list[str], name: str) -> None:
    change, words = TRUST[name]
    site.trust.write_text(change(site.trust.read_text()))
    code = USAGE if name == "oversize" else REFUSED
    message = refused(site, code, "--commit", line[0])
    assert words in message
    if code == REFUSED:
        assert "malformed: " in message
        assert "malformed: " in site.dagctl("trust", "check", code=REFUSED).message


def test_retired_key_and_too_few_keys(site: Site, line: list[str]) -> None:
    site.dagctl("trust", "add-key", site.keys / "spare.pub", "--channel", "main", "--role", "release")
    document = json.loads(site.trust.read_text())
    document["channels"]["main"]["release"]["threshold"] = 2
    site.trust.write_text(json.dumps(document))
    assert "channel main needs 2 keys: give --release-key for each" in refused(site, REFUSED, "--commit", line[0])
    both = f"{site.key('ci')} {site.key('spare')}"
    site.publish(line[0], DAGFERRY_RELEASE_KEY=both)
    document["channels"]["main"]["release"]["threshold"] = 1
    site.trust.write_text(json.dumps(document))
    site.dagctl("trust", "retire-key", site.key_id("ci")[:7], "--channel", "main", "--role", "release")
    message = refused(site, REFUSED, "--commit", line[1])
    assert "retired on channel main: use its successor" in message
    site.publish(line[1], "--release-key", site.key("spare"))
    site.dagctl("rollback")
    assert site.live() == line[0], "what a retired key signed stays valid for rollback"


def test_encrypted_key(site: Site, line: list[str]) -> None:
    site.dagctl("keygen", "--out", site.root / "locked", "--passphrase-env", "WORDS", WORDS="correct horse")
    site.dagctl("trust", "add-key", site.root / "locked.pub", "--channel", "main", "--role", "pointer")
    options = ("--commit", line[0], "--pointer-key", site.root / "locked.key")
    assert "is encrypted, and no passphrase was given" in refused(site, REFUSED, *options)
    wrong = {"DAGFERRY_POINTER_KEY_PASSPHRASE": "hunter2"}
    message = refused(site, REFUSED, *options, **wrong)
    assert "wrong passphrase, or a damaged key" in message
    assert "hunter2" not in message
    site.publish(line[0], *options[2:], DAGFERRY_POINTER_KEY_PASSPHRASE="correct horse")


def test_unreadable_key_file(site: Site, line: list[str]) -> None:
    """Permissions stop nobody who is root, a loop stops everybody."""
    loop = site.root / "loop.key"
    loop.symlink_to(loop)
    assert "--pointer-key" in refused(site, USAGE, "--commit", line[0], "--pointer-key", loop)
    large = site.root / "large.key"
    large.write_bytes(b"x" * 5000)
    assert "is larger than 4096 bytes" in refused(site, USAGE, "--commit", line[0], "--pointer-key", large)


@pytest.mark.parametrize("option", ["--release-key", "--pointer-key"])
def test_key_text_on_the_command_line_is_refused(site: Site, line: list[str], option: str) -> None:
    text = site.key("ci").read_text()
    message = refused(site, USAGE, "--commit", line[0], option, text)
    assert "takes a file name: a key on the command line is seen by every process" in message
    assert text.splitlines()[1] not in message


MISSING = {
    "store": "publish",
    "trust": "publish",
    "channel": "rollback",
    "pointer-key": "rollback",
    "release-key": "publish",
}


@pytest.mark.parametrize("option", MISSING)
def test_a_missing_setting_names_the_three_ways_to_give_it(site: Site, line: list[str], option: str) -> None:
    variable = "DAGFERRY_" + option.upper().replace("-", "_")
    del site.dagctl.environ[variable]
    message = site.dagctl.process(MISSING[option], code=USAGE).message
    assert f"--{option} is needed: give it, set {variable}, or put {option.replace('-', '_')} into a context" in message


def test_no_repository_address_at_all(own_site: Site, repo: GitRepo) -> None:
    repo.git("remote", "remove", "origin")
    assert "the clone has no remote called origin" in refused(own_site, USAGE, "--commit", "HEAD")


def test_errors_as_json(site: Site, line: list[str]) -> None:
    result = site.dagctl.process("publish", "--commit", line[0], "--ref", "x", "--json", code=REFUSED)
    assert result.out == ""
    assert result.error == {
        "reason": "wrong-ref",
        "message": "release is of ref 'x', trusted is main",
        "exit_code": REFUSED,
    }
    error = site.dagctl("history", "--json", "--store", "what", code=USAGE).error
    assert (error["reason"], error["exit_code"]) == ("usage", USAGE)


def test_an_option_that_does_not_exist(site: Site) -> None:
    result = site.dagctl.process("publish", "--comit", "HEAD", code=USAGE)
    assert "No such option: --comit" in result.err
    assert "Traceback" not in site.dagctl.process("publish", "--level", "20", code=USAGE).err


def test_what_this_machine_refuses_is_one_line_too(site: Site) -> None:
    (site.root / "dagctl.toml").write_text("[contexts.prod]\n")
    message = site.dagctl.process("context", "use", "prod", code=1, XDG_CONFIG_HOME="/dev/null/x").message
    assert message.startswith("dagctl: unexpected: Not a directory: /dev/null")
