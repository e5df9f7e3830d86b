"""Where a setting comes from: the command line, ``DAGFERRY_<OPTION>``, a named context of a file, GitLab CI, a default.

Pure but for the reading of the configuration files.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_publisher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROJECT_FILE = "dagctl.toml"
PATHS = frozenset(
    {"trust", "repo", "release-key", "pointer-key", "airflow-credentials-file", "airflow-ca"}
)  # in a file: relative to that file
LISTS = frozenset({"path", "include", "exclude", "release-key", "pointer-key", "notify", "targets", "announce"})
KNOWN = (
    frozenset({"store", "bundle", "channel", "repository", "ref", "commit", "expires", "actor", "pipeline", "level"})
    | {"deltas", "store-wait", "airflow", "airflow-bundle", "announce-text", "announce-failure-text"}
    | PATHS
    | LISTS
)
CI_VARIABLES = {
    "commit": "CI_COMMIT_SHA",
    "repo": "CI_PROJECT_DIR",
    "ref": "CI_COMMIT_REF_NAME",
    "repository": "CI_PROJECT_URL",
    "actor": "GITLAB_USER_LOGIN",
    "pipeline": "CI_PIPELINE_URL",
}

Value = tuple[str, ...]


def variable(option: str) -> str:
    """Return the environment variable of an option."""
    return "DAGFERRY_" + option.upper().replace("-", "_")


@dataclass(frozen=True, slots=True)
class Setting:
    """An effective value (one or several words) and where it came from."""

    value: Value
    origin: str


@dataclass(frozen=True, slots=True)
class Context:
    """A named set of settings of a configuration file."""

    name: str
    file: Path
    values: Mapping[str, Value] = field(default_factory=dict)


def config_home(environ: Mapping[str, str]) -> Path:
    """Return the directory of the user's own configuration."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    return Path(base) / "dagferry"


def find_files(environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """Return the configuration files there are: ``dagctl.toml`` here or above, then the user's."""
    candidates = [directory / PROJECT_FILE for directory in (cwd, *cwd.parents)][:32]
    project = next((path for path in candidates if os.path.isfile(path)), None)
    user = config_home(environ) / "config.toml"  # os.path: a home that may not be read, as in containers, has no file
    return [path for path in (project, user) if path and os.path.isfile(path)]


def _value(file: Path, where: str, option: str, raw: object) -> Value:
    if option not in KNOWN:
        raise UsageError(f"{file}: {where} has the unknown setting {option!r}; known: {', '.join(sorted(KNOWN))}")
    words = raw if isinstance(raw, list) else [raw]
    if not all(isinstance(word, str | int) and not isinstance(word, bool) for word in words):
        raise UsageError(
            f"{file}: {where}.{option} is not a string" + (" or a list of them" if option in LISTS else "")
        )
    if len(words) != 1 and option not in LISTS:
        raise UsageError(f"{file}: {where}.{option} takes one value")
    texts = tuple(str(word) for word in words)
    if option in PATHS:
        return tuple(str(file.parent / os.path.expanduser(text)) for text in texts)
    return texts


def read_file(file: Path) -> tuple[str | None, dict[str, Context]]:
    """Read a configuration file: the name under ``context`` (None: none chosen) and the contexts.

    Raises:
        UsageError: it is not TOML, or holds something unknown.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    chosen, tables = document.pop("context", None), document.pop("contexts", {})
    if document or not isinstance(tables, dict) or not isinstance(chosen, str | None):
        raise UsageError(f'{file} holds more than context = "NAME" and [contexts.NAME] tables')
    contexts = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{file}: contexts.{name} is not a table")
        values = {key.replace("_", "-"): value for key, value in table.items()}
        where = f"contexts.{name}"
        contexts[name] = Context(name, file, {key: _value(file, where, key, value) for key, value in values.items()})
    return chosen, contexts


@dataclass(frozen=True, slots=True)
class Contexts:
    """All contexts that the files define (a project's win over the user's), and which one is used, and why."""

    known: Mapping[str, Context]
    chosen: str | None
    origin: str


def load_contexts(environ: Mapping[str, str], cwd: Path, asked: str | None) -> Contexts:
    """Read the files and choose: ``--context``, ``DAGFERRY_CONTEXT``, ``dagctl context use``, a file's own choice."""
    known: dict[str, Context] = {}
    choices: list[tuple[str | None, str]] = [
        (asked, "--context"),
        (environ.get("DAGFERRY_CONTEXT") or None, "DAGFERRY_CONTEXT"),
        (_used(environ), "dagctl context use"),
    ]
    for file in find_files(environ, cwd):
        chosen, contexts = read_file(file)
        choices.append((chosen, str(file)))
        known = {**contexts, **known}
    for name, origin in choices:
        if name is None:
            continue
        if name not in known:
            raise UsageError(f"{origin} names context {name!r}, which no file defines; known: {_names(known)}")
        return Contexts(known, name, origin)
    return Contexts(known, None, "no context chosen")


def _names(known: Mapping[str, Context]) -> str:
    return ", ".join(sorted(known)) or "none"


def _used(environ: Mapping[str, str]) -> str | None:
    try:
        return (config_home(environ) / "context").read_text(encoding="utf-8").strip() or None
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # as above
        return None


def use_context(environ: Mapping[str, str], contexts: Contexts, name: str) -> Path:
    """Remember a context for this user; returns the file it is kept in."""
    if name not in contexts.known:
        raise UsageError(f"no file defines context {name!r}; known: {_names(contexts.known)}")
    path = config_home(environ) / "context"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{name}\n", encoding="utf-8")
    return path


class Settings:
    """The effective settings of one command."""

    def __init__(self, environ: Mapping[str, str], contexts: Contexts) -> None:
        self.environ = environ
        self.contexts = contexts

    def find(self, option: str, given: str | Sequence[str] | None = None) -> Setting | None:
        """Return a setting and its origin, None where there is none."""
        if given:
            return Setting((given,) if isinstance(given, str) else tuple(given), f"--{option}")
        if text := self.environ.get(variable(option)):
            words = tuple(text.split()) if option in LISTS and "-----BEGIN" not in text else (text,)
            return Setting(words, variable(option))
        chosen = self.contexts.chosen
        if chosen and (value := self.contexts.known[chosen].values.get(option)):
            return Setting(value, f"context {chosen} in {self.contexts.known[chosen].file}")
        if text := self.environ.get(CI_VARIABLES.get(option, "")):
            return Setting((text,), CI_VARIABLES[option])
        return None

    def need(self, option: str, given: str | Sequence[str] | None = None) -> Value:
        """Return a setting's words; UsageError says the three ways to give it."""
        setting = self.find(option, given)
        if setting is None:
            raise UsageError(
                f"--{option} is needed: give it, set {variable(option)}, or put {option.replace('-', '_')} into a "
                f"context of {PROJECT_FILE} (see dagctl config)"
            )
        return setting.value

    def one(self, option: str, given: str | None = None) -> str:
        """Return a setting of one word; UsageError if it is missing."""
        return self.need(option, given)[0]
