"""``DagferryBundle`` without Airflow: which version it takes, from where, and what it says when there is none."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import options
from dagferry_puller.airflow import held
from dagferry_puller.airflow.errors import BundleUnavailable
from support import fakeairflow
from support.bundles import Simulator, small_tree
from support.pods import Pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.bundles import Published


class Scene:
    """A sidecar's root, a store, and bundles on them.

    Args:
        directory: for all of it.
    """

    def __init__(self, directory: Path) -> None:
        self.simulator = Simulator(directory / "store")
        self.pod = Pod(directory, self.simulator)
        self.storage = directory / "bundles"
        self.sidecar = {"root": str(self.pod.root)}
        self.own = {"store": self.simulator.url, "channel": "main", "trust": str(self.pod.trust)}

    @property
    def own_root(self) -> Path:
        return self.storage / "etl" / "dagferry"

    def bundle(self, version: str | None = None, /, **kwargs: Any) -> Any:
        from dagferry_puller.airflow import DagferryBundle

        return DagferryBundle(name="etl", version=version, **kwargs)

    def deliver(self, word: str, **settings: str) -> Published:
        published = self.simulator.publish(small_tree(word), word)
        self.pull(**settings)
        return published

    def pull(self, **settings: str) -> None:
        done = self.pod.once(**settings)
        assert done.code == 0, done.stderr


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for name in [name for name in os.environ if name.startswith("DAGFERRY_")]:
        monkeypatch.delenv(name)
    fakeairflow.install(monkeypatch, tmp_path / "bundles")
    monkeypatch.setattr(held.recent, "_held", [])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return Scene(tmp_path)


def no_parsing(bundle: Any) -> Any:
    """Return a bundle that does not ask for files to be parsed: there is no Airflow to ask."""
    from dagferry_puller.airflow.reparse import Reparse

    class Quiet(Reparse):
        def _ask(self, path: Path) -> None:
            self.asked = path

    bundle._reparse = Quiet("etl")
    return bundle


def test_import_loads_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import dagferry_puller.airflow\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "assert new == {'dagferry_puller'}, new\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_package_has_nothing_else_to_offer() -> None:
    import dagferry_puller.airflow

    with pytest.raises(AttributeError, match="no attribute 'Bundle'"):
        _ = dagferry_puller.airflow.Bundle  # type: ignore[attr-defined]


def test_sidecar_needs_neither_cryptography_nor_the_s3_library(tmp_path: Path) -> None:
    code = (
        "import sys; from dagferry_puller.airflow import errors, held, sidecar\n"
        "assert not {'cryptography', 'obstore', 'zstandard'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_construction_touches_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scene.bundle  # loads the modules
    scene.bundle()

    def touched(*arguments: object, **_: object) -> None:
        raise AssertionError(f"touched {arguments}")

    for name in ("open", "stat", "lstat", "listdir", "readlink", "mkdir", "makedirs", "scandir"):
        monkeypatch.setattr(os, name, touched)
    monkeypatch.setattr("builtins.open", touched)
    bundle = made("x", **scene.sidecar, **scene.own, keep=3, no_fsync=True)
    monkeypatch.undo()
    assert bundle._given["keep"] == "3"
    assert bundle._given["no_fsync"] == "true"


def test_every_setting_is_an_option_of_the_puller_and_a_typo_is_refused(scene: Scene) -> None:
    scene.bundle()
    from dagferry_puller.airflow.bundle import OPTIONS

    once = {option.attribute for option in options.OPTIONS if "once" in option.modes}
    assert set(OPTIONS) <= once
    assert once - set(OPTIONS) == {
        "root", "link", "commit", "pin", "no_link", "no_retry", "offline_ok", "log_format", "log_level",
    }  # fmt: skip
    with pytest.raises(TypeError, match="stroe"):
        scene.bundle(stroe="file:///x")


def test_newest_version_is_what_the_sidecar_has_live(scene: Scene) -> None:
    one = scene.deliver("one")
    bundle = no_parsing(scene.bundle(**scene.sidecar))
    assert bundle.supports_versioning
    bundle.initialize()
    assert bundle.is_initialized
    assert bundle.path == scene.pod.version(one.version)
    assert bundle.get_current_version().version == one.version
    two = scene.deliver("two")
    assert bundle.path == scene.pod.version(one.version)  # until Airflow asks for another one
    bundle.refresh()
    assert (bundle.path, bundle.get_current_version().version) == (scene.pod.version(two.version), two.version)
    assert bundle._reparse.asked == bundle.path


@pytest.mark.parametrize("prefix", [None, "/elsewhere"])
def test_no_bytecode_is_written_into_a_version(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, prefix: str | None
) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", prefix)
    scene.deliver("one")
    scene.bundle(**scene.sidecar).initialize()
    assert sys.dont_write_bytecode == (prefix is None)


def test_version_before_3_3_is_a_plain_string(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakeairflow.install(monkeypatch, tmp_path / "bundles", with_versions=False)
    scene = Scene(tmp_path)
    one = scene.deliver("one")
    assert scene.bundle(**scene.sidecar).get_current_version() == one.version


def test_versions_are_leased_by_the_bundle_and_for_an_hour(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = {"keep": "1", "keep_hours": "0"}
    now = [0.0]
    monkeypatch.setattr(held, "recent", held.Recent(lambda: now[0]))
    monkeypatch.setattr("dagferry_puller.airflow.sidecar.recent", held.recent)
    versions = []
    bundle = no_parsing(scene.bundle(**scene.sidecar))
    for word in ("one", "two", "three", "four"):
        versions.append(scene.deliver(word, **policy).version)
        bundle.refresh()
    assert scene.pod.versions() == set(versions)
    now[0] = 4000.0
    bundle.refresh()
    scene.deliver("five", **policy)
    # four is the volume's previous one, and three what the bundle had before.
    assert scene.pod.versions() == {*versions[2:], scene.pod.live()}


def test_pinned_version_is_taken_from_the_sidecar_while_another_is_live(scene: Scene) -> None:
    one, two = scene.deliver("one"), scene.deliver("two")
    bundle = scene.bundle(one.version, **scene.sidecar)
    assert bundle.path == scene.pod.version(one.version)
    bundle.initialize()
    bundle.refresh()
    assert bundle.path == scene.pod.version(one.version)
    assert bundle.get_current_version().version == one.version
    assert scene.pod.live() == two.version
    assert not scene.own_root.exists()


def test_pinned_version_that_the_sidecar_lacks_is_fetched_beside_it(scene: Scene) -> None:
    one = scene.simulator.publish(small_tree("one"), "one")
    scene.deliver("two")
    bundle = scene.bundle(one.version, **scene.sidecar, **scene.own)
    bundle.initialize()
    assert bundle.path == scene.own_root / "versions" / one.version
    assert (bundle.path / "etl.py").read_text() == "VERSION = 'one'\n"
    assert one.version not in scene.pod.versions()


def test_pinned_version_that_is_nowhere_says_what_to_set(scene: Scene) -> None:
    scene.deliver("one")
    version = f"{'0' * 40}-{'1' * 64}"
    for kwargs, words in ((scene.sidecar, str(scene.pod.root)), ({}, "none is set")):
        with pytest.raises(BundleUnavailable, match="--keep, --keep-hours") as caught:
            scene.bundle(version, **kwargs).initialize()
        assert words in str(caught.value)
        assert f"no version {version}" in str(caught.value)
        assert "nothing to parse or to run" in str(caught.value)


def test_root_that_nobody_filled_says_what_to_set(scene: Scene) -> None:
    for kwargs in (scene.sidecar, {}):
        bundle = scene.bundle(**kwargs)
        assert bundle.get_current_version() is None
        assert not bundle.path.exists()
        with pytest.raises(BundleUnavailable, match="set root to the sidecar's volume, or store, channel and trust"):
            bundle.initialize()


def test_root_without_a_live_version_is_never_answered_by_another_source(scene: Scene) -> None:
    one = scene.deliver("one")
    bundle = no_parsing(scene.bundle(**scene.sidecar, **scene.own))
    bundle.initialize()
    (scene.pod.root / "current").unlink()
    with pytest.raises(BundleUnavailable, match=f"nothing is live in .*Airflow goes on with {one.version[:12]}"):
        bundle.refresh()
    assert bundle.path == scene.pod.version(one.version)
    assert not scene.own_root.exists()


def test_version_without_the_subdirectory_is_not_taken(scene: Scene) -> None:
    one = scene.deliver("one")
    bundle = no_parsing(scene.bundle(**scene.sidecar, subdir="lib"))
    bundle.initialize()
    assert bundle.path == scene.pod.version(one.version) / "lib"
    scene.simulator.publish({"etl.py": ""}, "two")
    scene.pull()
    with pytest.raises(BundleUnavailable, match="has no directory 'lib'"):
        bundle.refresh()
    assert bundle.path == scene.pod.version(one.version) / "lib"


def test_own_storage_follows_the_channel(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    one = scene.simulator.publish(small_tree("one"), "one")
    monkeypatch.setenv("DAGFERRY_PIN", "nonsense of the sidecar's")
    bundle = no_parsing(scene.bundle(**scene.own, no_fsync=True))
    bundle.initialize()
    assert bundle.path == scene.own_root / "versions" / one.version
    two = scene.simulator.publish(small_tree("two"), "two")
    bundle.refresh()
    assert bundle.get_current_version().version == two.version


def test_outage_is_an_error_but_not_at_a_start_with_a_verified_version(scene: Scene) -> None:
    one = scene.simulator.publish(small_tree("one"), "one")
    scene.bundle(**scene.own).initialize()
    shutil.rmtree(scene.simulator.directory)
    bundle = no_parsing(scene.bundle(**scene.own))
    bundle.initialize()
    bundle.refresh()
    assert bundle.get_current_version().version == one.version
    with pytest.raises(BundleUnavailable, match="no newest version") as caught:
        bundle.refresh()
    assert f"Airflow goes on with {one.version[:12]}; this is tried again by itself" in str(caught.value)


def spoil_tree(scene: Scene, published: Published) -> None:
    path = scene.own_root / "versions" / published.version / "etl.py"
    path.chmod(0o644)
    path.write_text("VERSION = 'evil'\n")


def lose_release(scene: Scene, published: Published) -> None:
    (scene.own_root / ".dagferry" / "envelopes" / f"{published.pointer.release}.json").unlink()


def lose_version(scene: Scene, published: Published) -> None:
    shutil.rmtree(scene.own_root / "versions" / published.version)


def lose_all(scene: Scene, _: Published) -> None:
    shutil.rmtree(scene.own_root)


@pytest.mark.parametrize("spoil", [spoil_tree, lose_release, lose_version, lose_all])
def test_outage_at_a_start_without_a_verified_version_is_an_error(
    scene: Scene, spoil: Callable[[Scene, Published], None]
) -> None:
    one = scene.simulator.publish(small_tree("one"), "one")
    scene.bundle(**scene.own).initialize()
    shutil.rmtree(scene.simulator.directory)
    spoil(scene, one)
    with pytest.raises(BundleUnavailable, match="nothing to parse or to run"):
        scene.bundle(**scene.own).initialize()


def test_pinned_version_is_repaired_without_a_start_of_the_puller_if_it_is_whole(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scene.simulator.publish(small_tree("one"), "one")
    scene.bundle(one.version, **scene.own).initialize()
    spoil_tree(scene, one)
    bundle = scene.bundle(one.version, **scene.own)
    bundle.initialize()
    assert (bundle.path / "etl.py").read_text() == "VERSION = 'one'\n"
    monkeypatch.setattr(subprocess, "run", None)
    scene.bundle(one.version, **scene.own).initialize()


def test_wrong_setting_is_named(scene: Scene) -> None:
    scene.simulator.publish(small_tree("one"), "one")
    for kwargs, words in (
        ({"keep": "none"}, "--keep"),
        ({"timeout": "soon"}, "--timeout"),
        ({"trust": "/x"}, "--trust"),
    ):
        with pytest.raises(BundleUnavailable, match=words):
            scene.bundle(**{**scene.own, **kwargs}).initialize()


def test_puller_that_hangs_is_ended(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagferry_puller.airflow import storage

    monkeypatch.setattr(storage, "_SPARE_SECONDS", 0.1)
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    with pytest.raises(BundleUnavailable, match="did not end within its timeout, and was ended"):
        scene.bundle(**scene.own, timeout="0.1").initialize()


def test_puller_that_dies_without_a_word_is_reported(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(BundleUnavailable, match="dagferry-puller once ended with 1"):
        scene.bundle(**scene.own).initialize()


def test_version_that_is_retired_before_it_is_leased_is_pulled_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from dagferry_puller.airflow.storage import Storage

    one = scene.simulator.publish(small_tree("one"), "one")
    real, pulls = Storage._pull, []

    def pull(self: Storage, version: str | None) -> None:
        real(self, version)
        pulls.append(version)
        if len(pulls) < 3:
            shutil.rmtree(scene.own_root / "versions" / one.version)

    monkeypatch.setattr(Storage, "_pull", pull)
    scene.bundle(one.version, **scene.own).initialize()
    assert pulls == [one.version] * 3
    assert "was retired at once" in caplog.text


def test_versions_link_to_their_commit(scene: Scene) -> None:
    bundle = scene.bundle(**scene.sidecar)
    assert bundle.view_url_template() is None
    one = scene.deliver("one")
    source = one.release.source
    template = bundle.view_url_template()
    assert template.format(version=one.version) == f"{source.repository}/-/commit/{source.commit}"
    assert template.format(version=None) == f"{source.repository}/-/commit/None"
    assert (
        scene.bundle(**scene.sidecar, view_url_template="https://x/{version}").view_url_template()
        == "https://x/{version}"
    )
    kept = scene.pod.root / ".dagferry" / "envelopes" / f"{one.pointer.release}.json"
    kept.write_bytes(b"{}")
    assert bundle.view_url_template() is None
    kept.unlink()
    assert bundle.view_url_template() is None


def test_versions_link_by_the_trust_file_before_the_first_pull(scene: Scene) -> None:
    bundle = scene.bundle(**scene.own)
    assert bundle.view_url_template().startswith(f"{scene.simulator.trust().channels['main'].repository}/-/commit/")
    scene.pod.trust.write_text("{}")
    assert bundle.view_url_template() is None


@pytest.mark.parametrize(
    ("repository", "expected"),
    [("https://git.example.org/{a}", "https://git.example.org/{a}/-/commit/"), ("file:///srv/git/x", None)],
)
def test_repository_is_taken_literally_and_only_as_a_web_address(
    scene: Scene, repository: str, expected: str | None
) -> None:
    scene.simulator.write_trust(scene.pod.trust, repository=repository)
    template = scene.bundle(**scene.own).view_url_template()
    assert (template and template.format(version="")) == expected


def test_note_that_airflow_takes_of_a_version_is_locked_while_it_is_used(scene: Scene) -> None:
    one = scene.deliver("one")
    note = scene.storage / "_tracking" / "etl" / one.version
    note.parent.mkdir(parents=True)
    note.write_text("now")
    bundle = scene.bundle(one.version, **scene.sidecar)
    bundle.initialize()
    assert (scene.storage / "etl" / "versions" / one.version).is_dir()
    with note.open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        del bundle
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_storage_that_cannot_be_written_is_no_hindrance_with_a_sidecar(scene: Scene) -> None:
    one = scene.deliver("one")
    scene.storage.write_text("in the way")
    scene.bundle(one.version, **scene.sidecar).initialize()
