"""Make man pages of the commands out of their own help: ``python3 deploy/man/build.py DIRECTORY``.

Needs the package installed with the extras ``publisher`` and ``puller``. The pages say what ``--help`` says.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = "78"
_SUMMARIES = {
    "dagctl": "deliver Airflow DAGs from a git commit to every pod, and bring them back",
    "dagferry-puller": "keep one verified version of a bundle of DAGs live behind a link",
    "dagferry-check": "check a tree of DAGs before anybody uses it",
}


def _verbatim(text: str) -> str:
    r"""Return roff that shows a text as it is: ``\`` and ``-`` escaped, no line taken for a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.splitlines())


def page(name: str, version: str, whole: str, parts: dict[str, str]) -> str:
    """Return a man page.

    Args:
        name: of the command.
        version: of the program.
        whole: its help.
        parts: help of each subcommand by its words, in order.
    """
    lines = [
        f'.TH {_verbatim(name.upper())} 1 "" "dagferry {version}" "User Commands"',
        ".ad l",
        ".SH NAME",
        f"{_verbatim(name)} \\- {_SUMMARIES[name]}",
        *(".SH DESCRIPTION", ".nf", _verbatim(whole), ".fi"),
    ]
    for words, text in parts.items():
        lines += [f'.SH "{_verbatim(words.upper())}"', ".nf", _verbatim(text), ".fi"]
    return "\n".join(lines) + "\n"


def _of_typer(command: Any, parent: Any, path: str) -> Iterator[tuple[str, str]]:
    context = command.context_class(command, info_name=path.rpartition(" ")[2], parent=parent)
    yield path, command.get_help(context)
    for name, found in sorted(getattr(command, "commands", {}).items()):
        yield from _of_typer(found, context, f"{path} {name}")


def helps(name: str) -> dict[str, str]:
    """Return the help of a command and of each of its subcommands, by their words."""
    os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = _WIDTH
    if name == "dagctl":
        import typer  # noqa: PLC0415 - each command's libraries for itself

        from dagferry_publisher.cli.main import build  # noqa: PLC0415

        return dict(_of_typer(typer.main.get_command(build()), None, name))
    if name == "dagferry-check":
        from dagferry_puller.airflow.check.command import _parser as parser  # noqa: PLC0415

        return {name: parser().format_help()}
    from dagferry_puller.cli import _parser  # noqa: PLC0415

    found = {name: _parser(None).format_help()}
    for mode in ("run", "once", "relay"):
        choices: Any = next(action.choices for action in _parser(mode)._actions if action.choices)  # noqa: SLF001
        found[f"{name} {mode}"] = choices[mode].format_help()
    return found


def main(directory: str) -> None:
    """Write the pages of all commands."""
    from dagferry_shared import __version__  # noqa: PLC0415

    Path(directory).mkdir(parents=True, exist_ok=True)
    for name in _SUMMARIES:
        found = helps(name)
        text = page(name, __version__, found.pop(name), found)
        (Path(directory) / f"{name}.1").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    main(sys.argv[1])
