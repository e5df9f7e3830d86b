"""``dagctl config`` and ``dagctl context``: what is in effect, where it comes from, and choosing a context."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from dagferry_publisher import repository
from dagferry_publisher.cli.command import JSON, command
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import UsageError
from dagferry_publisher.settings import KNOWN, Setting, use_context

_USERINFO = re.compile(r"://[^/\s]*@")
_KEYS = {"release-key", "pointer-key"}


def _shown(option: str, setting: Setting) -> str:
    """Return a value that may be shown: never a key's text, nor a token in an address."""
    if option in _KEYS and any("-----BEGIN" in word for word in setting.value):
        return "(a key)"
    if option == "announce":  # whoever knows a webhook's address may write there
        return " ".join(word if word.startswith("@") else "(a webhook)" for word in setting.value)
    if option == "repository":
        try:
            return repository.normalise(setting.value[0])
        except UsageError:
            return "(not an address)"
    return _USERINFO.sub("://***@", " ".join(setting.value))


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "config", JSON)
    def config(cli: Cli) -> None:
        """Show every setting in effect and where it comes from: environment, context, or GitLab CI.

        A setting is taken from the command line, else from DAGFERRY_<OPTION>, else from the context of dagctl.toml or
        ~/.config/dagferry/config.toml, else from GitLab's own variables. Secrets are not shown.

        \b
        Example: dagctl config
                 dagctl --context prod config --json
        """
        found = {option: cli.settings.find(option) for option in sorted(KNOWN)}
        rows = [(option, _shown(option, s), s.origin) if s else (option, "-", "") for option, s in found.items()]
        contexts = cli.settings.contexts
        document = {
            "context": contexts.chosen,
            "context_origin": contexts.origin,
            "settings": {o: {"value": v, "origin": origin} for o, v, origin in rows if origin},
        }

        def show() -> None:
            cli.out.line(f"context: {contexts.chosen or 'none'} ({contexts.origin})")
            cli.out.table(("setting", "value", "from"), rows)

        cli.out.emit(document, show)

    group = typer.Typer(name="context", no_args_is_help=True, help="Named contexts of dagctl.toml and the user's file.")

    @command(group, "list", JSON)
    def list_contexts(cli: Cli) -> None:
        """List the contexts; the one in use is marked.

        \b
        Example: dagctl context list
        """
        contexts = cli.settings.contexts
        rows = [
            ("*" if name == contexts.chosen else "", name, str(c.file)) for name, c in sorted(contexts.known.items())
        ]
        document = {"chosen": contexts.chosen, "contexts": {name: str(c.file) for name, c in contexts.known.items()}}
        cli.out.emit(document, lambda: cli.out.table(("", "context", "file"), rows))

    @command(group, "use", JSON)
    def use(
        cli: Cli, name: Annotated[str, typer.Argument(metavar="NAME", help="A context of dagctl context list.")]
    ) -> None:
        """Use a context from now on (for this user); --context and DAGFERRY_CONTEXT still win.

        \b
        Example: dagctl context use prod
        """
        path = use_context(cli.settings.environ, cli.settings.contexts, name)
        cli.out.emit({"context": name, "file": str(path)}, lambda: cli.out.line(f"using context {name}"))

    app.add_typer(group)
