"""publisher/JSON.md says what the commands print, no more and no less."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dagferry_shared.rules import Seen
from demo.airflow_dags import git
from support.fakeairflowapi import PASSWORD, USER, FakeAirflow
from support.portfixtures import Port

PAGE = (Path(__file__).parents[3] / "publisher" / "JSON.md").read_text(encoding="utf-8")
POINTER = re.search(r"live pointer after it: (.*?), as in", PAGE)[1]


def words(title: str) -> set[str]:
    """Return the words in code quotes of a section."""
    section = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, title
    return set(re.findall(r"`([a-z0-9_]+)`", section[1]))


def names(value: object) -> set[str]:
    """Return the names of all fields, also of nested objects, but for maps by path or setting."""
    found: set[str] = set()
    maps = {"settings", "contexts", "checked", "counts", "refusals"}
    if isinstance(value, dict):
        for name, child in value.items():
            found |= {name} | (set() if name in maps else names(child))
    elif isinstance(value, list):
        for child in value:
            found |= names(child)
    return found


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Run every command once in a small site; the last document of each."""
    home = tmp_path_factory.mktemp("json")
    repo = home / "repo"
    (repo / "dags").mkdir(parents=True)
    (home / "store").mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    for text in ("a", "b"):
        (repo / "dags" / "x.py").write_text(text)
        git(repo, "add", "--all")
        git(repo, "commit", "--quiet", "--message", text)
    (home / "dagctl.toml").write_text(
        f'context = "t"\n[contexts.t]\nstore = "file://{home}/store"\nchannel = "main"\ntrust = "trust.json"\n'
        'repo = "repo"\nrepository = "https://git.example.org/d"\nref = "main"\n'
        'release_key = "k.key"\npointer_key = "k.key"\n'
    )
    documents = {}

    def dagctl(title: str, *arguments: str, code: int = 0, **environ: str) -> dict[str, object]:
        command = [sys.executable, "-m", "dagferry_publisher", *arguments, "--json"]
        done = subprocess.run(command, cwd=home, env={"HOME": str(home)} | environ, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        documents[title] = json.loads(done.stdout or done.stderr)
        return documents[title]

    dagctl("keygen", "keygen", "--out", "k")
    keys = ("--release-key", "k.pub", "--pointer-key", "k.pub", "--out", "trust.json")
    trust = ("--bundle", "b", "--channel", "main", "--repository", "https://git.example.org/d", "--path", "dags")
    dagctl("trust init", "trust", "init", *trust, *keys)
    dagctl("trust check", "trust", "check")
    dagctl("publish", "publish", "--commit", "HEAD~1")
    dagctl("publish", "publish")
    dagctl("rollback", "rollback", "--notify", "http://127.0.0.1:1")
    history = dagctl("history", "history")
    commits = [entry["commit"] for entry in history["entries"][:2]]
    dagctl("list", "list")
    dagctl("show", "show", commits[0])
    dagctl("diff", "diff", *commits)
    dagctl("verify", "verify", "--all")
    dagctl("prune", "prune", "--dry-run")
    dagctl("doctor", "doctor")
    dagctl("log", "log", "--limit", "1")
    (home / "hooks").write_text("http://127.0.0.1:1/x\n")
    dagctl("announce", "announce", "--dry-run", DAGFERRY_ANNOUNCE=f"@{home}/hooks")
    dagctl("log --export", "log", "--export", "exported.jsonl")
    with Port() as port:
        port.recorder.update(seen=Seen(1, 1, "a" * 64))
        pods = ("--targets", f"http://127.0.0.1:{port.number}")
        dagctl("status", "status", *pods, code=13)
        dagctl("why", "why", *pods, code=13)
        dagctl("wait --targets", "wait", "--commit", commits[0], *pods, "--timeout", "1s", code=11)
    with FakeAirflow() as fake:
        dagctl("forward", "rollback", "--to", commits[1])
        airflow = ("wait", "--airflow", fake.url, "--baseline", "before.json", "--timeout", "1s")
        (home / "who").write_text(f"username={USER}\npassword={PASSWORD}\n")
        who = ("--airflow-credentials-file", "who", "--settle", "0")
        dagctl("wait --snapshot", "wait", "--airflow", fake.url, "--snapshot", "before.json", *who)
        fake.dag("a")
        fake.error("bad")
        dagctl("wait", *airflow, *who, "--rollback-on-failure", code=12)
    dagctl("archive create", "archive", "create", "x.tar.zst", "--path", "dags", "--repo", "repo")
    dagctl("archive inspect", "archive", "inspect", "x.tar.zst")
    dagctl("config", "config")
    dagctl("context list", "context", "list")
    dagctl("context use", "context", "use", "t")
    dagctl("trust floor", "trust", "floor", "1", "--channel", "main")
    dagctl("error", "show", "0123456789", code=8)
    return documents


POINTER_FIELDS = set(re.findall(r"`([a-z]+)`", POINTER)) | {"since"}


@pytest.mark.parametrize(
    ("title", "commands"),
    [
        ("publish, rollback, hold, resume, refresh, promote, repair", ["publish", "rollback"]),
        ("history", ["history"]),
        ("diff", ["diff"]),
        ("verify", ["verify"]),
        ("prune", ["prune"]),
        ("announce", ["announce"]),
        ("log", ["log", "log --export"]),
        ("why", ["why"]),
        ("status", ["status"]),
        ("wait --targets", ["wait --targets"]),
        ("doctor", ["doctor"]),
        ("wait --snapshot", ["wait --snapshot"]),
        ("archive create, inspect, extract", ["archive create", "archive inspect"]),
        ("config, context list, context use", ["config", "context list", "context use"]),
        ("keygen", ["keygen"]),
        ("trust init, trust check, trust edits", ["trust init", "trust check", "trust floor"]),
        ("Errors", ["error"]),
    ],
)
def test_every_field_is_on_the_page(outputs: dict[str, dict[str, object]], title: str, commands: list[str]) -> None:
    for command in commands:
        printed = names(outputs[command])
        assert printed - POINTER_FIELDS <= words(title), command
    printed = set().union(*(names(outputs[command]) for command in commands))
    # of empty lists, maps, or named in the prose
    extra = {"value", "origin", "key", "problem", "create", "dry_run", "entry", "before"}
    assert words(title) - POINTER_FIELDS - extra <= printed


def test_a_wait_has_the_fields_of_the_page(outputs: dict[str, dict[str, object]]) -> None:
    printed = outputs["wait"]
    assert printed["rollback"]
    assert names({**printed, "rollback": None}) | {"notified"} == words("wait")
    assert set(printed["rollback"]) == words("publish, rollback, hold, resume, refresh, promote, repair") & set(
        outputs["rollback"]
    ) - {"notified"}


def test_a_release_has_the_fields_of_the_page(outputs: dict[str, dict[str, object]]) -> None:
    assert words("show") == set(outputs["show"])
    assert set(outputs["list"]["releases"][0]) == words("show") - {"entries"} | {"live"}
