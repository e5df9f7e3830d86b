"""``dagctl log``: one journal of all channels, filtered, followed, exported; and the export verified offline."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.sites import copy_store
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.dagctl import Result
    from support.sites import Site

REFUSED, USAGE = 3, 2


@pytest.fixture
def busy(site: Site, line: list[str]) -> Site:
    """Two channels, three actors, five entries."""
    site.publish(line[0], "--reason", "first")
    site.publish(line[1], DAGFERRY_ACTOR="ci")
    site.dagctl("promote", "--from", "main", "--to", "canary", DAGFERRY_ACTOR="ann")
    site.publish(line[2], DAGFERRY_ACTOR="ci")
    site.dagctl("rollback", "--reason", "imports fail", DAGFERRY_ACTOR="ann.admin")
    return site


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.out.splitlines()]


def short(entries: list[dict[str, Any]]) -> list[str]:
    return [f"{entry['channel']} {entry['sequence']} {entry['action']}" for entry in entries]


ALL = ["main 4 rollback", "main 3 publish", "canary 1 promote", "main 2 publish", "main 1 publish"]


def test_all_channels_are_one_journal_newest_first(busy: Site) -> None:
    assert short(lines(busy.dagctl("log", "--json"))) == ALL
    out = busy.dagctl("log").out
    assert [row.split()[2] for row in out.splitlines()[1:]] == ["main", "main", "canary", "main", "main"]
    assert "held" in out.splitlines()[1]
    assert "imports fail" in out.splitlines()[1]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--limit", "2"], ALL[:2]),
        (["--action", "rollback"], ALL[:1]),
        (["--action", "rollback", "--action", "promote"], [ALL[0], ALL[2]]),
        (["--actor", "ann"], [ALL[2]]),
        (["--actor", "ann*"], [ALL[0], ALL[2]]),
        (["--actor", "tester", "--actor", "ann"], [ALL[2], ALL[4]]),
        (["--channel", "canary"], [ALL[2]]),
        (["--actor", "ci", "--action", "rollback"], []),
        (["--since", "1h"], ALL),
        (["--since", "2000-01-01"], ALL),
        (["--since", "2000-01-01T00:00:00Z"], ALL),
        (["--since", "2999-01-01T00:00:00.000Z"], []),
    ],
)
def test_filters(busy: Site, words: list[str], wanted: list[str]) -> None:
    assert short(lines(busy.dagctl("log", "--json", *words))) == wanted


def test_commit_filter_finds_all_that_was_done_with_it(busy: Site, line: list[str]) -> None:
    assert short(lines(busy.dagctl("log", "--json", "--commit", line[1][:8]))) == [ALL[0], ALL[2], ALL[3]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--action", "deploy"], "is none of: publish, rollback"),
        (["--commit", "abc"], "takes 7 hex digits"),
        (["--commit", "zzzzzzzz"], "takes 7 hex digits"),
        (["--since", "yesterday"], "neither a duration"),
        (["--since", "2026-02-30"], "neither a duration"),
        (["--interval", "0"], "must be above zero"),
        (["--export", "/does/not/exist/x"], "cannot be written"),
    ],
)
def test_wrong_filter_is_named(busy: Site, words: list[str], message: str) -> None:
    assert message in busy.dagctl("log", *words, code=USAGE).message


def test_old_entries_are_not_read_for_since(busy: Site) -> None:
    """Only what can be recent enough is fetched: with a broken old chain there is nothing to complain about."""
    (busy.bundle / "channels/main/history/1-1.json").unlink()
    assert lines(busy.dagctl("log", "--json", "--since", "2999-01-01")) == []
    done = busy.dagctl("log", "--json", code=REFUSED)
    assert short(lines(done)) == ALL[:4], "what is whole is shown"
    assert json.loads(done.err.splitlines()[0])["warning"]["reason"] == "broken-chain"
    assert "dagctl verify says more" in done.err.splitlines()[1]


def test_channel_that_trust_does_not_know_is_left_out_aloud(busy: Site) -> None:
    (busy.bundle / "channels/strange").mkdir()
    (busy.bundle / "channels/strange/pointer.json").write_text("{}")
    done = busy.dagctl("log")
    assert "channel strange is left out: the trust file does not know it" in done.err


# Following


class Follow:
    """``dagctl log --follow`` as a process."""

    def __init__(self, site: Site, *words: str) -> None:
        command = [sys.executable, "-m", "dagferry_publisher", "log", "--follow", "--interval", "1s", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=site.root, env=site.dagctl.environ, text=True, **pipes)
        self._said = {"stdout": self._read(self.process.stdout), "stderr": self._read(self.process.stderr)}

    @staticmethod
    def _read(pipe: Any) -> queue.SimpleQueue[str]:
        found: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=lambda: [found.put(line) for line in pipe], daemon=True).start()
        return found

    def next(self, stream: str = "stdout") -> str:
        """Return its next line; an error if none comes in time."""
        return self._said[stream].get(timeout=30)

    def end(self) -> bool:
        """End it with Ctrl-C; tells whether nothing more was said."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=20) == 0
        return all(said.empty() for said in self._said.values())


@pytest.fixture
def follow(busy: Site) -> Iterator[Follow]:
    made = Follow(busy, "--json", "--limit", "2")
    with made.process:
        yield made
        if made.process.poll() is None:
            made.process.kill()


def test_follow_shows_what_is_there_oldest_first_and_then_what_comes(
    follow: Follow, busy: Site, line: list[str]
) -> None:
    assert short([json.loads(follow.next()) for _ in range(2)]) == [ALL[1], ALL[0]]
    busy.dagctl("resume")
    busy.publish(line[3])
    busy.dagctl("promote", "--from", "main", "--to", "canary")
    later = short([json.loads(follow.next()) for _ in range(3)])
    assert sorted(later) == ["canary 2 promote", "main 5 resume", "main 6 publish"]
    assert later.index("main 5 resume") < later.index("main 6 publish")
    assert follow.end()


def test_follow_warns_when_a_pointer_goes_back_and_when_the_store_is_away(
    follow: Follow, busy: Site, tmp_path: Path, line: list[str]
) -> None:
    [follow.next() for _ in range(2)]
    copy_store(busy, tmp_path / "old")
    busy.dagctl("resume")
    assert json.loads(follow.next())["action"] == "resume"
    pointer = "analytics/v1/channels/main/pointer.json"
    (busy.store / pointer).write_bytes((tmp_path / "old" / pointer).read_bytes())
    warning = json.loads(follow.next("stderr"))["warning"]
    assert warning["reason"] == "rollback"
    assert "went back from 1-5 to 1-4: was the bucket restored?" in warning["message"]
    busy.dagctl("hold", "--channel", "canary")
    assert short([json.loads(follow.next())]) == ["canary 2 hold"], "the other channel is followed all the same"


def test_follow_in_words(busy: Site) -> None:
    made = Follow(busy, "--limit", "1", "--channel", "main")
    with made.process:
        assert "main  1-4  rollback" in made.next()
        made.end()


# Export


@pytest.fixture
def exported(busy: Site, tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    done = busy.dagctl("log", "--export", path, "--json").json
    assert done == {"export": str(path), "bundle": "analytics", "objects": 2 + 5 + 3}
    assert [p.name for p in path.parent.glob(".audit*")] == []
    return path


def offline(site: Site, path: Path, code: int = 0) -> Result:
    """Verify with the trust file and nothing else."""
    kept = {name: site.dagctl.environ[name] for name in ("HOME", "PYTHONPATH", "DAGFERRY_TRUST", "PATH")}
    site.dagctl.environ.clear()
    site.dagctl.environ.update(kept)
    return site.dagctl("verify", "--export", path, "--json", code=code)


def test_export_verifies_offline_and_says_where_each_channel_ends(busy: Site, exported: Path, line: list[str]) -> None:
    busy.store.rename(busy.root / "gone")
    document = offline(busy, exported).json
    assert document["findings"] == []
    assert document["checked"]["history entries"] == 5
    assert document["checked"]["releases"] == 3
    assert any("channel main ends at 1-4 of 20" in note and line[1][:12] in note for note in document["notes"])
    assert any("the export says that it was made at 20" in note for note in document["notes"])


def test_expiry_is_no_finding_in_an_export(site: Site, line: list[str], tmp_path: Path) -> None:
    site.publish(line[0], "--expires", "1s")
    site.dagctl("log", "--export", tmp_path / "e")
    wait_for(lambda: "expired" in site.dagctl.ended("verify").err or "expired" in site.dagctl.ended("verify").out, "")
    document = offline(site, tmp_path / "e").json
    assert document["findings"] == []
    assert any("today: expired" in note for note in document["notes"])


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in path.read_text().splitlines()]


def store_rows(path: Path, documents: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in documents))


def test_every_object_that_is_missing_changed_or_exchanged_is_found(busy: Site, exported: Path) -> None:
    good = rows(exported)
    for index in range(1, len(good)):
        for change in ("gone", "damaged", "another"):
            changed = [dict(row) for row in good]
            if change == "gone":
                del changed[index]
            elif change == "damaged":
                changed[index]["text"] = changed[index]["text"].replace('"payload":"', '"payload":"AA', 1)
            else:
                changed[index]["text"] = good[1 + index % (len(good) - 1)]["text"]
            store_rows(exported, changed)
            done = busy.dagctl.ended("verify", "--export", exported, "--json")
            assert done.code == REFUSED, (change, good[index]["key"])


def test_export_that_was_cut_at_an_older_head_verifies_and_shows_that_head(busy: Site, exported: Path) -> None:
    """Nobody can see offline that newer entries are kept back: so the head is printed, to be compared."""
    good = rows(exported)
    older = next(row for row in good[1:] if row["key"].endswith("main/history/1-3.json"))
    cut = [row for row in good if not row.get("key", "").endswith(("main/history/1-4.json", "main/pointer.json"))]
    store_rows(exported, [*cut, older | {"key": "analytics/v1/channels/main/pointer.json"}])
    assert any("channel main ends at 1-3" in note for note in offline(busy, exported).json["notes"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [], "lacks 'format'"),
        (lambda rows: [rows[0] | {"format": "x"}], "not an export that this version knows"),
        (lambda rows: [rows[0] | {"bundle": "other"}], "an export of other, not of analytics"),
        (lambda rows: rows[:1], "holds no channel"),
        (lambda rows: [*rows, rows[-1]], "was there before"),
        (lambda rows: [*rows, {"key": "../x", "text": ""}], "no document's"),
        (lambda rows: [*rows, {"key": "analytics/v1/archives/x", "text": ""}], "no document's"),
        (lambda rows: [*rows, {"key": "analytics/v1/channels/../x", "text": ""}], "which is none"),
        (lambda rows: [*rows, {"key": "analytics/v1/releases/x", "base64": "!"}], "is not base64"),
        (lambda rows: [*rows, {"key": 1}], "is not a string"),
        (lambda rows: [*rows, {"key": "analytics/v1/releases/" + "x" * 2_000_000}], "too long"),
    ],
)
def test_what_is_no_export_is_refused(busy: Site, exported: Path, change: Any, words: str) -> None:
    store_rows(exported, change(rows(exported)))
    assert words in busy.dagctl("verify", "--export", exported, code=REFUSED).message


def test_half_an_export_is_refused(busy: Site, exported: Path) -> None:
    exported.write_bytes(exported.read_bytes()[:-10])
    assert "in the middle of a line" in busy.dagctl("verify", "--export", exported, code=REFUSED).message
    assert "cannot be read" in busy.dagctl("verify", "--export", exported.parent / "none", code=USAGE).message


def test_garbage_beside_the_chain_goes_with_the_export_and_is_found(busy: Site, tmp_path: Path) -> None:
    (busy.bundle / "channels/main/history/1-9.json").write_bytes(b"\xff\xfe garbage")
    (busy.bundle / "channels/main/history/1-8.json").write_bytes(b"x" * 100_000)
    busy.dagctl("log", "--export", tmp_path / "e")
    found = offline(busy, tmp_path / "e", code=REFUSED).json["findings"]
    assert sorted(finding["key"].rsplit("/", 1)[-1] for finding in found) == ["1-8.json", "1-9.json"]


def test_killed_export_leaves_nothing_of_that_name(busy: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("dagferry_publisher.export.write", fail)
    assert busy.dagctl.ended("log", "--export", tmp_path / "e").code != 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".e", "e"))] == []
