"""Pages for users and operators: each command is run or says why not, and all of them are read by our parsers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support import docblocks, docwords
from support.dagctl import Dagctl, clean_environ
from support.docblocks import SHELL, TOP, Block

if TYPE_CHECKING:
    from pathlib import Path

# What runs blocks: the kind of their comment, and on which pages.
RUN_BY = {
    "tour": {"README.md": "tests/e2e/test_readme.py"},
    "runbook": {"SECURITY.md": "tests/e2e/test_readme.py"},
    "step": {
        "deploy/ceph/README.md": "tests/rgw/setup/test_ceph_readme.py",
        "deploy/kubernetes/README.md": "tests/deploy/kubernetes/test_readme.py",
    },
    "run": {"deploy/": "tests/deploy/docs/test_runbook.py", "puller/": "tests/deploy/docs/test_runbook.py"},
}
PAGES = docblocks.pages()
NAMES = [str(page.relative_to(TOP)) for page in PAGES]
BLOCKS = [block for page in PAGES for block in docblocks.blocks(page)]
OURS = re.compile(r"\b(dagctl|dagferry-puller|dagferry-check)\b")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in SHELL], ids=str)
def test_shell_block_is_run_or_says_why_not(block: Block) -> None:
    if block.kind == "not run":
        assert len(block.words.split()) > 1, f"{block}: <!-- not run: WHY --> gives no reason"
        return
    by = RUN_BY.get(block.kind, {})
    assert any(block.page.startswith(page) for page in by), (
        f"{block}: put <!-- run: SCENE --> (tests/support/scenes.py has the scenes) or <!-- not run: WHY --> above it"
    )


@pytest.mark.parametrize("block", [b for b in BLOCKS if OURS.search(b.text) and b.language != "text"], ids=str)
def test_commands_of_a_block_are_understood_by_our_parsers(block: Block) -> None:
    if block.language in SHELL | {"", "dockerfile"}:
        text = (
            block.text if block.language else "\n".join(re.findall(r"^(?:dag\w+-?\w* .*)$", block.text, re.MULTILINE))
        )
        for words in docwords.commands(text):
            problem = docwords.problem(words)
            assert not problem, f"{block}: {' '.join(words)}: {problem}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_indented_commands_are_understood_too(page: Path) -> None:
    lines = re.findall(r"^    (dag[a-z-]+ .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    for words in docwords.commands("\n".join(lines)):
        problem = docwords.problem(words)
        assert not problem, f"{' '.join(words)}: {problem}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_options_named_in_the_text_exist(page: Path) -> None:
    unknown = {span: docwords.unknown_options(span) for span in docblocks.spans(page)}
    assert not {span: options for span, options in unknown.items() if options}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in docblocks.links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {path}"
        if anchor and target.suffix == ".md":
            assert anchor in docblocks.anchors(target), f"{page.name}: {path}#{anchor}"


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("dagctl publish --dry-run", ""),
        ("dagctl publish --dryrun", "--dryrun"),
        ("dagctl publsh", "no command publsh"),
        ("dagctl trust add-key ci.pub --channel main", "--role"),
        ("dagctl trust add-key …", ""),
        ("dagctl rollback --to", "--to"),
        ("X=1 dagctl --context prod history --limit 3 | head > out", ""),
        ("kubectl exec -n airflow pod -c dagferry -- dagferry-puller once --rot /dags", "--rot"),
        ("dagferry-puller run … --check-command 'dagferry-check --compil'", "--compil"),
        ('echo "$(date)" && dagferry-puller relay --targets dns://x:1  # --no-such', ""),
    ],
)
def test_a_wrong_option_is_found(line: str, wrong: str) -> None:
    found = [docwords.problem(words) for words in docwords.commands(line)]
    assert found
    assert all(not problem for problem in found) if not wrong else any(wrong in problem for problem in found), found


def test_a_wrong_option_in_a_span_is_found() -> None:
    assert docwords.unknown_options("dagctl trust floor N --channel C") == []
    assert docwords.unknown_options("dagctl trust floor N --chanel C") == ["--chanel"]
    assert docwords.unknown_options("dagferry-puller once --pin X --link y --period 1s") == ["--period"]


# Alert rules and dashboards link to these: a heading may be renamed only together with them.
ANCHORS = (
    "store-unreachable refused not-ready stale diverged equivocation revoked tampered disk-full expiry hook-failing "
    "airflow-not-told relay-failing puller-down held rotate-keys compromised-key bucket-lost emergency-publish upgrade "
    "bad-deploy stuck-rollout pointer-behind pod-behind store-denied store-full bug install"
)


def test_anchors_that_alerts_link_to_are_there() -> None:
    assert set(ANCHORS.split()) <= docblocks.anchors(TOP / "deploy/README.md")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_metrics_named_in_the_text_exist(page: Path) -> None:
    sources = (TOP / "puller/dagferry_puller").glob("**/*.py")
    literals = {word for path in sources for word in re.findall(r'"([a-z_]+)"', path.read_text(encoding="utf-8"))}
    named = set(re.findall(r"dagferry_(?:puller|relay)_([a-z_]+[a-z])\b(?!\.)", page.read_text(encoding="utf-8")))
    assert not {name for name in named if name not in literals}


def test_settings_of_whoever_is_on_call_are_known(tmp_path: Path) -> None:
    (block,) = (b for b in docblocks.blocks(TOP / "deploy/README.md") if b.language == "toml")
    (tmp_path / "dagctl.toml").write_text(block.text)
    shown = Dagctl(tmp_path, clean_environ(tmp_path))("config", "--json").json["settings"]
    assert shown["targets"]["value"] == "dns://dagferry-pods.airflow.svc.cluster.local:9474"
    assert shown["pointer-key"]["value"].endswith("/operator.key")
