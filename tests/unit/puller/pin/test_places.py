"""Where a DAGs folder leads, and the lease of what was found."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import leases
from dagferry_puller.airflow import place, process
from dagferry_puller.airflow.place import Place
from support.handvolume import ONE, TWO

if TYPE_CHECKING:
    from pathlib import Path

    from support.handvolume import HandVolume


def test_a_folder_is_found_through_the_link_below_it_and_through_a_symlink_to_it(
    tmp_path: Path, volume: HandVolume
) -> None:
    current = str(volume.path / "current")
    (tmp_path / "dags").symlink_to(current)
    for folder, link in ((current, current), (f"{current}/etl", current), (f"{tmp_path}/dags", f"{tmp_path}/dags")):
        assert place.find(folder) == Place(link, str(volume.path), ONE)


@pytest.mark.parametrize("name", ["elsewhere", "root/versions", "nothing"])
def test_a_folder_that_no_link_of_ours_leads_to_is_not_found(tmp_path: Path, volume: HandVolume, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert place.find(str(tmp_path / name)) is None


def test_a_link_to_a_directory_that_has_no_version_s_name_is_not_found(volume: HandVolume) -> None:
    (volume.path / "versions/checkout").mkdir()
    volume.swap("checkout")
    assert place.find(str(volume.path / "current")) is None


def test_paths_are_mapped_there_and_back_by_whole_components(volume: HandVolume) -> None:
    there = Place("/dags/current", "/dags", ONE)
    assert there.to_real("/dags/current/a.py") == f"/dags/versions/{ONE}/a.py"
    assert there.to_link(f"/dags/versions/{ONE}/a.py") == "/dags/current/a.py"
    assert there.to_link(f"/dags/versions/{ONE}") == "/dags/current"
    for same in ("/dags/currently/a.py", f"/dags/versions/{TWO}/a.py", "a.py"):
        assert there.to_real(same) == there.to_link(same) == same


def test_a_path_is_pinned_whichever_symlink_leads_there(tmp_path: Path, volume: HandVolume) -> None:
    pin = place.find(str(volume.path / "current"))
    assert pin
    (tmp_path / "plugins").symlink_to(volume.path / "current/plugins")
    volume.swap(TWO)
    for path in (f"{tmp_path}/plugins", f"{volume.path}/current/plugins", f"{volume.real(TWO)}/plugins"):
        assert pin.pinned(path) == f"{volume.real(ONE)}/plugins"
    assert pin.pinned(volume.real(TWO)) == pin.pinned(volume.real(ONE)) == volume.real(ONE)
    assert pin.pinned(str(tmp_path)) is None


def test_a_version_that_is_retired_while_it_is_taken_is_not_taken(
    volume: HandVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = leases.lease

    def retired_first(root: str, *, version: str) -> Any:
        if version == ONE:
            (volume.path / ".dagferry/leases" / ONE).unlink()
            volume.swap(TWO)
        return real(root, version=version)

    monkeypatch.setattr(leases, "lease", retired_first)
    with ExitStack() as stack:
        found = process.hold(str(volume.path / "current"), stack)
        assert found
        assert found.version == TWO
        assert volume.is_leased(TWO)
    assert not volume.is_leased(TWO)


def test_a_version_without_lease_is_never_taken(volume: HandVolume) -> None:
    (volume.path / ".dagferry/leases" / ONE).unlink()
    with ExitStack() as stack:
        assert process.hold(str(volume.path / "current"), stack) is None


def test_where_locks_do_not_work_the_version_is_used_and_that_is_said(
    volume: HandVolume, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(root: str, *, version: str) -> Any:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(leases, "lease", no_locks)
    with ExitStack() as stack:
        found = process.hold(str(volume.path / "current"), stack)
    assert found
    assert found.version == ONE
    assert "only the grace time keeps it" in caplog.text
