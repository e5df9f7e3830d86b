"""Where settings come from and which one wins, as dagctl config says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.dagctl import Dagctl, clean_environ

if TYPE_CHECKING:
    from pathlib import Path

    from support.sites import Site

USAGE = 2


@pytest.fixture
def dagctl(tmp_path: Path) -> Dagctl:
    """No setting at all, in an empty directory."""
    (tmp_path / "work/below").mkdir(parents=True)
    (tmp_path / "home/.config/dagferry").mkdir(parents=True)
    environ = clean_environ(tmp_path / "home")
    del environ["DAGFERRY_STORE_WAIT"]
    return Dagctl(tmp_path / "work/below", environ)


def project_file(dagctl: Dagctl, text: str) -> Path:
    path = dagctl.cwd.parent / "dagctl.toml"
    path.write_text(text)
    return path


def user_file(dagctl: Dagctl, text: str) -> Path:
    path = dagctl.cwd.parents[1] / "home/.config/dagferry/config.toml"
    path.write_text(text)
    return path


def settings(dagctl: Dagctl, *arguments: str, **environ: str) -> dict[str, tuple[str, str]]:
    shown = dagctl(*arguments, "config", "--json", **environ).json["settings"]
    return {name: (row["value"], row["origin"]) for name, row in shown.items()}


def test_environment_wins_over_context_over_ci_over_nothing(dagctl: Dagctl) -> None:
    assert settings(dagctl) == {}
    ci = {"CI_COMMIT_REF_NAME": "from-ci", "CI_PROJECT_URL": "https://h/ci", "CI_COMMIT_SHA": "c1", "CI": "true"}
    assert settings(dagctl, **ci)["ref"] == ("from-ci", "CI_COMMIT_REF_NAME")
    file = project_file(dagctl, 'context = "prod"\n[contexts.prod]\nref = "from-file"\nchannel = "main"\n')
    found = settings(dagctl, **ci)
    assert found["ref"] == ("from-file", f"context prod in {file}")
    assert found["commit"] == ("c1", "CI_COMMIT_SHA")
    found = settings(dagctl, **ci, DAGFERRY_REF="from-env", DAGFERRY_CHANNEL="")
    assert found["ref"] == ("from-env", "DAGFERRY_REF")
    assert found["channel"] == ("main", f"context prod in {file}")


def test_an_option_wins_over_everything(site: Site, line: list[str]) -> None:
    (site.root / "dagctl.toml").write_text('context = "x"\n[contexts.x]\nref = "file"\nchannel = "file"\n')
    ci = {"CI_COMMIT_SHA": line[3], "CI_COMMIT_REF_NAME": "ci", "DAGFERRY_REF": "env"}
    site.dagctl("publish", "--commit", line[0], "--ref", "option", "--channel", "canary", **ci)
    assert site.dagctl("show", line[0], "--channel", "canary", "--json").json["ref"] == "option"
    site.dagctl("publish", "--channel", "canary", **ci)
    assert site.dagctl("show", line[3], "--channel", "canary", "--json").json["ref"] == "env"


def test_the_projects_file_wins_over_the_users_and_both_are_known(dagctl: Dagctl) -> None:
    user = user_file(dagctl, 'context = "dev"\n[contexts.dev]\nchannel = "u"\n[contexts.prod]\nchannel = "user"\n')
    assert settings(dagctl)["channel"] == ("u", f"context dev in {user}")
    project = project_file(dagctl, 'context = "prod"\n[contexts.prod]\nchannel = "project"\n')
    assert settings(dagctl)["channel"] == ("project", f"context prod in {project}")
    assert settings(dagctl, "--context", "dev")["channel"] == ("u", f"context dev in {user}")
    document = dagctl("context", "list", "--json").json
    assert document == {"chosen": "prod", "contexts": {"dev": str(user), "prod": str(project)}}


def test_the_nearest_project_file_is_taken(dagctl: Dagctl) -> None:
    project_file(dagctl, 'context = "far"\n[contexts.far]\n')
    (dagctl.cwd / "dagctl.toml").write_text('context = "near"\n[contexts.near]\nchannel = "n"\n')
    assert settings(dagctl)["channel"][0] == "n"


def test_which_context_is_chosen(dagctl: Dagctl) -> None:
    project_file(dagctl, 'context = "a"\n[contexts.a]\n[contexts.b]\n[contexts.c]\n[contexts.d]\n')
    config = ["config", "--json"]

    def chosen(*arguments: str, **environ: str) -> tuple[str, str]:
        document = dagctl(*arguments, *config, **environ).json
        return document["context"], document["context_origin"]

    assert chosen() == ("a", str(dagctl.cwd.parent / "dagctl.toml"))
    assert "using context b" in dagctl("context", "use", "b").out
    assert chosen() == ("b", "dagctl context use")
    assert chosen(DAGFERRY_CONTEXT="c") == ("c", "DAGFERRY_CONTEXT")
    assert chosen("--context", "d", DAGFERRY_CONTEXT="c") == ("d", "--context")
    rows = dagctl.process("context", "list").out.splitlines()
    assert [row.split()[:2] for row in rows if row.startswith("*")] == [["*", "b"]]
    assert "no file defines context 'z'; known: a, b, c, d" in dagctl("context", "use", "z", code=USAGE).message
    assert "--context names context 'z'" in dagctl("--context", "z", "config", code=USAGE).message
    assert chosen() == ("b", "dagctl context use")


def test_a_chosen_context_that_went_away_says_who_chose_it(dagctl: Dagctl) -> None:
    path = project_file(dagctl, "[contexts.a]\n")
    dagctl("context", "use", "a")
    path.write_text("[contexts.b]\n")
    assert (
        "dagctl context use names context 'a', which no file defines; known: b" in dagctl("config", code=USAGE).message
    )
    dagctl("context", "use", "b", code=USAGE)
    dagctl("--context", "b", "context", "use", "b")
    dagctl("config")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[contexts.a]\nchanel = 'main'\n",
            "contexts.a has the unknown setting 'chanel'; known: actor, airflow, airflow-bundle",
        ),
        ("[contexts.a]\nchannel = ['a', 'b']\n", "contexts.a.channel takes one value"),
        ("[contexts.a]\nchannel = true\n", "contexts.a.channel is not a string"),
        ("[contexts.a]\npath = [1.5]\n", "contexts.a.path is not a string or a list of them"),
        ("[contexts.a]\n'passphrase' = 'x'\n", "unknown setting 'passphrase'"),
        ("store = 'file:///x'\n", 'holds more than context = "NAME" and [contexts.NAME] tables'),
        ("context = 1\n", "holds more than"),
        ("contexts = 'x'\n", "holds more than"),
        ("[contexts]\na = 'x'\n", "contexts.a is not a table"),
        ("[contexts.a\n", "is not TOML"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(dagctl: Dagctl, text: str, words: str) -> None:
    path = project_file(dagctl, text)
    message = dagctl("config", code=USAGE).message
    assert words in message
    assert str(path) in message


def test_a_file_that_is_not_text_is_an_error(dagctl: Dagctl) -> None:
    project_file(dagctl, "").write_bytes(b"\xff")
    assert "is not TOML" in dagctl("config", code=USAGE).message


def test_paths_in_a_file_are_relative_to_it(dagctl: Dagctl) -> None:
    file = project_file(
        dagctl, "context = 'a'\n[contexts.a]\ntrust = 't.json'\nrelease_key = ['k', '/abs']\npointer-key = '~/p'\n"
    )
    found = settings(dagctl)
    assert found["trust"][0] == str(file.parent / "t.json")
    assert found["release-key"][0] == f"{file.parent / 'k'} /abs"
    assert found["pointer-key"][0] == "~/p".replace("~", dagctl.environ["HOME"])


def test_a_home_that_cannot_be_read_has_no_file(dagctl: Dagctl) -> None:
    assert settings(dagctl, HOME="/dev/null") == {}


def test_rollback_works_exactly_as_typed_with_a_context(site: Site, line: list[str], tmp_path: Path) -> None:
    site.publish(line[0])
    site.publish(line[1])
    (site.root / "ops.key").write_bytes(site.key("ops").read_bytes())
    (site.root / "dagctl.toml").write_text(
        f'context = "prod"\n[contexts.prod]\nstore = "file://{site.store}"\nbundle = "analytics"\nchannel = "main"\n'
        'trust = "trust.json"\npointer_key = "ops.key"\nactor = "ann"\nexpires = "30d"\n'
    )
    (site.root / "deeper").mkdir()
    bare = Dagctl(site.root / "deeper", clean_environ(tmp_path))
    bare.process("rollback", "--to", line[0])
    assert (site.live(), site.pointer()["actor"]) == (line[0], "ann")
    assert site.pointer()["expires"] is not None


def test_a_level_of_a_context_is_used(site: Site, line: list[str]) -> None:
    (site.root / "dagctl.toml").write_text('context = "x"\n[contexts.x]\nlevel = 99\n')
    message = site.publish(line[0], code=USAGE).message
    assert "--level is a number from 1 to 19, not '99' (context x in" in message
    assert "not 'fast' (DAGFERRY_LEVEL)" in site.publish(line[0], code=USAGE, DAGFERRY_LEVEL="fast").message
    assert site.tree() == {}
    site.publish(line[0], "--level", "1")
    site.publish(line[1], DAGFERRY_LEVEL="19")


def test_ci_variables_alone_suffice_with_keys_in_variables(site: Site, line: list[str]) -> None:
    """A GitLab job: everything but the place and the keys comes from GitLab."""
    ci = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_COMMIT_SHA": line[1],
        "CI_PROJECT_DIR": str(site.repo.path),
        "CI_COMMIT_REF_NAME": "main",
        "CI_PROJECT_URL": "https://gitlab.example.org/data/dags",
        "GITLAB_USER_LOGIN": "ann",
        "CI_PIPELINE_URL": "https://gitlab.example.org/data/dags/-/pipelines/7",
        "DAGFERRY_STORE": f"file://{site.store}",
        "DAGFERRY_TRUST": str(site.trust),
        "DAGFERRY_CHANNEL": "main",
        "DAGFERRY_RELEASE_KEY": site.key("ci").read_text(),
        "DAGFERRY_POINTER_KEY": site.key("ci").read_text(),
    }
    job = Dagctl(site.root, clean_environ(site.root / "home") | ci)
    job.process("publish")
    assert (site.live(), site.pointer()["actor"]) == (line[1], "ann")
    shown = job("show", line[1], "--json").json
    assert shown["builder"] == {
        "id": "gitlab-ci",
        "version": shown["builder"]["version"],
        "pipeline": "https://gitlab.example.org/data/dags/-/pipelines/7",
    }
    assert shown["ref"] == "main"


def test_lists_in_variables_are_split_at_spaces(site: Site) -> None:
    found = settings(site.dagctl, DAGFERRY_PATH="dags plugins", DAGFERRY_EXCLUDE="*.md tests")
    assert found["path"] == ("dags plugins", "DAGFERRY_PATH")
    assert (
        "--path dags/lib lies in --path dags" in site.dagctl("publish", code=2, DAGFERRY_PATH="dags/lib dags").message
    )
    assert site.dagctl("publish", code=3, DAGFERRY_EXCLUDE="lib *.md").message.startswith("dagctl: wrong-selection")


def test_the_actor_is_whoever_runs_it_unless_something_says_otherwise(site: Site, line: list[str]) -> None:
    import getpass
    import socket

    del site.dagctl.environ["DAGFERRY_ACTOR"]
    site.publish(line[0])
    assert site.pointer()["actor"] == f"{getpass.getuser()}@{socket.gethostname()}"
    site.publish(line[1], GITLAB_USER_LOGIN="ann")
    assert site.pointer()["actor"] == "ann"
    site.publish(line[2], GITLAB_USER_LOGIN="ann", DAGFERRY_ACTOR="bob")
    assert site.pointer()["actor"] == "bob"
    assert "actor holds a control" in site.publish(line[3], code=3, DAGFERRY_ACTOR="b\x1bob").message
