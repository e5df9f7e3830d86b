"""As much of GitLab as a component's test needs: inputs, extends, rules, variables, and a runner's shell.

What each does is GitLab's documentation of CI/CD inputs, ``extends``, ``rules:if`` and the precedence of variables; the
script's frame is that of GitLab Runner's bash executor.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from support.gitrepos import git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_INPUT = re.compile(r"\$\[\[\s*inputs\.([\w-]+)\s*\]\]")
_VARIABLE = re.compile(r"\$\$|\$(\w+)|\$\{(\w+)\}")
_TERM = re.compile(r'\s*(?:\$(?P<name>\w+)|"(?P<text>[^"]*)"|(?P<operator>==|!=|&&|\|\|))\s*')


def substituted(value: Any, inputs: Mapping[str, str]) -> Any:
    """Put inputs into keys and values, as GitLab does on the parsed document."""
    if isinstance(value, dict):
        return {substituted(key, inputs): substituted(child, inputs) for key, child in value.items()}
    if isinstance(value, list):
        return [substituted(child, inputs) for child in value]
    return _INPUT.sub(lambda found: inputs[found[1]], value) if isinstance(value, str) else value


def include(component: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the jobs that a component adds to a pipeline.

    Raises:
        ValueError: an input is missing, unknown, or not what its regex allows.
    """
    spec, template = yaml.safe_load_all(component.read_text(encoding="utf-8"))
    declared = spec["spec"]["inputs"]
    inputs = dict(given)
    if unknown := inputs.keys() - declared.keys():
        raise ValueError(f"unknown inputs: {unknown}")
    for name, facts in declared.items():
        if "default" not in facts and name not in inputs:
            raise ValueError(f"input {name} is needed")
        inputs.setdefault(name, facts.get("default"))
        if "regex" in facts and not re.search(facts["regex"], inputs[name]):
            raise ValueError(f"input {name} does not match {facts['regex']}")
    jobs: dict[str, Any] = substituted(template, inputs)
    return jobs


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as ``extends`` does: mappings key by key, anything else is replaced."""
    both = {
        name: merged(base[name], over[name])
        for name in base.keys() & over.keys()
        if isinstance(base[name], dict) and isinstance(over[name], dict)
    }
    return {**base, **over, **both}


def extended(jobs: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a job with what it extends."""
    job = dict(jobs[name])
    parent = job.pop("extends", None)
    return merged(extended(jobs, parent), job) if parent else job


def holds(condition: str, variables: Mapping[str, str]) -> bool:
    """Evaluate a ``rules:if`` of ``== != && ||``; an unset variable equals no text."""
    terms: list[Any] = []
    position = 0
    while position < len(condition):
        found = _TERM.match(condition, position)
        assert found, f"not understood: {condition[position:]}"
        position = found.end()
        terms.append(found["operator"] or (variables.get(found["name"]) if found["name"] else found["text"]))
    alternatives: list[bool] = [True]
    for index in range(0, len(terms), 4):  # value, comparison, value, and perhaps && or ||
        left, operator, right = terms[index : index + 3]
        if index and terms[index - 1] == "||":
            alternatives.append(True)
        alternatives[-1] &= (left == right) == (operator == "==")
    return any(alternatives)


def when(job: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    """Return how a job is added to a pipeline: "on_success", "manual", "never"."""
    for rule in job["rules"]:
        if "if" not in rule or holds(rule["if"], variables):
            return str(rule.get("when", "on_success"))
    return "never"


def expanded(variables: Mapping[str, str]) -> dict[str, str]:
    """Put variables into the values of others."""
    return {
        name: _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], "") if found[0] != "$$" else "$", value)
        for name, value in variables.items()
    }


@dataclass
class Runner:
    """What runs jobs.

    Attributes:
        shell: ``bash`` or ``sh``: what the image has.
        environ: of the image.
        predefined: GitLab's own variables.
        project: those of the project's settings, which go before a job's.
    """

    shell: str
    environ: dict[str, str]
    predefined: dict[str, str]
    project: dict[str, str] = field(default_factory=dict)

    def variables(self, job: Mapping[str, Any], **manual: str) -> dict[str, str]:
        """Return a job's variables, by precedence."""
        return expanded({**self.predefined, **job.get("variables", {}), **self.project, **manual})

    def run(self, job: Mapping[str, Any], **manual: str) -> subprocess.CompletedProcess[str]:
        """Run a job's script in the project's directory."""
        variables = self.variables(job, **manual)
        lines = [*job.get("before_script", []), *job["script"]]
        body = "".join(f"echo {_quoted('$ ' + line)}\n{line}\n" for line in lines)
        frame = (
            "trap exit 1 TERM\n"
            "if set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit\n"
            f"set +o noclobber\n: | (eval {_quoted(body)})\nexit 0\n"
        )
        return subprocess.run(
            [self.shell],
            input=frame,
            cwd=variables["CI_PROJECT_DIR"],
            env={**self.environ, **variables},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def checkout(origin: Path, to: Path, commit: str, depth: str) -> Path:
    """Bring a commit of ``main`` into a directory as a runner does: fetched to a depth (0: whole), detached."""
    to.mkdir()
    git(to, "init", "--quiet")
    git(to, "remote", "add", "origin", f"file://{origin}")
    deep = [] if depth == "0" else [f"--depth={depth}"]
    git(to, "fetch", "--quiet", *deep, "origin", "+refs/heads/*:refs/remotes/origin/*")
    git(to, "checkout", "--quiet", "--force", "--detach", commit)
    return to
