"""Registering a command: its own options, plus the common ones it names, and a session made of them."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.models import OptionInfo

from dagferry_publisher.cli.exits import describe, epilog, exit_code
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.settings import variable
from dagferry_shared.errors import DagferryError

if TYPE_CHECKING:
    from collections.abc import Callable

ANNOUNCED = frozenset({"publish", "rollback", "hold", "resume", "promote", "refresh", "repair", "rollout"})
_PRIVATE = {
    "release-key",
    "pointer-key",
}  # their variables name private keys, also where an option takes the public one


# What stands for a value in the help, where an option does not say it itself.
_METAVARS = {
    "store": "URL",
    "bundle": "NAME",
    "channel": "NAME",
    "trust": "FILE",
    "repo": "DIR",
    "commit": "COMMIT",
    "repository": "URL",
    "ref": "REF",
    "actor": "NAME",
    "max-ttl": "DURATION",
    "level": "N",
    "limit": "N",
    "keep": "N",
    "keep-days": "N",
    "threshold": "N",
    "max-files": "N",
    "max-bytes": "N",
}


def env_help(option: str, words: str) -> str:
    """Return help text with the option's environment variable."""
    return f"{words} [env: {variable(option)}]"


@dataclass(frozen=True, slots=True)
class Common:
    """An option that many commands have."""

    name: str
    words: str
    flag: bool = False

    def parameter(self) -> inspect.Parameter:
        """Return it as a parameter of a command's function."""
        option = typer.Option(
            f"--{self.name}",
            help=env_help(self.name, self.words),
            metavar=None if self.flag else _METAVARS[self.name],
            envvar=variable(self.name) if self.flag else None,
            show_envvar=False,
        )
        kind: Any = Annotated[bool, option] if self.flag else Annotated[str | None, option]
        default = False if self.flag else None
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


STORE = Common(
    "store",
    "Object store: s3://bucket/prefix or file:///directory. DAGFERRY_STORE_WAIT: how long to wait for one that is away "
    "[default: 30s]; one that takes requests and is silent ends a command at most 40 s later, an upload that stands "
    "still four minutes at most.",
)
BUNDLE = Common("bundle", "Bundle: one named DAG tree (default: the trust file's).")
CHANNEL = Common("channel", "Channel: a named line of deployment, e.g. main.")
TRUST = Common("trust", "Trust file: which keys may sign what.")
JSON = Common("json", "Print one JSON document; errors are JSON on stderr.", flag=True)
TARGET = (STORE, BUNDLE, CHANNEL, TRUST, JSON)


def _with_variable(parameter: inspect.Parameter) -> inspect.Parameter:
    """Let an option that the settings do not resolve read its own environment variable."""
    for info in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(info, OptionInfo):
            names = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
            option = names[0].removeprefix("--") if names else parameter.name.replace("_", "-")
            info.metavar, info.show_envvar = info.metavar or _METAVARS.get(option), False
            if "[env:" not in (info.help or "") and option not in _PRIVATE:
                info.envvar = variable(option)
                info.help = env_help(option, info.help or "")
    return parameter


def report(error: DagferryError, *, as_json: bool) -> None:
    """Write an error to stderr: one line that says what to do, or a JSON document."""
    document = describe(error)
    if as_json:
        sys.stderr.write(json.dumps(document) + "\n")
    else:
        facts = document["error"]
        sys.stderr.write(f"dagctl: {facts['reason']}: {facts['message']}\n")


def _announce(cli: Cli, name: str, values: dict[str, object], error: DagferryError) -> None:
    from dagferry_publisher.cli.announcing import failed  # noqa: PLC0415 - only where something failed

    failed(cli, name, values, error)


def command(app: typer.Typer, name: str, *common: Common) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register ``function(cli, …own options)`` as a command with the common options added.

    Args:
        app: the command group.
        name: of the command.
        common: the common options it has.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        keyword = [_with_variable(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)) for parameter in own]
        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        parameters = [context, *keyword, *(option.parameter() for option in common)]

        @functools.wraps(function)
        def run(ctx: typer.Context, **values: object) -> None:
            given = {option.name: values.pop(option.name) for option in common}
            cli: Cli | None = None
            try:
                cli = Cli(given, ctx.find_root().params.get("context"))
                function(cli, **values)
                sys.stdout.flush()
            except DagferryError as error:
                if cli and name in ANNOUNCED:
                    _announce(cli, name, values, error)
                report(error, as_json=bool(given.get("json")))
                raise typer.Exit(exit_code(error)) from error
            except BrokenPipeError:  # the reader of our output has had enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

        del run.__wrapped__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, epilog=epilog())(run)
        return function

    return register
