"""No output of any command holds a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.keyring import read_bounded

if TYPE_CHECKING:
    from support.gitrepos import GitRepo
    from support.sites import Site

TOKEN = "glpat-TOKENSHOWNNOWHERE"
PASSPHRASE = "PASSPHRASESHOWNNOWHERE"
WITH_TOKEN = f"https://gitlab-ci-token:{TOKEN}@gitlab.example.org/data/dags.git"


def stored(site: Site) -> str:
    """Everything in the store as text, payloads decoded."""
    import base64
    import json

    texts = []
    for name, data in site.tree().items():
        if name.endswith(".json"):
            texts.append(base64.b64decode(json.loads(data)["payload"]).decode())
    return "\n".join(texts)


def test_a_token_in_the_origins_address_is_nowhere(own_site: Site, repo: GitRepo) -> None:
    repo.git("remote", "set-url", "origin", WITH_TOKEN)
    outputs = []
    for code, options in [
        (0, []),
        (0, ["--json"]),
        (3, ["--ref", "other", "--json"]),
        (2, ["--repository", f"https://user:{TOKEN}@"]),
        (2, ["--repository", f"what:{TOKEN}@://"]),
        (2, ["--repository", f"ftp://user:{TOKEN}@host/x"]),
        (2, ["--repository", f"https://user:{TOKEN}@host:port/x"]),
    ]:
        done = own_site.dagctl.process("publish", "--commit", "HEAD", "--ref", "main", *options, code=code)
        outputs.append(done.out + done.err)
    outputs += [own_site.dagctl(name).out for name in ("history", "list", "config")]
    outputs.append(own_site.dagctl("show", repo.git("rev-parse", "HEAD")).out)
    assert TOKEN not in "".join(outputs)
    assert TOKEN not in stored(own_site)
    assert "https://gitlab.example.org/data/dags" in stored(own_site)


def test_a_token_in_a_failing_fetch_is_nowhere(own_site: Site, repo: GitRepo, line: list[str]) -> None:
    """Deepening a shallow clone fails at an origin whose address holds a token."""
    from support.gitrepos import git

    own_site.publish("HEAD")
    newest = repo.commits(3)[-1]
    git(own_site.root, "clone", "--quiet", "--depth=1", f"file://{repo.path}", "shallow")
    git(own_site.root / "shallow", "remote", "set-url", "origin", WITH_TOKEN.replace("example.org", "invalid"))
    options = ("--repo", "shallow", "--repository", WITH_TOKEN, "--commit", newest, "--ref", "main")
    done = own_site.dagctl.process("publish", *options, code=6)
    assert TOKEN not in done.out + done.err


def test_config_shows_that_there_is_a_key_and_not_which(site: Site) -> None:
    text = site.key("ci").read_text()
    secrets = {
        "DAGFERRY_RELEASE_KEY": text,
        "DAGFERRY_POINTER_KEY": text,
        "DAGFERRY_POINTER_KEY_PASSPHRASE": PASSPHRASE,
        "DAGFERRY_REPOSITORY": WITH_TOKEN,
    }
    for options in ([], ["--json"]):
        shown = site.dagctl.process("config", *options, **secrets).out
        assert "(a key)" in shown
        assert text.splitlines()[1] not in shown
        assert PASSPHRASE not in shown
        assert TOKEN not in shown
        assert "https://gitlab.example.org/data/dags" in shown
    assert "(not an address)" in site.dagctl("config", DAGFERRY_REPOSITORY=TOKEN).out
    shown = site.dagctl("config", DAGFERRY_STORE=f"s3://user:{TOKEN}@bucket", CI_PIPELINE_URL=WITH_TOKEN).out
    assert TOKEN not in shown


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_a_damaged_key_or_wrong_passphrase_is_not_repeated(site: Site, line: list[str], as_json: list[str]) -> None:
    text = site.key("ci").read_text()
    body = text.splitlines()[1]
    damaged = text.replace(body, body[:-8] + "AAAAAAA=")
    options = ("--commit", line[0], "--ref", "main", *as_json)
    environ = {"DAGFERRY_POINTER_KEY": damaged, "DAGFERRY_POINTER_KEY_PASSPHRASE": PASSPHRASE}
    done = site.dagctl.process("publish", *options, code=3, **environ)
    assert "DAGFERRY_POINTER_KEY" in done.err
    assert body[:20] not in done.err
    assert PASSPHRASE not in done.err


def test_a_private_key_given_as_the_public_one_is_not_repeated(site: Site) -> None:
    private = site.key("spare")
    options = ("--channel", "main", "--role", "pointer")
    message = site.dagctl("trust", "add-key", private, *options, code=3).message
    assert "holds a private key; give the .pub file" in message
    assert private.read_text().splitlines()[1] not in message


def test_keys_on_the_command_line_are_refused_in_every_command(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    text = read_bounded(str(site.key("ci")), "key", 4096).decode()
    for command in (["rollback"], ["hold"], ["refresh"], ["repair"], ["promote", "--from", "main", "--to", "canary"]):
        done = site.dagctl(*command, "--pointer-key", text, code=2)
        assert "a key on the command line is seen by every process" in done.message
        assert text.splitlines()[1] not in done.err
