"""Announcements: who is told what after a channel moved, or failed to; and that no webhook can change an outcome."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_publisher.announce import Event, render
from support.devloops import make_dev_site
from support.gitrepos import GitRepo
from support.raw_server import RawServer, reply
from support.sites import Site

if TYPE_CHECKING:
    from pathlib import Path

TAKEN = reply("200 OK", b"ok")
SECRET = "T0KEN-SHOWN-NOWHERE"
CONFLICT, HELD, USAGE, NOT_FOUND = 4, 5, 2, 8


class Chat(RawServer):
    """A webhook that keeps what it was sent."""

    def __init__(self, status: str = "200 OK") -> None:
        self.posts: list[dict[str, Any]] = []
        self.types: set[str] = set()
        super().__init__(self._take)
        self._reply = reply(status)

    @property
    def url(self) -> str:
        return f"{self.endpoint}/hooks/{SECRET}?x=1"

    def _take(self, connection: Any) -> None:
        head = self.requests[-1]
        headers = dict(line.split(": ", 1) for line in head.partition("\r\n\r\n")[0].split("\r\n")[1:])
        self.types.add(headers["Content-Type"])
        body = head.partition("\r\n\r\n")[2].encode()
        while len(body) < int(headers["Content-Length"]):
            body += connection.recv(65536)
        self.posts.append(json.loads(body))
        self._reply(connection)


@pytest.fixture
def told(site: Site) -> Any:
    with Chat() as chat:
        site.dagctl.environ["DAGFERRY_ANNOUNCE"] = chat.url
        yield chat


def test_publish_and_rollback_are_told_with_text_and_facts(site: Site, line: list[str], told: Chat) -> None:
    site.publish(line[0], "--reason", "first", DAGFERRY_PIPELINE="https://ci.example.org/7")
    site.publish(line[1])
    site.dagctl("rollback", "--reason", "imports fail", DAGFERRY_ACTOR="ann")
    first, _, last = told.posts
    assert told.types == {"application/json; charset=utf-8"}
    assert told.requests[0].startswith(f"POST /hooks/{SECRET}?x=1 HTTP/1.1\r\n")
    assert first["text"] == f"analytics/main: publish {line[0][:12]} by tester (sequence 1): first"
    assert last["text"] == (
        f"analytics/main: rollback {line[0][:12]} by ann (sequence 3): imports fail; the channel is HELD"
    )
    assert {name: first[name] for name in ("action", "ok", "commit", "epoch", "sequence", "held", "pipeline")} == {
        "action": "publish",
        "ok": True,
        "commit": line[0],
        "epoch": 1,
        "sequence": 1,
        "held": False,
        "pipeline": "https://ci.example.org/7",
    }


def test_failures_are_told_with_their_exit_code(site: Site, line: list[str], told: Chat) -> None:
    site.publish(line[1])
    site.publish(line[0], code=CONFLICT)
    site.dagctl("hold")
    site.publish(line[2], code=HELD)
    site.dagctl("rollback", "--to", "0" * 12, code=NOT_FOUND)
    site.dagctl("promote", "--from", "canary", "--to", "main", code=NOT_FOUND)
    site.publish(line[2], code=7, DAGFERRY_STORE=f"file://{site.root}/gone")
    failures = [post for post in told.posts if not post["ok"]]
    assert [(post["action"], post["exit_code"], post["error_reason"]) for post in failures] == [
        ("publish", CONFLICT, "conflict"),
        ("publish", HELD, "held"),
        ("rollback", NOT_FOUND, "not-found"),
        ("promote", NOT_FOUND, "not-found"),
        ("publish", 7, "store-unreachable"),
    ]
    assert failures[0]["text"].startswith(
        f"analytics/main: publish {line[0][:12]} by tester FAILED (conflict): commit "
    )
    assert failures[0]["commit"] == line[0]
    assert {post["channel"] for post in failures} == {"main"}


def test_what_changed_nothing_is_no_news(site: Site, line: list[str], told: Chat) -> None:
    site.publish(line[0], "--dry-run")
    site.publish(line[0])
    site.publish(line[0])
    site.dagctl("refresh", "--expires", "7d")
    site.dagctl("rollback", "--to", "0" * 12, "--dry-run", code=NOT_FOUND)
    site.dagctl("history")
    assert [post["action"] for post in told.posts] == ["publish"]
    site.trust_text(revoked=[line[0]])
    site.dagctl("refresh", "--expires", "7d", code=3)
    assert [(post["action"], post["ok"]) for post in told.posts[1:]] == [("refresh", False)]


FAILING = {
    "says no": ("500 Oops", "answered 500"),
    "redirects": ("302 Found", "answered 302: redirects are not followed"),
}


@pytest.mark.parametrize("case", FAILING)
def test_webhook_that_fails_is_a_warning_without_its_address(site: Site, line: list[str], case: str) -> None:
    status, words = FAILING[case]
    with Chat(status) as bad, Chat() as good:
        done = site.publish(line[0], DAGFERRY_ANNOUNCE=f"{bad.url} {good.url}")
        assert len(good.posts) == 1
    assert f"dagctl: warning: http://localhost/… was not told of the publish: {words}\n" in done.err
    assert SECRET not in done.err + done.out


def test_webhook_that_never_answers_costs_its_deadline(
    site: Site, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagferry_publisher.announce.SECONDS", 0.5)
    with RawServer(lambda connection: server.stall(connection)) as server:  # noqa: PLW0108
        done = site.publish(line[0], "--json", DAGFERRY_ANNOUNCE=server.endpoint)
    warning = json.loads(done.err.splitlines()[-1])["warning"]
    assert warning == {
        "reason": "not-announced",
        "message": "http://localhost/… was not told of the publish: no answer within 0.5 s",
    }
    assert site.live() == line[0]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DAGFERRY_ANNOUNCE": f"ftp://x/{SECRET}"}, "--announce is not an address"),
        ({"DAGFERRY_ANNOUNCE": "@/does/not/exist"}, "/does/not/exist"),
        ({"DAGFERRY_ANNOUNCE_TEXT": "{who}"}, "names {who}; known: action"),
    ],
)
def test_wrong_setting_is_a_warning_and_the_channel_moves(
    site: Site, line: list[str], told: Chat, environ: dict[str, str], words: str
) -> None:
    done = site.publish(line[0], **environ)
    assert "dagctl: warning: nobody was told: " in done.err
    assert words in done.err
    assert SECRET not in done.err
    assert site.live() == line[0]


def test_templates_are_the_operators(site: Site, line: list[str], told: Chat) -> None:
    texts = {"DAGFERRY_ANNOUNCE_TEXT": ":rocket: <!here> {channel} → {short}"}
    texts |= {"DAGFERRY_ANNOUNCE_FAILURE_TEXT": "{error_reason}!"}
    site.publish(line[1], **texts)
    site.publish(line[0], code=CONFLICT, **texts)
    assert [post["text"] for post in told.posts] == [f":rocket: <!here> main → {line[1][:12]}", "conflict!"]


def test_what_is_filled_in_mentions_nobody_and_fills_in_nothing() -> None:
    event = Event("publish", ok=True, reason="<!channel> @all {actor} <https://evil|click>", actor="a\nb")
    assert render(event, "{reason} by {actor} {}") == "(!channel) (at)all {actor} (https://evil|click) by a b {}"


def test_addresses_come_from_a_file_and_are_shown_nowhere(
    site: Site, line: list[str], told: Chat, tmp_path: Path
) -> None:
    file = tmp_path / "hooks"
    file.write_text(f"{told.url}\n{told.url}\n")
    done = site.publish(line[0], DAGFERRY_ANNOUNCE=f"@{file}")
    assert len(told.posts) == 1
    shown = site.dagctl("config").out + site.dagctl("config", "--json").out + done.out + done.err
    assert SECRET not in shown
    assert "(a webhook)" in shown
    assert f"@{file}" in site.dagctl("config", DAGFERRY_ANNOUNCE=f"@{file}").out


def test_announce_sends_a_test(site: Site, told: Chat) -> None:
    done = site.dagctl("announce", "--dry-run")
    assert "would go to http://localhost/…" in done.out
    assert told.posts == []
    assert "sent to http://localhost/…" in site.dagctl("announce", "--failure").out
    assert (told.posts[0]["ok"], told.posts[0]["error"]) == (False, "only a test")
    done = site.dagctl("announce", code=NOT_FOUND, DAGFERRY_ANNOUNCE="http://127.0.0.1:1/x")
    assert "Connection refused" in done.err
    assert "--announce is needed" in site.dagctl("announce", code=USAGE, DAGFERRY_ANNOUNCE="").message
    assert "names {x}" in site.dagctl("announce", code=USAGE, DAGFERRY_ANNOUNCE_TEXT="{x}").message


def test_failure_before_anything_is_known_is_told_as_well(site: Site, told: Chat) -> None:
    site.dagctl("rollback", code=USAGE, DAGFERRY_TRUST="", DAGFERRY_CHANNEL="", DAGFERRY_ACTOR=" ")
    (post,) = told.posts
    assert (post["action"], post["exit_code"], post["bundle"], post["channel"]) == ("rollback", USAGE, "", "")


def test_commit_message_cannot_break_the_document(tmp_path: Path, own_site: Site, repo: GitRepo) -> None:
    commit = repo.commit({"dags/etl.py": "A = 2\n"}, 'quo"te \\ {x} <!here>')
    with Chat() as chat:
        own_site.publish(commit, "--reason", 'a "b" \\ {actor} ü', DAGFERRY_ANNOUNCE=chat.url)
    assert chat.posts[0]["reason"] == 'a "b" \\ {actor} ü'


def test_uncommitted_work_is_not_told_as_its_commit(tmp_path: Path, keys: Path, repo: GitRepo) -> None:
    site, base = make_dev_site(tmp_path / "site", keys, repo), repo.git("rev-parse", "HEAD")
    repo.write({"dags/etl.py": "A = 2\n"})
    with Chat() as chat:
        site.dagctl.environ["DAGFERRY_ANNOUNCE"] = chat.url
        site.dagctl("publish", "--dev")
        site.dagctl("publish")
    work, commit = chat.posts
    assert (work["dev"], commit["dev"]) == (True, False)
    assert work["text"] == f"analytics/dev-ann: publish {base[:12]}+dev by ann (sequence 1): changed etl.py"
    assert f"publish {base[:12]} by ann" in commit["text"]
