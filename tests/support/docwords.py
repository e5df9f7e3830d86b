"""Command lines of ours in shell text, read by our own option parsers and not run."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import shlex
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from dagferry_publisher.cli.main import build
from dagferry_puller import cli as puller
from dagferry_puller.airflow.check import command as checker

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

COMMANDS = ("dagctl", "dagferry-puller", "dagferry-check")
LEFT_OUT = {"…", "..."}
_ENDS = set("();|&\n")  # shlex gives operators as words of these characters alone
_NESTED = {"--check", "--check-command", "--exec-hook"}  # options whose value is a command line


@cache
def _dagctl() -> Any:
    return typer.main.get_command(build())


def commands(script: str) -> Iterator[list[str]]:
    """Yield each command line of ours in a script, also behind ``kubectl exec … --`` or ``RUN``."""
    for line in re.sub(r"\\\n\s*", " ", script).splitlines():
        for words in _segments(line):
            names = [index for index, word in enumerate(words) if word in COMMANDS]
            if names and not {"install", "apt-get", "which"} & set(words[: names[0]]):
                yield from _nested(words[names[0] :])


def _segments(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    is_file = False
    try:
        for word in lexer:
            if set(word) <= _ENDS:
                yield words
                words = []
            elif set(word) <= set("<>&"):
                is_file = True
            elif is_file:
                is_file = False
            else:
                words.append(word)
    except ValueError:  # a quote that goes on in the next line: no command of ours is in such a line of the docs
        assert not any(name in line for name in COMMANDS), f"cannot be read: {line}"
    yield words


def _nested(words: list[str]) -> Iterator[list[str]]:
    yield words
    for option, value in itertools.pairwise(words):
        if option in _NESTED and value.split()[0] in COMMANDS:
            yield [*shlex.split(value), "…"]  # the puller appends the directory


def problem(words: Sequence[str]) -> str:
    """Return what our own parser says against a command line; empty: nothing.

    ``…`` among the words says that some are left out: then none counts as missing.
    """
    given = [word for word in words[1:] if word not in LEFT_OUT]
    partial = len(given) < len(words) - 1
    if words[0] == "dagctl":
        return _of_dagctl(given, partial=partial)
    if words[0] == "dagferry-check" and partial:
        given.append("dags")  # else what is missing is said before what is wrong
    mode = given[0] if given else None
    parser = puller._parser(mode) if words[0] == "dagferry-puller" else checker._parser()
    return _of_argparse(parser, given, partial=partial)


def _of_dagctl(given: list[str], *, partial: bool) -> str:
    command: Any = _dagctl()
    path = []
    while hasattr(command, "commands"):
        while given and given[0] == "--context":
            del given[:2]
        if not given or given[0].startswith("-"):
            break
        name = given.pop(0)
        if name not in command.commands:
            return f"dagctl {' '.join(path)} has no command {name}"
        path.append(name)
        command = command.commands[name]
    try:
        command.make_context("dagctl", list(given), resilient_parsing=False)
    except Exception as error:  # noqa: BLE001 - Typer's own, which it keeps to itself
        kind = type(error).__name__
        if kind == "Exit" or (partial and kind == "MissingParameter"):
            return ""
        return f"dagctl {' '.join(path)}: {kind} {getattr(error, 'format_message', error.__str__)()}"
    return ""


def _of_argparse(parser: argparse.ArgumentParser, given: list[str], *, partial: bool) -> str:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            parser.parse_args(given)
        except SystemExit as ended:
            words = said.getvalue().strip().rpartition("\n")[2]
            if ended.code and not (partial and "are required" in words):
                return words
    return ""


def unknown_options(span: str) -> list[str]:
    """Return the options in a code span that the command does not have; for spans that are no whole lines."""
    words = [word.rstrip(",.;:") for word in span.replace("[", " ").replace("]", " ").replace("|", " ").split()]
    options = {word.partition("=")[0] for word in words if re.fullmatch(r"--[a-z][a-z-]+(=.*)?", word)}
    return sorted(options - set(_options(words)))


def _options(words: list[str]) -> Iterator[str]:
    if words[0] == "dagferry-check":
        yield from checker._parser()._option_string_actions
    elif words[0] == "dagferry-puller":
        modes = [word for word in words[1:] if word in {"run", "once", "relay"}] or ["run", "once", "relay"]
        for mode in modes:
            found: Any = next(action.choices for action in puller._parser(mode)._actions if action.choices)
            yield from found[mode]._option_string_actions
        yield from ("--help", "--version")
    else:
        yield from ("--help", "--version", "--context", "--install-completion", "--show-completion")
        whole: Any = _dagctl()
        yield from list(_of_typer(whole, words[1:])) or _of_typer(whole, list(whole.commands))


def _of_typer(command: Any, words: list[str]) -> Iterator[str]:
    """Yield the options of the commands that the words name: ``hold|resume`` are two."""
    for word in words:
        found = getattr(command, "commands", {}).get(word)
        if found is not None and hasattr(found, "commands"):
            yield from _of_typer(found, words)
        elif found is not None:
            yield from (name for parameter in found.params for name in parameter.opts)
