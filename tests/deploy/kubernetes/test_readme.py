"""deploy/kubernetes/README.md: its commands, and the names in it."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import yaml

from support.dagctl import TOP
from support.manifests import KUBERNETES, rendered, tool

if TYPE_CHECKING:
    from pathlib import Path

README = (KUBERNETES / "README.md").read_text(encoding="utf-8")


def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "deploy").symlink_to(TOP / "deploy")
    (script,) = re.findall(r"<!-- step -->\n```bash\n(.*?)```", README, re.DOTALL)
    path = f"{tool('kubectl').parent}:{os.environ['PATH']}"
    environ = {"PATH": path, "HOME": str(tmp_path), "KEY": "reader", "SECRET": "secret"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environ, check=True)
    secret = yaml.safe_load((tmp_path / "secret.yaml").read_text())
    assert secret["metadata"]["name"] == "dagferry-s3"
    assert secret["data"].keys() == {"AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert tuple(yaml.safe_load_all((tmp_path / "dagferry.yaml").read_text())) == rendered("sidecar")


def test_the_table_names_each_component_and_its_label() -> None:
    rows = re.findall(r"^\|[^|]*\| `([\w-]+)` \|[^|\n]*?(?:`(dagferry-mode: \w+)`)? *\|", README, re.MULTILINE)
    assert {name for name, _ in rows} == {path.name for path in (KUBERNETES / "components").iterdir()}
    for name, label in rows:
        selected = (KUBERNETES / "components" / name / "kustomization.yaml").read_text()
        assert label.replace(": ", "=") in selected
        assert bool(label) == ("labelSelector" in selected)
