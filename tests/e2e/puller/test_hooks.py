"""Hooks after a swap: told of each version that stays, again after failures and restarts, never in the swap's way."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.bundles import Simulator, commit_id, small_tree
from support.pods import Pod
from support.raw_server import RawServer, reply
from support.waiting import wait_for

if TYPE_CHECKING:
    from support.pods import Running

SECRET = "TOKENSHOWNNOWHERE"
TAKEN = reply("204 No Content")


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def noting(file: Path, more: str = "") -> str:
    """A command that appends what it was told to a file."""
    return python(
        "import os,sys,json\n"
        "told={k:v for k,v in os.environ.items() if k.startswith(('DAGFERRY_','AWS_'))}\n"
        f"open({str(file)!r},'a').write(json.dumps([sys.argv[1], told])+'\\n')\n{more}"
    )


def told(file: Path) -> list[tuple[str, dict[str, str]]]:
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def hook(running: Running, name: str, state: str = "done", version: str | None = None) -> dict[str, Any]:
    """Wait until a hook is in a state; returns it."""

    def is_there(status: dict[str, Any]) -> bool:
        known = status["hooks"].get(name, {})
        return known.get("state") == state and (version is None or known["version"] == version)

    found: dict[str, Any] = running.wait(f"hook {name} is {state}", is_there)["hooks"][name]
    return found


def bodies(server: RawServer) -> list[dict[str, Any]]:
    return [json.loads(request.partition("\r\n\r\n")[2]) for request in server.requests]


def port(server: RawServer) -> str:
    return server.endpoint.replace("localhost", "127.0.0.1")


def test_all_three_are_told_of_each_swap(pod: Pod, simulator: Simulator, tmp_path: Path) -> None:
    simulator.write_trust(pod.trust, allow_dev=True)
    first = simulator.publish(small_tree("one"), "a")
    seen, touched = tmp_path / "seen", tmp_path / "touched"
    with RawServer(TAKEN) as server:
        environ = {"AWS_SECRET_ACCESS_KEY": SECRET, "DAGFERRY_WEBHOOK": f"{port(server)}/x/{SECRET}?a=1"}
        running = pod.run(exec_hook=noting(seen), touch_file=str(touched), environ=environ)
        for name in ("exec", "webhook", "touch"):
            assert hook(running, name, version=first.version)["successes"] == 1
        before = touched.stat().st_mtime_ns
        second = simulator.publish(small_tree("two"), "b", release_changes={"dev": True})
        for name in ("exec", "webhook", "touch"):
            hook(running, name, version=second.version)
        assert touched.stat().st_mtime_ns > before
        (_, environment), (path, facts) = told(seen)
        assert environment["DAGFERRY_HOOK_DEV"] == "false"
        assert Path(path) == pod.version(second.version)
        assert Path(path, "etl.py").read_text() == "VERSION = 'two'\n"
        assert "AWS_SECRET_ACCESS_KEY" not in environment
        assert "DAGFERRY_WEBHOOK" not in environment
        wanted = {
            "COMMIT": commit_id("b"),
            "VERSION": second.version,
            "CHANNEL": "main",
            "DEV": "true",
            "SEQUENCE": "2",
            "ATTEMPT": "1",
        }
        assert {name: facts[f"DAGFERRY_HOOK_{name}"] for name in wanted} == wanted
        assert facts["DAGFERRY_HOOK_LINK"] == str(pod.root / "current")
        one, two = bodies(server)
        assert (one["event"], two["id"]) == ("swap", facts["DAGFERRY_HOOK_ID"])
        assert set(two) - {"event"} == {name.removeprefix("DAGFERRY_HOOK_").lower() for name in facts if "HOOK" in name}
        assert server.requests[0].startswith(f"POST /x/{SECRET}?a=1 HTTP/1.1\r\n")
        assert f"\r\nIdempotency-Key: {two['id']}\r\n" in server.requests[1]
        shown = running.text() + running.request("/status").body + running.request("/metrics").body
    assert SECRET not in shown


def test_hook_that_fails_is_tried_again_and_the_swap_stands(pod: Pod, simulator: Simulator, tmp_path: Path) -> None:
    first = simulator.publish(small_tree("one"), "a")
    seen = tmp_path / "seen"
    fails = f"n=sum(1 for _ in open({str(seen)!r})); print('not yet'); raise SystemExit(n < 3)"
    running = pod.run(exec_hook=noting(seen, fails))
    running.wait_live(first.version)
    info = hook(running, "exec", "failing")
    assert info["problem"] == "ended with 1: not yet"
    assert running.ready()
    info = hook(running, "exec")
    assert (info["failures"], info["successes"], info["attempts"]) == (2, 1, 3)
    assert len({facts["DAGFERRY_HOOK_ID"] for _, facts in told(seen)}) == 1, "the same id at each attempt"
    assert [facts["DAGFERRY_HOOK_ATTEMPT"] for _, facts in told(seen)] == ["1", "2", "3"]
    assert [record["message"] for record in running.logs("warning")].count("exec hook: ended with 1: not yet") == 1
    metrics = running.metrics()
    assert metrics['dagferry_puller_hook_attempts_total{hook="exec",result="failure"}'] == 2
    assert metrics['dagferry_puller_hook_attempts_total{hook="exec",result="success"}'] == 1
    assert metrics['dagferry_puller_hook_due{hook="exec"}'] == 0
    assert list(text_string_to_metric_families(running.request("/metrics").body))


def test_hook_that_hangs_holds_up_neither_swaps_nor_the_others_nor_the_end(
    pod: Pod, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.publish(small_tree("one"), "a")
    pids = tmp_path / "pids"
    hangs = python(f"import os,time; open({str(pids)!r},'a').write(f'{{os.getpid()}}\\n'); time.sleep(600)")
    touched = tmp_path / "touched"
    running = pod.run(exec_hook=hangs, hook_timeout="1h", touch_file=str(touched))
    wait_for(lambda: pids.exists() and pids.read_text().endswith("\n"), "the hook runs")
    second = simulator.publish(small_tree("two"), "b")
    running.wait_live(second.version)
    hook(running, "touch", version=second.version)
    assert hook(running, "exec", "running")["version"] != second.version, "one at a time; the newest comes next"
    assert running.stop() == 0
    wait_for(lambda: not is_running(int(pids.read_text())), "what the hook started ends with the puller")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def test_attempt_has_a_deadline(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    running = pod.run(exec_hook=python("import time; time.sleep(600)"), hook_timeout="1s")
    assert hook(running, "exec", "failing")["problem"] == "did not end within 1 s"


def test_only_the_newest_of_several_swaps_is_told(pod: Pod, simulator: Simulator, tmp_path: Path) -> None:
    simulator.publish(small_tree("one"), "a")
    seen, gate = tmp_path / "seen", tmp_path / "gate"
    waits = f"import time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)"
    running = pod.run(exec_hook=noting(seen, waits))
    wait_for(lambda: told(seen), "the first is under way")
    for number, word in enumerate(("b", "c", "d")):
        last = simulator.publish(small_tree(f"v{number}"), word)
        running.wait_live(last.version)
    gate.touch()
    hook(running, "exec", version=last.version)
    commits = [facts["DAGFERRY_HOOK_COMMIT"] for _, facts in told(seen)]
    assert commits == [commit_id("a"), commit_id("d")]


def test_newer_version_is_told_at_once_although_the_last_one_failed(
    pod: Pod, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.publish(small_tree("one"), "a")
    seen = tmp_path / "seen"
    fails = f"raise SystemExit(os.environ['DAGFERRY_HOOK_COMMIT'] == {commit_id('a')!r})"
    running = pod.run(exec_hook=noting(seen, fails))
    running.wait("it failed some times", lambda s: s["hooks"]["exec"]["failures"] >= 2)
    second = simulator.publish(small_tree("two"), "b")
    assert hook(running, "exec", version=second.version)["attempts"] == 1


# Restarts


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_restart_tells_again_only_what_never_succeeded(
    pod: Pod, simulator: Simulator, tmp_path: Path, end: int
) -> None:
    first = simulator.publish(small_tree("one"), "a")
    seen, good = tmp_path / "seen", tmp_path / "good"
    command = noting(seen, f"raise SystemExit(not os.path.exists({str(good)!r}))")
    running = pod.run(exec_hook=command)
    hook(running, "exec", "failing")
    running.signal(end)
    running.process.wait(timeout=20)
    good.touch()
    attempts = len(told(seen))
    running = pod.run(exec_hook=command)
    hook(running, "exec", version=first.version)
    assert len(told(seen)) == attempts + 1
    running.signal(end)
    running.process.wait(timeout=20)
    running = pod.run(exec_hook=command)
    assert hook(running, "exec", version=first.version)["successes"] == 0
    assert len(told(seen)) == attempts + 1, "it had succeeded"


def test_version_that_comes_back_is_told_again(pod: Pod, simulator: Simulator, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    simulator.publish(small_tree("one"), "a")
    running = pod.run(exec_hook=noting(seen))
    hook(running, "exec")
    for word, tree in (("b", "two"), ("a", "one")):
        last = simulator.publish(small_tree(tree), word)
        hook(running, "exec", version=last.version)
    ids = [facts["DAGFERRY_HOOK_ID"] for _, facts in told(seen)]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 9000, b'{"succeeded": 5}', b'{"succeeded": "\\u0007"}'])
def test_damaged_memory_costs_a_second_telling(pod: Pod, simulator: Simulator, tmp_path: Path, content: bytes) -> None:
    simulator.publish(small_tree("one"), "a")
    seen = tmp_path / "seen"
    running = pod.run(exec_hook=noting(seen))
    hook(running, "exec")
    running.stop()
    memory = pod.root / ".dagferry/hook-exec.json"
    assert json.loads(memory.read_text())["succeeded"] == told(seen)[0][1]["DAGFERRY_HOOK_ID"]
    memory.write_bytes(content)
    running = pod.run(exec_hook=noting(seen))
    hook(running, "exec")
    assert len(told(seen)) == 2


def test_standby_tells_nobody_until_it_owns_the_root(pod: Pod, simulator: Simulator, tmp_path: Path) -> None:
    simulator.publish(small_tree("one"), "a")
    owner = pod.run()
    owner.wait("live", lambda s: s["ready"])
    touched = tmp_path / "touched"
    standby = pod.run(touch_file=str(touched))
    standby.wait("it stands by", lambda s: s["role"] == "standby" and s["ready"])
    standby.wait_syncs()
    assert not touched.exists()
    owner.kill()
    hook(standby, "touch")
    assert touched.exists()


# Webhooks


def drip(connection: Any) -> None:
    try:
        while True:
            connection.sendall(b"H")
            time.sleep(0.1)
    except OSError:
        return


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply("500 Oops"), "it answered 500"),
        (reply("302 Found", Location="http://127.0.0.1:1/"), "it answered 302"),
        (drip, "no answer within 1 s"),
        (lambda connection: connection.sendall(b"SSH-2.0-x\r\n"), "it does not speak HTTP"),
        (lambda connection: None, "it does not speak HTTP"),
        (lambda connection: connection.sendall(b"x" * 100_000), "it does not speak HTTP"),
    ],
)
def test_webhook_that_does_not_take_it_is_tried_again(pod: Pod, simulator: Simulator, answer: Any, words: str) -> None:
    simulator.publish(small_tree("one"), "a")
    with RawServer(answer, TAKEN) as server:
        running = pod.run(webhook=port(server), hook_timeout="1s")
        hook(running, "webhook")
        assert running.status()["hooks"]["webhook"]["failures"] == 1
        assert f"webhook hook: {words}" in [record["message"] for record in running.logs("warning")]
        assert [body["attempt"] for body in bodies(server)] == [1, 2]


def test_webhooks_token_and_address_come_from_files(pod: Pod, simulator: Simulator, tmp_path: Path) -> None:
    simulator.publish(small_tree("one"), "a")
    url, token = tmp_path / "url", tmp_path / "token"
    with RawServer(TAKEN) as server:
        url.write_text(f"{port(server)}/{SECRET}\n")
        token.write_text(f"{SECRET}\n")
        running = pod.run(webhook_file=str(url), webhook_token_file=str(token))
        hook(running, "webhook")
        assert f"\r\nAuthorization: Bearer {SECRET}\r\n" in server.requests[0]
        assert SECRET not in running.text() + running.request("/status").body


def test_webhook_that_is_gone_or_has_a_wrong_certificate(pod: Pod, simulator: Simulator, tmp_path: Path) -> None:
    simulator.publish(small_tree("one"), "a")
    running = pod.run(webhook="http://127.0.0.1:1/")
    assert hook(running, "webhook", "failing")["problem"] == "Connection refused"
    running.stop()
    from support.tls import Authority, context

    authority = Authority(tmp_path)
    with RawServer(TAKEN, tls=context(authority.server())) as server:
        running = pod.run(webhook=server.endpoint)
        assert "CERTIFICATE" in str(hook(running, "webhook", "failing")["problem"]).upper()
        running.stop()
        running = pod.run(webhook=server.endpoint, environ={"SSL_CERT_FILE": str(authority.path)})
        hook(running, "webhook")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"webhook": "ftp://x/"}, "--webhook (or DAGFERRY_WEBHOOK): is not http[s]://"),
        ({"webhook": f"http://u:{SECRET}@x/"}, "holds credentials: use --webhook-token-file"),
        ({"webhook": "http://x:99999/"}, "--webhook (or DAGFERRY_WEBHOOK)"),
        ({"webhook_file": "/does/not/exist"}, "--webhook-file: cannot read it: No such file"),
        ({"webhook": "http://x/", "webhook_token_file": "/does/not/exist"}, "--webhook-token-file"),
        ({"exec_hook": "'"}, "--exec-hook"),
        ({"hook_timeout": "0"}, "--hook-timeout"),
    ],
)
def test_wrong_setting_ends_the_start(pod: Pod, simulator: Simulator, settings: dict[str, str], words: str) -> None:
    import subprocess

    simulator.publish(small_tree("one"), "a")
    done = subprocess.run(pod.arguments("run", **settings), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert words in done.stderr
    assert SECRET not in done.stderr


def test_command_that_is_not_there_and_file_that_cannot_be_touched(
    pod: Pod, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.publish(small_tree("one"), "a")
    running = pod.run(exec_hook="/no/such/command", touch_file=f"{tmp_path}/none/x")
    assert hook(running, "exec", "failing")["problem"] == "'/no/such/command': No such file or directory"
    assert hook(running, "touch", "failing")["problem"] == "No such file or directory"
    os.mkdir(tmp_path / "none")
    hook(running, "touch")
