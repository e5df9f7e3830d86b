"""The component itself: GitLab's own schema, inputs, which job runs when, and what no script may hold."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dagferry_publisher.settings import KNOWN, variable
from deploy.gitlab.conftest import COMPONENT, IMAGE
from support.dagctl import TOP
from support.gitlabci import extended, include, when
from support.manifests import tool

if TYPE_CHECKING:
    from pathlib import Path

GIVEN = {"image": IMAGE, "store": "s3://dags/prod"}
FULL = GIVEN | {
    "channel": "canary",
    "branch": "release",
    "expires": "7d",
    "targets": "dns://dagferry-pods:9474",
    "name": "canary",
}
README = (TOP / "deploy/gitlab/README.md").read_text(encoding="utf-8")
SPEC, TEMPLATE = yaml.safe_load_all(COMPONENT.read_text(encoding="utf-8"))
MAIN = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_PROTECTED": "true"}
REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_COMMIT_REF_PROTECTED": "false"}


def schema_says(document: Any, directory: Path) -> subprocess.CompletedProcess[str]:
    """Ask check-jsonschema, which brings GitLab's schema along: nothing is fetched."""
    path = directory / "document.json"
    path.write_text(json.dumps(document))
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.gitlab-ci", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pipeline(inputs: dict[str, str], variables: dict[str, str]) -> dict[str, str]:
    """Return the jobs of a pipeline and how each is started."""
    jobs = include(COMPONENT, inputs)
    found = {name.partition(":")[2]: when(extended(jobs, name), variables) for name in jobs if not name.startswith(".")}
    return {name: start for name, start in found.items() if start != "never"}


@pytest.mark.parametrize("document", [SPEC, include(COMPONENT, GIVEN), include(COMPONENT, FULL)])
def test_gitlabs_schema_accepts_it(document: Any, tmp_path: Path) -> None:
    done = schema_says(document, tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "broken",
    [
        {"a": {"script": ["true"], "retry": {"max": 2, "exit_code": [7]}}},
        {"a": {"script": ["true"], "allow_failure": {"exit_codes": ["held"]}}},
        {"a": {"script": ["true"], "environment": {"name": "x", "action": "look"}}},
        {"spec": {"inputs": {"a": {"type": "word"}}}},
    ],
)
def test_the_schema_finds_such_mistakes(broken: Any, tmp_path: Path) -> None:
    assert schema_says(broken, tmp_path).returncode == 1


def test_every_input_that_is_declared_is_used_and_the_reverse() -> None:
    used = set(re.findall(r"\$\[\[ inputs\.([\w-]+) \]\]", COMPONENT.read_text(encoding="utf-8")))
    assert used == SPEC["spec"]["inputs"].keys()


@pytest.mark.parametrize("wrong", [{"channel": "Main"}, {"store": "dags"}, {"expires": "soon"}, {"stagee": "x"}])
def test_wrong_inputs_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"input.*{next(iter(wrong))}"):
        include(COMPONENT, GIVEN | wrong)


@pytest.mark.parametrize("missing", ["image", "store"])
def test_what_has_no_default_is_needed(missing: str) -> None:
    with pytest.raises(ValueError, match=f"input {missing} is needed"):
        include(COMPONENT, {name: value for name, value in GIVEN.items() if name != missing})


ON_MAIN = {"publish": "on_success", "rollback": "manual"}
SCHEDULED = {"rollback": "manual", "verify": "on_success"}


@pytest.mark.parametrize(
    ("changes", "expires", "jobs"),
    [
        ({}, "", ON_MAIN),
        ({"CI_PIPELINE_SOURCE": "web"}, "", ON_MAIN),
        ({"CI_COMMIT_BRANCH": "feature"}, "", {}),
        ({"CI_COMMIT_REF_PROTECTED": "false"}, "7d", {}),
        ({"CI_PIPELINE_SOURCE": "schedule"}, "", SCHEDULED),
        ({"CI_PIPELINE_SOURCE": "schedule"}, "7d", SCHEDULED | {"refresh": "on_success"}),
        ({"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "feature"}, "7d", {}),
        ({"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_REF_PROTECTED": "false"}, "7d", {}),
    ],
)
def test_which_jobs_a_pipeline_has(changes: dict[str, str], expires: str, jobs: dict[str, str]) -> None:
    assert pipeline(GIVEN | {"expires": expires}, MAIN | changes) == jobs


def test_a_merge_request_is_checked_and_nothing_else() -> None:
    assert pipeline(FULL, REQUEST) == {"check": "on_success"}


def test_a_tag_publishes_nothing() -> None:
    assert (
        pipeline(GIVEN, {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "v1", "CI_COMMIT_REF_PROTECTED": "true"}) == {}
    )


def test_two_channels_in_one_project_share_no_job_and_no_queue() -> None:
    one, two = include(COMPONENT, GIVEN), include(COMPONENT, FULL)
    assert not one.keys() & two.keys()
    groups = {extended(jobs, name).get("resource_group") for jobs in (one, two) for name in jobs if ":" in name}
    assert groups == {None, "dagferry/main", "canary/canary"}


def test_nothing_is_pasted_into_a_script_and_no_script_names_a_secret() -> None:
    for name, job in TEMPLATE.items():
        script = "\n".join(job.get("script", []))
        assert "$[[" not in script, name
        assert not re.search(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", script), name


def test_each_variable_is_one_that_dagctl_reads() -> None:
    read = {variable(option) for option in KNOWN} | {"DAGFERRY_QUORUM", "DAGFERRY_TIMEOUT"}  # of dagctl wait alone
    for name, job in TEMPLATE.items():
        ours = {key for key in job.get("variables", {}) if key.startswith("DAGFERRY_")}
        assert ours <= read, name


def test_what_changes_the_store_is_never_interrupted() -> None:
    jobs = include(COMPONENT, FULL)
    stopped = {name for name in jobs if extended(jobs, name)["interruptible"]}
    assert stopped == {"canary:check"}


def test_only_a_publish_is_a_deployment_in_gitlab() -> None:
    jobs = include(COMPONENT, GIVEN)
    actions = {name: extended(jobs, name).get("environment", {}).get("action", "start") for name in jobs if ":" in name}
    del actions["dagferry:check"]
    assert [name for name, action in actions.items() if action == "start"] == ["dagferry:publish"]


def test_the_readme_has_each_input_and_its_examples_are_pipelines(tmp_path: Path) -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]*) \|", README, re.MULTILINE))
    defaults = {name: facts.get("default", "needed") for name, facts in SPEC["spec"]["inputs"].items()}
    assert {name: text.strip("` ") for name, text in rows.items()} == defaults
    examples = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    for text in examples:
        document = yaml.safe_load(text)
        done = schema_says(document, tmp_path)
        assert done.returncode == 0, done.stdout
        for included in document.get("include", []):
            include(COMPONENT, included["inputs"])
    assert len(examples) == 2
