"""The component's scripts, run as a runner's shell runs them, on a real repository and an S3 API."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.gitlabci import checkout
from support.pods import COMMAND, Running

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.gitlab.conftest import Project

CONFLICT, HELD, UNKNOWN, UNREACHABLE, TIMED_OUT = 4, 5, 6, 7, 11
ANOTHER_USER = 12345
REASON = """imports "fail"; $(id) `id` 'x'."""  # words, whatever a shell might see in them


def result(project: Project, name: str) -> dict[str, Any]:
    """Return the artifact of the job that ran last."""
    (path,) = project.job(name)["artifacts"]["paths"]
    place = project.runner.predefined["CI_PROJECT_DIR"]
    with open(f"{place}/{path}", encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
        return found


def head(project: Project) -> str:
    return project.repo.git("rev-parse", "HEAD")


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_publish_rollback_held_refresh_and_verify(project: Project) -> None:
    first = head(project)
    shown = project.run("publish", first).stdout
    assert result(project, "publish")["pointer"]["commit"] == first
    assert first in shown, "it is in the job's log, too"
    second = project.repo.commit({"dags/etl.py": "A = 2\n"})
    project.run("publish", second)
    published = result(project, "publish")["pointer"]
    assert (published["commit"], published["actor"]) == (second, "ann")
    assert published["expires"] > published["issued"]

    project.run("rollback", second, TO=first[:12], REASON=REASON)
    rolled = result(project, "rollback")["pointer"]
    assert (rolled["commit"], rolled["action"], rolled["reason"]) == (first, "rollback", REASON)
    third = project.repo.commit({"dags/etl.py": "A = 3\n"})
    done = project.run("publish", third, code=HELD)
    assert json.loads(done.stderr.splitlines()[-1])["error"]["exit_code"] == HELD
    assert HELD in project.job("publish")["allow_failure"]["exit_codes"]

    project.run("refresh", third)
    refreshed = result(project, "refresh")["pointer"]
    assert (refreshed["commit"], refreshed["action"], refreshed["held"]["actor"]) == (first, "refresh", "ann")
    project.run("verify", third)
    assert result(project, "verify")["findings"] == []


def test_rollback_without_variables_goes_to_what_was_live_before(project: Project) -> None:
    first = head(project)
    project.run("publish", first)
    second = project.repo.commit({"dags/etl.py": "A = 2\n"})
    project.run("publish", second)
    project.run("rollback", second)
    assert result(project, "rollback")["pointer"]["commit"] == first


def test_a_publish_that_is_run_again_changes_nothing(project: Project) -> None:
    project.run("publish", head(project))
    project.run("publish", head(project))
    assert result(project, "publish")["changed"] is False


def test_the_job_waits_until_pods_have_the_commit(project: Project) -> None:
    commit = head(project)
    settings = project.runner.environ | project.runner.variables(project.job("publish"))
    words = [
        "--bundle",
        "analytics",
        "--root",
        "pod",
        "--period",
        "0.2",
        "--http",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ]
    log = project.directory / "puller.log"
    trust = {"DAGFERRY_TRUST": str(project.repo.path / "trust.json")}
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "run", *words], cwd=project.directory, env=settings | trust, stderr=file)
    try:
        pod = Running(process, log, http=True)
        project.runner.project["DAGFERRY_TARGETS"] = f"http://127.0.0.1:{pod.port}"
        project.run("publish", commit)
        assert pod.status()["live"]["commit"] == commit
        project.runner.project |= {"DAGFERRY_TARGETS": "http://127.0.0.1:9", "DAGFERRY_TIMEOUT": "1s"}
        project.run("publish", commit, code=TIMED_OUT)
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_a_late_pipeline_does_not_overtake_and_is_not_tried_again(project: Project) -> None:
    first = head(project)
    second = project.repo.commit({"dags/etl.py": "A = 2\n"})
    project.run("publish", second)
    project.run("publish", first, code=CONFLICT)
    assert CONFLICT not in project.job("publish")["retry"]["exit_codes"]


def test_a_shallow_clone_is_deepened(project: Project) -> None:
    project.run("publish", head(project))
    for number in range(2, 6):
        last = project.repo.commit({"dags/etl.py": f"A = {number}\n"})
    clone = checkout(project.repo.path, project.directory / "shallow", last, "1")
    project.run("publish", last, clone=clone)


def test_a_shallow_clone_that_cannot_be_deepened_names_the_cure(project: Project) -> None:
    project.run("publish", head(project))
    for number in range(2, 6):
        last = project.repo.commit({"dags/etl.py": f"A = {number}\n"})
    clone = checkout(project.repo.path, project.directory / "shallow", last, "1")
    project.repo.path.rename(project.directory / "gone")
    assert "GIT_DEPTH: 0" in project.run("publish", last, clone=clone, code=UNKNOWN).stderr
    assert project.runner.variables(project.job("publish"))["GIT_DEPTH"] == "0", "the component's own has the cure"


def test_a_store_that_is_away_ends_with_the_code_that_is_tried_again(project: Project) -> None:
    project.runner.project |= {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "DAGFERRY_STORE_WAIT": "0s"}
    project.run("publish", head(project), code=UNREACHABLE)
    assert project.job("publish")["retry"] == {"max": 2, "when": ["runner_system_failure"], "exit_codes": [UNREACHABLE]}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a clone to another user")
def test_a_clone_that_another_user_made_is_read(project: Project) -> None:
    commit = head(project)
    clone = project.clone("publish", commit)
    for directory, _, files in os.walk(clone):
        for path in (directory, *(f"{directory}/{name}" for name in files)):
            os.chown(path, ANOTHER_USER, ANOTHER_USER)
    project.run("publish", commit, clone=clone)


def test_no_secret_is_shown(project: Project, keys: Path) -> None:
    done = project.run("publish", head(project))
    secret = (keys / "ci.key").read_text().splitlines()[1]
    artifact = json.dumps(result(project, "publish"))
    for text in (done.stdout, done.stderr, artifact):
        assert secret not in text
        assert project.runner.project["AWS_SECRET_ACCESS_KEY"] not in text


def test_the_check_of_a_merge_request_needs_no_variable_of_the_project(project: Project) -> None:
    project.runner.project.clear()
    project.run("check", head(project))
    broken = project.repo.commit({"dags/etl.py": "def broken(:\n"})
    done = project.run("check", broken, code=3)
    assert "etl.py" in done.stdout + done.stderr


def test_the_check_refuses_what_a_puller_would_refuse(project: Project) -> None:
    project.runner.project.clear()
    (project.repo.path / "dags/away").symlink_to("/etc/passwd")
    commit = project.repo.commit({})
    project.run("check", commit, code=3)
