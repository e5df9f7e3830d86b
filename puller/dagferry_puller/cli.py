"""The command line of ``dagferry-puller``."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from dagferry_puller import logs, options, signals
from dagferry_puller.exits import TABLE, Exit, code_for, line_for
from dagferry_shared import __version__
from dagferry_shared.errors import DagferryError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from dagferry_puller.daemon import Daemon
    from dagferry_puller.options import Option, Settings
    from dagferry_puller.recorder import Recorder

PROGRAM = "dagferry-puller"

_ABOUT = """\
Keep one verified version of a bundle of DAGs live behind a link.

The puller reads a channel's signed pointer from the store, verifies it and the
release that it names against the trust file, unpacks the archive into a new
directory and swaps the link. Readers see a whole version, the old or the new one.
What does not verify changes nothing. A store that is away changes nothing either.
"""

_EXAMPLES = {
    "": """\
examples:
  dagferry-puller run  --store s3://dags --bundle etl --channel main --trust /etc/dagferry/trust.json --root /dags
  dagferry-puller once --help
  dagferry-puller relay --help

Every option is also read from the environment: --check-command from DAGFERRY_CHECK_COMMAND.
Credentials, endpoint, region and CA bundle of an S3 store: the usual AWS_* variables and files.
""",
    "run": """\
Stays and follows the channel: a sidecar, a node agent, or the one writer of a shared volume.
A second one on the same root stands by and takes over. SIGTERM ends it, SIGHUP makes it look now, also
at all of the live tree: else each entry of it has its turn once in twelve periods.
After a swap it runs --exec-hook, posts to --webhook and touches --touch-file, each by itself: tried
again until it succeeds or a newer version is live, and again after a restart if it never did. The swap
does not wait. A hook may be told twice of a swap, with the same DAGFERRY_HOOK_ID. It gets
DAGFERRY_HOOK_ID _PATH (the version's directory) _LINK _ROOT _VERSION _COMMIT _RELEASE _TREE _BUNDLE
_CHANNEL _REPOSITORY _REF _DEV _EPOCH _SEQUENCE _ACTION _ACTOR _REASON _SINCE _HOST _ATTEMPT; no AWS_*.
It serves /healthz (alive), /readyz (a verified version is live), /status (JSON), /metrics
(Prometheus) and POST /notify (look now).

examples:
  dagferry-puller run --store s3://dags/prod --bundle etl --channel main --trust /etc/dagferry/trust.json \\
      --root /dags --http 0.0.0.0:9474
  dagferry-puller run ... --check-command 'dagferry-check --compile' --check-timeout 60s
""",
    "once": """\
Brings one version live and ends: an init container, a step of an image's build, or by hand.
If another puller owns the root, it waits until that one has the channel's version live.

examples:
  dagferry-puller once --store s3://dags/prod --bundle etl --channel main --trust trust.json --root /dags
  dagferry-puller once ... --commit 8d1ddab0c6a4c1e9f3b7d2a5e4f60718293a4b5c
  dagferry-puller once ... --timeout 30s --offline-ok
""",
    "relay": """\
Tells every pod to look now, at each notification: one small process, needed only where notifications cannot reach the
pods themselves. It takes POST /notify (from RGW, from dagctl --notify) or consumes a queue to which RGW publishes, asks
DNS for the pods each time, and posts to all of them at once. It keeps nothing and reads nothing of what it is sent;
what it loses, pods find by polling. SIGHUP tells them all, SIGTERM ends it. It serves /healthz, /readyz, /status and
/metrics.

RGW's topics: for HTTP leave "persistent" off. With it, a relay that is away for a moment stops RGW's queue until
radosgw restarts. Without it, an event that cannot be delivered is lost, and the relay's time is part of each PUT, so it
answers before it acts. AMQP with a durable queue loses nothing (persistent is safe there).

examples:
  dagferry-puller relay --listen 0.0.0.0:9475 --targets dns://dagferry-pods.airflow.svc.cluster.local:9474
  DAGFERRY_AMQP=amqps://relay:PASSWORD@rabbit.example.org/dags dagferry-puller relay --amqp-ca /etc/broker/ca.crt \\
      --targets dns://dagferry-pods:9474
""",
}


_MODES = {
    "run": "follow the channel until SIGTERM",
    "once": "bring one version live and end",
    "relay": "tell every pod at a notification",
}


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    given = f"required, or {option.variable}" if option.default is None else option.variable
    default = f", default {option.default}" if option.default else ""
    text = f"{option.help} [{given}{default}]".replace("%", "%%")
    if option.metavar:
        parser.add_argument(f"--{option.name}", dest=option.name, metavar=option.metavar, help=text)
    else:
        parser.add_argument(f"--{option.name}", dest=option.name, action="store_const", const="true", help=text)


def _options(mode: str, asked: str | None) -> Iterable[Option]:
    if mode == "relay":
        if asked != mode:  # a sidecar need not load the relay
            return ()
        from dagferry_puller.relay.options import OPTIONS  # noqa: PLC0415

        return OPTIONS
    return (option for option in options.OPTIONS if mode in option.modes)


def _parser(asked: str | None) -> argparse.ArgumentParser:
    import argparse  # noqa: PLC0415 - see _plain

    class Style(argparse.RawDescriptionHelpFormatter):
        """A fixed width: argparse would load shutil and three compressors to ask for the terminal's."""

        def __init__(self, prog: str) -> None:
            super().__init__(prog, width=110, max_help_position=32)

        def _split_lines(self, text: str, width: int) -> list[str]:
            """Keep the names of options whole, which argparse breaks at their hyphens."""
            import textwrap  # noqa: PLC0415 - help alone

            return textwrap.wrap(text, width, break_on_hyphens=False)

    style = Style
    top = argparse.ArgumentParser(
        PROGRAM, description=_ABOUT, epilog=_EXAMPLES[""] + "\n" + TABLE, formatter_class=style, allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = top.add_subparsers(dest="mode", required=True, metavar="run|once|relay")
    for mode, summary in _MODES.items():
        command = commands.add_parser(
            mode,
            help=summary,
            description=_EXAMPLES[mode],
            epilog=TABLE,
            formatter_class=style,
            allow_abbrev=False,
        )
        for option in _options(mode, asked):
            _add(command, option)
    return top


def _plain(words: Sequence[str]) -> dict[str, str | None] | None:
    """Read a command line of whole options alone; None: one for argparse, which costs a start 4 ms and knows the rest.

    What is read here argparse reads the same way: ``tests/unit/puller/test_command_line.py``.
    """
    if not words or words[0] not in {"run", "once"}:
        return None
    known = {f"--{option.name}": option for option in options.OPTIONS if words[0] in option.modes}
    given: dict[str, str | None] = {"mode": words[0]}
    rest = iter(words[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        option = known.get(name)
        if option is None or (equals and not option.metavar):
            return None
        if not option.metavar:
            value = "true"
        elif not equals:
            value = next(rest, "-")
            if value.startswith("-"):
                return None
        given[option.name] = value
    return given


def _all_is_loaded() -> None:
    """Let the garbage collector go on (see ``entry``); what is there by now stays, and is not looked at again.

    ``once`` ends before there is anything to collect.
    """
    gc.freeze()
    gc.enable()


def _run(settings: Settings) -> Exit:
    from dagferry_puller import prepare  # noqa: PLC0415 - help and usage errors need none of it
    from dagferry_puller.daemon import Daemon  # noqa: PLC0415

    signals.while_starting(success=True)
    recorder = prepare.new_recorder(settings)
    token = prepare.read_token(settings.notify_token_file)
    reader, trust = prepare.open_store(settings), prepare.open_trust(settings)
    daemon = Daemon(settings, prepare.open_session(settings, reader, trust, recorder), recorder)
    _after_swaps(settings, recorder, daemon)
    if settings.http is not None:
        from dagferry_puller.httpd import serve  # noqa: PLC0415 - once serves nothing

        serve(settings, recorder, daemon.triggers.notified, token)
    _all_is_loaded()
    code = daemon.run()
    if settings.exec_hook:
        from dagferry_puller.check import kill_running  # noqa: PLC0415 - what a hook started ends with us

        kill_running()
    return code


def _after_swaps(settings: Settings, recorder: Recorder, daemon: Daemon) -> None:
    """Have hooks and Airflow told of each swap; few pullers have either, so the others load none of it."""
    hooks = settings.exec_hook or settings.webhook or settings.webhook_file or settings.touch_file
    if not hooks and not settings.airflow:
        return
    from dagferry_puller import prepare  # noqa: PLC0415
    from dagferry_puller.afterswap import AfterSwap  # noqa: PLC0415

    after = AfterSwap(recorder)
    daemon.looked = after.looked
    if hooks:
        from dagferry_puller.hooks.opening import Hooks  # noqa: PLC0415

        made = Hooks(settings, recorder)
        after.listeners.append(made.swapped)
        made.start()
    if settings.airflow:
        teller = prepare.open_teller(settings, recorder)
        after.listeners.append(lambda _: teller.looked())
        teller.start()


def _once(settings: Settings) -> Exit:
    from dagferry_puller import prepare  # noqa: PLC0415 - help and usage errors need none of it
    from dagferry_puller.once import Once  # noqa: PLC0415

    signals.while_starting(success=False)
    recorder = prepare.new_recorder(settings)
    reader, trust = prepare.open_store(settings), prepare.open_trust(settings)
    session = prepare.open_session(settings, reader, trust, recorder)
    return Once(settings, reader, trust, session, recorder).run()


def _relay(given: dict[str, str | None]) -> Exit:
    from dagferry_puller.relay.options import resolve  # noqa: PLC0415 - the other modes need none of it
    from dagferry_puller.relay.run import run  # noqa: PLC0415

    settings = resolve(given)
    logs.configure(settings.log_format, settings.log_level)
    _all_is_loaded()
    return run(settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (see ``exits.TABLE``)."""
    words = sys.argv[1:] if argv is None else argv
    given = _plain(words) or vars(_parser(words[0] if words else None).parse_args(words))
    try:
        mode = given.pop("mode") or ""
        if mode == "relay":
            return _relay(given)
        settings = options.resolve(mode, given)
        logs.configure(settings.log_format, settings.log_level)
        return _run(settings) if settings.mode == "run" else _once(settings)
    except (DagferryError, OSError) as error:
        print(f"{PROGRAM}: error: {line_for(error)}", file=sys.stderr)  # noqa: T201 - logging may not be set up yet
        return code_for(error)
