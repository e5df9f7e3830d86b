"""Commands over a real store whose line fails: at each request, in each way, the channel stays whole."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.cli import session
from dagferry_shared import times
from dagferry_shared.store.directory import DirectoryStore
from support.faultystore import Crash, Fault, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.sites import Site

    Break = Callable[[Callable[[int, str, str], Fault | None]], FaultyStore]

POINTER = "analytics/v1/channels/main/pointer.json"
LOSSES = [fault for fault in Fault if fault not in {Fault.CRASH_BEFORE, Fault.CRASH_AFTER}]


@pytest.fixture
def break_store(site: Site, monkeypatch: pytest.MonkeyPatch) -> Break:
    """Let commands in this process use a faulty line, until another one is made."""
    monkeypatch.setattr("dagferry_publisher.transaction.time.sleep", lambda _: None)

    def start(fault: Callable[[int, str, str], Fault | None]) -> FaultyStore:
        faulty = FaultyStore(DirectoryStore(site.store), fault)
        monkeypatch.setattr(session, "open_store", lambda _: faulty)
        return faulty

    return start


def on_commit(fault: Fault, times_: int = 1) -> Callable[[int, str, str], Fault | None]:
    """Do something to the first write(s) of the pointer."""
    left = [fault] * times_

    def decide(_: int, method: str, key: str) -> Fault | None:
        return left.pop() if left and key == POINTER and method in {"create", "replace"} else None

    return decide


def nothing(*_: object) -> None:
    """A line without faults."""


def pointer_is_valid(site: Site) -> None:
    """What a puller does with the live pointer: none, or one that every rule accepts with its release and archive."""
    chain = site.chain()
    raw = site.store / POINTER
    if not raw.exists():
        return
    signed = chain.rules.new_pointer(raw.read_bytes(), now=times.now())
    release = chain.release_of(signed.content, new=True).content
    assert (site.bundle / f"archives/{release.archive.sha256}.tar.zst").stat().st_size == release.archive.size


def chain_is_whole(site: Site) -> list[str]:
    """Verify, and return the actions of a chain that has no gap, oldest first."""
    document = site.dagctl("verify", "--all", "--json").json
    assert document["findings"] == []
    entries = site.dagctl("history", "--json").json["entries"][::-1]
    assert [entry["sequence"] for entry in entries] == list(range(1, len(entries) + 1))
    return [entry["action"] for entry in entries]


@pytest.mark.parametrize("published", [0, 1], ids=["first publish", "update"])
@pytest.mark.parametrize("fault", LOSSES)
def test_a_lost_answer_of_the_commit_neither_loses_nor_doubles_it(
    site: Site, line: list[str], break_store: Break, fault: Fault, published: int
) -> None:
    for commit in line[:published]:
        site.publish(commit)
    faulty = break_store(on_commit(fault))
    assert "publish: done" in site.publish(line[published]).out
    faulty.settle()
    assert site.live() == line[published]
    assert chain_is_whole(site) == ["publish"] * (published + 1)


@pytest.mark.parametrize("fault", LOSSES)
@pytest.mark.parametrize("command", ["rollback", "hold", "refresh"])
def test_a_lost_answer_is_no_second_entry_for_other_moves_either(
    site: Site, line: list[str], break_store: Break, fault: Fault, command: str
) -> None:
    for commit in line[:3]:
        site.publish(commit)
    faulty = break_store(on_commit(fault))
    assert f"{command}: done" in site.dagctl(command).out
    faulty.settle()
    assert chain_is_whole(site) == ["publish", "publish", "publish", command]
    assert site.live() == (line[1] if command == "rollback" else line[2])


def test_a_write_that_lands_after_the_next_publisher_has_read_is_found_in_the_history(
    site: Site, line: list[str], break_store: Break
) -> None:
    """Our write happened, its answer is lost, and somebody else publishes on top before we look again."""
    site.publish(line[0])
    state = {"other": False}

    def fault(_: int, method: str, key: str) -> Fault | None:
        if method == "replace" and key == POINTER and not state["other"]:
            state["other"] = True
            return Fault.LOST_AFTER
        if state["other"] and method == "get" and key == POINTER and state.pop("other", None):
            state["other"] = False
            other.publish(line[2])
        return None

    faulty = FaultyStore(DirectoryStore(site.store), fault)
    other = type(site)(site.root, site.keys, site.repo, site.dagctl)
    opened = iter([faulty, DirectoryStore(site.store)])
    break_store(nothing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "open_store", lambda _: next(opened))
        assert "publish: done" in site.publish(line[1]).out
    assert site.live() == line[2]
    break_store(nothing)
    assert chain_is_whole(site) == ["publish"] * 3


@pytest.mark.parametrize("before", [("keys", "analytics/v1/channels/main/history/"), ("create", POINTER)])
def test_a_first_publish_between_two_requests_of_another_is_no_lost_pointer_and_is_not_lost(
    site: Site, line: list[str], break_store: Break, before: tuple[str, str]
) -> None:
    """One sees no pointer, the other makes the channel, the one sees its history or makes the channel too."""
    seen = []

    def fault(_: int, method: str, key: str) -> Fault | None:
        if (method, key) == before and not seen:
            seen.append(key)
            break_store(nothing)
            site.publish(line[0])
        return None

    break_store(fault)
    site.publish(line[1])
    assert seen
    assert chain_is_whole(site) == ["publish", "publish"]


def test_a_store_that_stays_away_during_the_commit_says_that_it_is_not_known(
    site: Site, line: list[str], break_store: Break
) -> None:
    site.publish(line[0])
    gone = []

    def fault(_: int, method: str, key: str) -> Fault | None:
        if method == "replace" and key == POINTER:
            gone.append(key)
            return Fault.LOST_AFTER
        return Fault.LOST_BEFORE if gone else None

    break_store(fault)
    message = site.publish(line[1], code=7).message
    assert "it is not known whether the channel moved" in message
    assert "safe to repeat" in message
    break_store(nothing)
    assert "nothing changed" in site.publish(line[1]).out
    assert chain_is_whole(site) == ["publish", "publish"]


def test_a_commit_whose_history_copy_fails_says_that_it_is_live_and_the_next_move_repairs_it(
    site: Site, line: list[str], break_store: Break
) -> None:
    break_store(lambda _, method, key: Fault.LOST_BEFORE if "/history/" in key and method == "create" else None)
    message = site.publish(line[0], code=7).message
    assert "sequence 1 IS live, but its history copy could not be written" in message
    break_store(nothing)
    assert site.live() == line[0]
    finding = site.dagctl("verify", "--json", code=3).json["findings"]
    assert [row["key"] for row in finding] == ["analytics/v1/channels/main/history/1-1.json"]
    assert "the next publish writes it" in finding[0]["problem"]
    site.publish(line[1])
    assert chain_is_whole(site) == ["publish", "publish"]


def test_a_commit_after_which_the_store_is_away_says_that_it_is_live(
    site: Site, line: list[str], break_store: Break
) -> None:
    committed = []

    def fault(_: int, method: str, key: str) -> Fault | None:
        committed.extend([key] if "/history/" in key and method == "create" else [])
        return Fault.LOST_BEFORE if committed and method == "head" else None

    break_store(fault)
    message = site.publish(line[0], code=7).message
    assert f"{line[0][:12]} IS live, but it could not be seen" in message
    break_store(nothing)
    assert site.live() == line[0]
    assert "nothing changed" in site.publish(line[0]).out
    assert chain_is_whole(site) == ["publish"]


def test_objects_that_vanish_during_the_commit_are_written_again(
    site: Site, line: list[str], break_store: Break
) -> None:
    """A retention run takes archive and release between upload and commit."""

    def fault(_: int, method: str, key: str) -> Fault | None:
        if method == "create" and key == POINTER:
            for path in [*(site.bundle / "archives").iterdir(), *(site.bundle / "releases").iterdir()]:
                path.unlink()
        return None

    break_store(fault)
    site.publish(line[0])
    pointer_is_valid(site)
    assert chain_is_whole(site) == ["publish"]


def test_a_race_that_is_never_won_ends_as_a_conflict(
    site: Site, line: list[str], break_store: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish(line[0])
    monkeypatch.setattr("dagferry_publisher.transaction.MAX_ATTEMPTS", 5)
    store = DirectoryStore(site.store)

    def fault(_: int, method: str, key: str) -> Fault | None:
        if method == "replace" and key == POINTER:
            break_store(nothing)
            site.dagctl("refresh")
            monkeypatch.setattr(session, "open_store", lambda _: faulty)
        return None

    faulty = FaultyStore(store, fault)
    monkeypatch.setattr(session, "open_store", lambda _: faulty)
    assert "lost the race for channel main 5 times" in site.publish(line[1], code=4).message
    break_store(nothing)
    assert chain_is_whole(site) == ["publish", *["refresh"] * 5]


@pytest.mark.parametrize("when", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
@pytest.mark.parametrize("story", ["first publish", "update", "rollback"])
def test_a_crash_at_any_request_leaves_a_channel_that_the_next_command_completes(
    site: Site, line: list[str], break_store: Break, story: str, when: Fault
) -> None:
    published = 0 if story == "first publish" else 2
    command = ("rollback", "--no-hold") if story == "rollback" else ("publish", "--ref", "main", "--commit", line[2])
    for commit in line[:published]:
        site.publish(commit)
    snapshot = site.store.rename(site.root / "snapshot")
    shutil.copytree(snapshot, site.store)
    whole = break_store(nothing)
    site.dagctl(*command)
    requests = [number for number, (_, key) in enumerate(whole.log) if "/scratch/" not in key]
    assert len(requests) > 8
    for number in requests:
        shutil.rmtree(site.store)
        shutil.copytree(snapshot, site.store)
        break_store(lambda at, *_, number=number: when if at == number else None)
        with pytest.raises(Crash):
            site.dagctl(*command)
        break_store(nothing)
        pointer_is_valid(site)
        moved = published > 0 and site.pointer()["sequence"] > published
        site.dagctl(*command, code=8 if command[0] == "rollback" and moved else 0)  # nothing is left to go back to
        pointer_is_valid(site)
        site.dagctl("refresh")
        assert chain_is_whole(site) == ["publish"] * published + [command[0], "refresh"]
