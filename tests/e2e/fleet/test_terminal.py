"""What a person sees of a fleet on a terminal."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagferry_puller.status import LiveInfo
from dagferry_shared import times
from support.portfixtures import Port
from support.terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sites import Site

COMMIT = "a1" * 20
LIVE = LiveInfo(f"{COMMIT}-{'b' * 64}", COMMIT, "b" * 64, "c" * 64, "https://x", "main")


@pytest.fixture
def port() -> Iterator[Port]:
    """A pod that is well."""
    with Port() as made:
        now = times.show(times.now())
        made.recorder.update(ready=True, live=LIVE, last_attempt=now, last_success=now, period=3600.0)
        yield made


def url(port: Port) -> str:
    return f"http://127.0.0.1:{port.number}"


def terminal(site: Site, *words: str) -> Terminal:
    return Terminal(*words, cwd=site.root, environ=site.dagctl.environ)


def test_watch_draws_the_table_again_in_place_and_ctrl_c_brings_the_screen_back(site: Site, port: Port) -> None:
    with terminal(site, "status", "--watch", "--interval", "1s", "--targets", url(port)) as shown:
        first = shown.wait_text("1 pods: 1 live")
        assert "live since (UTC)" in first
        assert COMMIT[:12] in first
        port.recorder.update(live=replace(LIVE, commit="d2" * 20, version=f"{'d2' * 20}-{'b' * 64}"), damaged=True)
        shown.wait_text("its live tree is not as it was signed")
        assert "1 pods: 1 damaged" in shown.text()
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 0
    assert "\x1b[?1049h" in shown.raw
    assert shown.raw.rindex("\x1b[?1049l") > shown.raw.rindex("\x1b[?1049h"), "the other screen is left"


def test_wait_draws_a_bar(site: Site, port: Port) -> None:
    with terminal(site, "wait", "--commit", COMMIT, "--channel", "main", "--targets", url(port)) as shown:
        assert shown.end() == 0
        assert "1/1" in shown.text()
        assert "is live on 1 of 1 pods" in shown.text()


def test_table_in_a_pipe_has_every_column_and_the_notes(site: Site, port: Port) -> None:
    out = site.dagctl("status", "--targets", url(port), DAGFERRY_STORE="").out
    assert "note: no store and trust file are set: pods are judged by each other alone" in out
    assert [word in out for word in ("pod", "host", "etl", "main", "0 s ago", COMMIT[:12], "1 pods: 1 live")].count(
        True
    ) >= 6


def test_watch_in_a_pipe_prints_table_after_table(site: Site, port: Port) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "dagferry_publisher", "status", "--watch", "--interval", "1s"]
    process = subprocess.Popen(
        [*command, "--targets", url(port)], env=site.dagctl.environ, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        tables = 0
        while tables < 2:
            tables += process.stdout.readline().startswith("--- 2")
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 0


def test_progress_in_a_pipe_is_a_line_at_each_change(site: Site, port: Port) -> None:
    done = site.dagctl("wait", "--commit", COMMIT[:7], "--targets", url(port))
    assert done.err == f"… live: {COMMIT[:7]}: 1 of 1\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status"], "--targets is needed"),
        (["status", "--targets", ","], "names no target"),
        (["status", "--targets", "pods:9474"], "is not dns://NAME:PORT or http://HOST:PORT"),
        (["status", "--targets", "http://pods/notify"], "pods are asked for /status alone"),
        (["status", "--targets", "@/does/not/exist"], "/does/not/exist"),
        (["status", "--targets", "http://127.0.0.1:1", "--interval", "0"], "--interval must be above zero"),
        (["status", "--targets", "http://127.0.0.1:1", "--deadline", "x"], "is not a duration"),
        (["wait", "--targets", "http://127.0.0.1:1", "--commit", "abc"], "takes 7 hex digits"),
        (["wait", "--targets", "http://127.0.0.1:1", "--commit", "zzzzzzz"], "takes 7 hex digits"),
        (["wait", "--targets", "http://127.0.0.1:1", "--commit", COMMIT, "--quorum", "0%"], "neither a share"),
    ],
)
def test_wrong_setting_is_named(site: Site, words: list[str], message: str) -> None:
    done = site.dagctl.ended(*words)
    assert done.code in {2, 3}
    assert message in done.err


def test_targets_come_from_a_file_and_from_a_context(site: Site, port: Port) -> None:
    file = site.root / "pods.txt"
    file.write_text(f"# our pods\n{url(port)}, {url(port)}/status  # twice\n\nhttp://127.0.0.1:1\n")
    (site.root / "dagctl.toml").write_text(f'context = "x"\n[contexts.x]\ntargets = ["@{file}"]\n')
    done = site.dagctl("status", "--json", code=13)
    assert done.json["counts"] == {"live": 1, "unreachable": 1}


def test_channel_shows_its_own_pods_alone(site: Site, port: Port) -> None:
    site.dagctl("status", "--targets", url(port), "--channel", "main")
    done = site.dagctl("status", "--targets", url(port), "--channel", "canary", "--json", code=13)
    assert done.json["pods"] == []
    done = site.dagctl(
        "wait", "--commit", COMMIT, "--channel", "canary", "--targets", url(port), "--timeout", "1s", code=11
    )
    assert "no pod of this channel answered" in done.err
