"""``dagctl rollout``: stages, checks, limits, questions; failures that roll back; and a chain that remembers it all."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_publisher.rollout import marks
from support.raw_server import RawServer, reply
from support.sitepods import SitePod, wait_commit
from support.sites import make_trust
from support.terminals import Terminal
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.dagctl import Result
    from support.fleets import Fleet
    from support.sites import Site

USAGE, REFUSED, CONFLICT, HELD, NOT_FOUND, PART = 2, 3, 4, 5, 8, 13
STAGES = ("--stages", "canary,main")


@pytest.fixture
def staged(site: Site, line: list[str]) -> Site:
    """Both channels at the first commit, canary then at the second: what is to be rolled out."""
    site.trust.write_bytes(
        make_trust(site.keys, channels={name: {"refs": ("**",)} for name in ("main", "canary", "late")}).encode()
    )
    for channel in ("canary", "main"):
        site.publish(line[0], "--channel", channel)
    site.publish(line[1], "--channel", "canary")
    return site


def rollout(site: Site, *words: object, code: int = 0, **environ: str) -> Result:
    return site.dagctl("rollout", *words, "--json", code=code, **environ)


def entries(site: Site, channel: str) -> list[dict[str, Any]]:
    return site.dagctl("history", "--channel", channel, "--json").json["entries"]


def lives(site: Site) -> tuple[str, str]:
    return site.live("canary"), site.live("main")


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_release_goes_from_stage_to_stage_and_the_chain_says_so(staged: Site, line: list[str]) -> None:
    done = rollout(staged, *STAGES, "--reason", "new etl")
    assert lives(staged) == (line[1], line[1])
    assert done.json["done"]
    assert [stage["state"] for stage in done.json["stages"]] == ["moved", "moved"]
    number = done.json["rollout"]
    reasons = [(entry["action"], entry["reason"]) for entry in entries(staged, "main")[:2]]
    assert reasons == [
        ("refresh", f"[rollout {number} done canary,main] new etl"),
        ("promote", f"[rollout {number} stage canary,main] new etl"),
    ]
    assert entries(staged, "canary")[0]["reason"] == f"[rollout {number} stage canary,main] new etl"
    assert staged.dagctl("verify", "--all", "--json").json["findings"] == []


def test_source_may_be_another_channel(staged: Site, line: list[str]) -> None:
    rollout(staged, "--stages", "main,late", "--from", "canary")
    assert (staged.live("main"), staged.live("late")) == (line[1], line[1])


def test_checks_get_the_facts_and_no_keys(staged: Site, line: list[str], tmp_path: Path) -> None:
    out = tmp_path / "seen"
    code = f"import os,json; open({str(out)!r},'a').write(json.dumps(dict(os.environ))+'\\n')"
    done = rollout(staged, *STAGES, "--check", python(code), AWS_SECRET_ACCESS_KEY="x")
    first, last = (json.loads(row) for row in out.read_text().splitlines())
    assert (first["DAGFERRY_ROLLOUT_STAGE"], last["DAGFERRY_ROLLOUT_STAGE"]) == ("canary", "main")
    assert first["DAGFERRY_ROLLOUT_COMMIT"] == line[1]
    assert not {"DAGFERRY_RELEASE_KEY", "DAGFERRY_POINTER_KEY", "AWS_SECRET_ACCESS_KEY"} & first.keys()
    assert done.json["stages"][0]["state"] == "moved, 1 checks passed"


def fails_on(stage: str) -> str:
    return python(f"import os; print('p99 is up'); raise SystemExit(os.environ['DAGFERRY_ROLLOUT_STAGE'] == {stage!r})")


FAILS_ON_MAIN = fails_on("main")


def test_failing_check_rolls_back_all_stages_in_reverse_order(staged: Site, line: list[str]) -> None:
    second = python("open('second', 'w')")
    done = rollout(staged, *STAGES, "--check", FAILS_ON_MAIN, "--check", second, code=PART)
    assert lives(staged) == (line[0], line[0])
    message = done.error["message"]
    assert message.startswith("stage main failed: check ")
    assert f"ended with 1: p99 is up; main is back at {line[0][:12]}, canary is back at {line[0][:12]}" in message
    assert "dagctl resume" in message
    main, canary = entries(staged, "main")[0], entries(staged, "canary")[0]
    assert main["issued"] < canary["issued"], "the last stage comes back first"
    assert [bool(entry["held"]) for entry in (main, canary)] == [True, True]
    assert marks.parse(main["reason"]).step is marks.Step.UNDO  # type: ignore[union-attr]


def test_failing_check_stops_the_checks_after_it_and_later_stages(staged: Site, line: list[str]) -> None:
    done = rollout(
        staged, "--stages", "canary,main,late", "--check", "false", "--check", python("open('x','w')"), code=PART
    )
    assert not (staged.root / "x").exists()
    assert [stage["state"].split(",")[0].split(":")[0] for stage in done.json["stages"]] == [
        f"rolled back to {line[0][:12]}",
        "not reached",
        "not reached",
    ]
    assert lives(staged) == (line[0], line[0])


def test_no_rollback_leaves_all_and_says_exactly_what_to_do(staged: Site, line: list[str]) -> None:
    done = rollout(staged, *STAGES, "--check", FAILS_ON_MAIN, "--no-rollback", code=PART)
    assert lives(staged) == (line[1], line[1])
    number = done.json["rollout"]
    assert f"to undo it: dagctl rollout --undo --id {number}" in done.error["message"]
    assert f"to go on: dagctl rollout --resume --id {number}" in done.error["message"]
    rollout(staged, "--resume", "--id", number)
    assert entries(staged, "main")[0]["reason"].startswith(f"[rollout {number} done")
    rollout(staged, "--undo", "--id", number)
    assert lives(staged) == (line[0], line[0])


def test_first_deployment_of_a_stage_cannot_go_back_and_says_so(staged: Site, line: list[str]) -> None:
    done = rollout(staged, "--stages", "canary,late", "--check", fails_on("late"), code=PART)
    assert "late was NOT rolled back (nothing was live before" in done.error["message"]
    assert f"canary is back at {line[0][:12]}" in done.error["message"]


def test_nothing_moves_if_a_later_stage_could_not(staged: Site, line: list[str]) -> None:
    staged.dagctl("hold", "--channel", "main", "--reason", "incident")
    before = staged.tree()
    done = rollout(staged, *STAGES, code=HELD)
    assert "incident" in done.error["message"]
    assert staged.tree() == before
    staged.dagctl("resume", "--channel", "main")
    trust = json.loads(staged.trust.read_text())
    trust["channels"]["main"]["refs"] = ["release/*"]
    staged.trust.write_text(json.dumps(trust))
    assert rollout(staged, *STAGES, code=REFUSED).error["reason"] == "wrong-ref"
    assert lives(staged) == (line[1], line[0])


def test_damaged_archive_is_found_before_anything_moves(staged: Site) -> None:
    for path in (staged.bundle / "archives").iterdir():
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert rollout(staged, *STAGES, code=REFUSED).error["reason"] == "wrong-digest"


def test_dry_run_writes_nothing(staged: Site) -> None:
    before = staged.tree()
    done = rollout(staged, *STAGES, "--dry-run")
    assert [stage["state"] for stage in done.json["stages"]] == ["would be moved, 1.", "would be moved, 2."]
    assert staged.tree() == before


def test_channel_that_somebody_else_moves_stops_the_rollout_and_is_left_alone(staged: Site, line: list[str]) -> None:
    command = [sys.executable, "-m", "dagferry_publisher", "publish", "--channel", "canary", "--ref", "main"]
    publish = shlex.join([*command, "--commit", line[2]])
    keys = {"K": str(staged.key("ci"))}
    code = (
        "import os,subprocess,sys; e=dict(os.environ); e['DAGFERRY_RELEASE_KEY']=e['DAGFERRY_POINTER_KEY']=e['K']; "
        f"sys.exit(subprocess.call({shlex.split(publish)!r}, env=e))"
    )
    done = rollout(staged, *STAGES, "--check", python(code), code=CONFLICT, **keys)
    assert "was moved to" in done.error["message"]
    assert "dagctl rollout --undo" in done.error["message"]
    assert lives(staged) == (line[2], line[0]), "whoever moved it knows why"


# Killed, and taken up elsewhere


def killed_in(site: Site, stage: str, tmp_path: Path, number: int = signal.SIGKILL) -> str:
    """Kill a rollout while its check runs in a stage; returns what it had said."""
    flag = tmp_path / "running"
    code = (
        f"import os,time\nif os.environ['DAGFERRY_ROLLOUT_STAGE']=={stage!r}:\n"
        f" with open({str(flag)!r},'w') as f: f.write(str(os.getpid()))\n time.sleep(600)"
    )
    command = [sys.executable, "-m", "dagferry_publisher", "rollout", *STAGES, "--check", python(code)]
    process = subprocess.Popen(
        command, cwd=site.root, env=site.dagctl.environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        pid = int(wait_for(lambda: flag.exists() and flag.read_text(), "the check runs"))
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # a rollout that was killed cannot end its check
    return err


@pytest.mark.parametrize("stage", ["canary", "main"])
def test_killed_rollout_is_resumed_from_another_machine(
    staged: Site, line: list[str], tmp_path: Path, stage: str
) -> None:
    killed_in(staged, stage, tmp_path)
    seen = tmp_path / "seen"
    code = f"import os; open({str(seen)!r},'a').write(os.environ['DAGFERRY_ROLLOUT_STAGE']+' ')"
    done = rollout(staged, "--resume", "--check", python(code), DAGFERRY_ACTOR="elsewhere")
    assert done.json["done"]
    assert lives(staged) == (line[1], line[1])
    assert seen.read_text().split() == (["canary", "main"] if stage == "canary" else ["main"]), "the killed one again"
    assert rollout(staged, "--resume", code=CONFLICT).error["message"].endswith("there is nothing to go on with")


@pytest.mark.parametrize("stage", ["canary", "main"])
def test_killed_rollout_is_undone_from_another_machine(
    staged: Site, line: list[str], tmp_path: Path, stage: str
) -> None:
    killed_in(staged, stage, tmp_path)
    rollout(staged, "--undo", "--reason", "not tonight", DAGFERRY_ACTOR="elsewhere")
    assert lives(staged) == (line[0], line[0])
    assert entries(staged, "canary")[0]["reason"].endswith("] not tonight")
    assert rollout(staged, "--resume", code=CONFLICT).error["message"].count("rolled back") == 1
    before = staged.tree()
    rollout(staged, "--undo")
    assert staged.tree() == before, "once more does nothing"


def test_ctrl_c_says_what_to_do(staged: Site, tmp_path: Path) -> None:
    err = killed_in(staged, "canary", tmp_path, signal.SIGINT)
    assert "stopped; to go on: dagctl rollout --resume --id " in err


def test_resume_goes_on_with_its_own_release_and_not_with_a_newer_one(
    staged: Site, line: list[str], tmp_path: Path
) -> None:
    killed_in(staged, "main", tmp_path)
    staged.publish(line[2], "--channel", "canary")
    assert "canary was moved since rollout" in rollout(staged, "--resume", code=CONFLICT).error["message"]
    rollout(staged, "--undo")
    assert lives(staged) == (line[2], line[0]), "what somebody published since stays"


def test_no_rollout_is_there(staged: Site) -> None:
    assert "no rollout is in the history" in rollout(staged, "--resume", code=NOT_FOUND).error["message"]
    assert (
        "no rollout 0123456789ab" in rollout(staged, "--undo", "--id", "0123456789ab", code=NOT_FOUND).error["message"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--stages is needed"),
        (["--stages", "main"], "names one channel"),
        (["--stages", "main,main"], "names a channel twice"),
        (["--stages", ",".join(f"c{n}" for n in range(11))], "more than 10"),
        ([*STAGES, "--wait"], "--wait needs --targets"),
        (["--resume", "--undo"], "exclude each other"),
        ([*STAGES, "--failure-limit", "100%"], "neither a share below 100%"),
        ([*STAGES, "--check", ""], "--check is empty"),
        ([*STAGES, "--check", "'"], "cannot be split"),
        ([*STAGES, "--check-url", "ftp://x"], "--check-url is not an address"),
        ([*STAGES, "--check-url", "http://u:p@x/"], "takes no credentials"),
        ([*STAGES, "--check-query", "up"], "--check-query needs --prometheus"),
        ([*STAGES, "--check-timeout", "0"], "--check-timeout must be above zero"),
    ],
)
def test_wrong_setting_is_named(staged: Site, words: list[str], message: str) -> None:
    assert message in rollout(staged, *words, code=USAGE).error["message"]


# Checks over HTTP


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply("200 OK", b"fine"), None),
        (reply("204 No Content"), None),
        (reply("503 Sad"), "answered 503"),
        (reply("302 Found", Location="http://127.0.0.1:1/"), "answered 302"),
        (lambda connection: connection.sendall(b"SSH\r\n"), "SSH"),
    ],
)
def test_http_check(staged: Site, line: list[str], answer: Any, words: str | None) -> None:
    with RawServer(answer) as server:
        done = rollout(staged, *STAGES, "--check-url", f"{server.endpoint}/health?x=1", code=PART if words else 0)
        assert server.requests[0].startswith("GET /health?x=1 HTTP/1.1\r\n")
    assert words is None or words in done.error["message"]
    assert staged.live("main") == line[0 if words else 1]


def vector(*values: object) -> Any:
    series = [{"metric": {}, "value": [1.5, value]} for value in values]
    return reply(
        "200 OK", json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}}).encode()
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (vector("0.3", "1"), None),
        (reply("200 OK", b'{"data":{"resultType":"scalar","result":[1.5,"1"]}}'), None),
        (vector(), "found nothing"),
        (vector("1", "0"), "is false: 1 of 2 series are 0"),
        (reply("400 Bad Request"), "answered 400"),
        (reply("200 OK", b"{}"), "is not one of Prometheus"),
        (reply("200 OK", b"[" * 100_000), "is not one of Prometheus"),
        (vector("x"), "is not one of Prometheus"),
    ],
)
def test_prometheus_check(staged: Site, answer: Any, words: str | None) -> None:
    with RawServer(answer) as server:
        query = ("--prometheus", f"{server.endpoint}/prom/", "--check-query", "errors < 0.1")
        done = rollout(staged, *STAGES, *query, code=PART if words else 0)
        assert server.requests[0].startswith("GET /prom/api/v1/query?query=errors+%3C+0.1 HTTP/1.1\r\n")
    assert words is None or words in done.error["message"]


def test_check_that_hangs_or_drips_has_its_time(staged: Site) -> None:
    import time

    def drip(connection: Any) -> None:
        try:
            while True:
                connection.sendall(b"H")
                time.sleep(0.1)
        except OSError:
            return

    limit = ("--check-timeout", "1s")
    hangs = rollout(staged, *STAGES, "--check", "sleep 600", *limit, "--no-rollback", code=PART)
    assert "check 'sleep 600' did not end within 1 s" in hangs.error["message"]
    with RawServer(drip) as server:
        done = rollout(staged, "--resume", "--check-url", server.endpoint, *limit, code=PART)
    assert "did not answer within 1 s" in done.error["message"]
    assert "No such file" in rollout(staged, "--stages", "main,late", "--check", "/no/such", code=PART).error["message"]


# People


@pytest.mark.parametrize(("key", "code"), [("y\n", 0), ("n\n", PART)])
def test_person_is_asked_between_stages(staged: Site, line: list[str], key: str, code: int) -> None:
    with Terminal("rollout", *STAGES, cwd=staged.root, environ=staged.dagctl.environ) as terminal:
        terminal.wait_text("canary: moved. On to main? [y/N]")
        assert lives(staged) == (line[1], line[0])
        terminal.type(key)
        assert terminal.end() == code
        if code:
            assert "stopped after stage canary; to go on: dagctl rollout --resume" in terminal.text()
    assert lives(staged) == (line[1], line[0] if code else line[1]), "a no is no failure: nothing is rolled back"


def test_announcements_of_start_end_and_failure(staged: Site) -> None:
    posts: list[str] = []

    def take(connection: Any) -> None:
        head, _, body = server.requests[-1].partition("\r\n\r\n")
        length = next(int(row.split(": ")[1]) for row in head.split("\r\n") if row.startswith("Content-Length"))
        while len(body.encode()) < length:
            body += connection.recv(65536).decode()
        posts.append(json.loads(body)["text"])
        reply("200 OK")(connection)

    with RawServer(take) as server:
        rollout(staged, *STAGES, DAGFERRY_ANNOUNCE=server.endpoint)
        assert [text.split()[1] for text in posts] == ["promote", "promote", "rollout"]
        rollout(staged, "--stages", "main,late", "--check", "false", code=PART, DAGFERRY_ANNOUNCE=server.endpoint)
        assert "rollout" in posts[-1]
        assert "FAILED" in posts[-1]


# Pods


def channel_pod(fleet: Fleet, channel: str, **settings: str) -> None:
    """Start one pod more, on a channel."""
    pod = SitePod(fleet.directory / f"pod-{11 + len(fleet.pods)}", fleet.site)
    pod.settings["channel"] = channel
    http = f"{fleet.network}.{11 + len(fleet.pods)}:{fleet.port}"
    fleet.pods.append(pod)
    fleet.running.append(pod.run(http=http, **settings))
    fleet.dns.names(*fleet.addresses)


def test_stages_wait_for_their_pods_and_a_failure_limit_rolls_back(staged: Site, pods: Fleet, line: list[str]) -> None:
    """Of main's pods one refuses the release: within the limit it goes through, above it everything comes back."""
    site = staged
    channel_pod(pods, "canary")
    for _ in range(2):
        channel_pod(pods, "main")
    refuses = python(f"import os,sys; sys.exit(os.environ['DAGFERRY_COMMIT'] == {line[1]!r})")
    channel_pod(pods, "main", check_command=refuses)
    for one in pods.running:
        wait_commit(one, line[1] if one is pods.running[0] else line[0])

    done = pods.dagctl("rollout", *STAGES, "--wait", "--timeout", "3s", "--json", code=PART)
    assert "stage main failed: live on 2 of 3 pods after 3 s" in done.error["message"]
    assert "check-failed" in done.error["message"]
    assert lives(site) == (line[0], line[0])
    for one in pods.running:
        wait_commit(one, line[0])

    for channel in ("canary", "main"):
        site.dagctl("resume", "--channel", channel)
    site.publish(line[2], "--channel", "canary")
    site.dagctl("promote", "--from", "canary", "--to", "main")
    for one in pods.running:
        wait_commit(one, line[2])
    site.publish(line[3], "--channel", "canary")
    pods.running[3].kill()
    limit = ("--wait", "--failure-limit", "50%", "--pause", "1s", "--timeout", "30s")
    done = pods.dagctl("rollout", *STAGES, *limit, "--json")
    assert done.json["done"]
    assert [stage["state"] for stage in done.json["stages"]] == ["live on 1 of 2 pods", "live on 2 of 3 pods"]
