"""What a rollout needs of the command line: moves that tell pods and people, waits, pauses, questions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from dagferry_publisher.cli.announcing import succeeded
from dagferry_publisher.cli.moving import carry_out
from dagferry_publisher.cli.podwait import Wanted, missing_words, wait_live
from dagferry_publisher.errors import TimedOut
from dagferry_publisher.fleet.quorum import Reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_publisher.cli.session import Cli
    from dagferry_publisher.fleet.quorum import Quorum
    from dagferry_publisher.fleet.survey import Survey
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Writer

_TICK_SECONDS = 2.0  # between two looks at the channel while time passes


@dataclass(frozen=True, slots=True)
class Options:
    """How to roll out.

    Attributes:
        notify: who is told of each move.
        writer: signs.
        survey: the pods; None: they are not waited for.
        enough: how many of a stage's pods.
        timeout: seconds for them.
        pause: seconds after each stage.
        ask: whether a person is asked between stages.
    """

    notify: list[str] | None
    writer: Writer
    survey: Survey | None
    enough: Quorum
    timeout: float
    pause: float
    ask: bool


class Surroundings:
    """What a rollout needs: see ``rollout.run.Outside``.

    Args:
        cli: the command's surroundings.
        options: how.
        version: that is rolled out.
    """

    def __init__(self, cli: Cli, options: Options, version: str) -> None:
        self._cli, self._options, self._version = cli, options, version

    def say(self, words: str) -> None:
        """Tell what is being done."""
        self._cli.out.progress(words)

    def move(self, operation: Callable[[Writer], Outcome]) -> Outcome:
        """Move a channel, and tell pods and people."""
        outcome, _ = carry_out(self._cli, self._options.notify, self._options.writer, operation)
        succeeded(self._cli, outcome)
        return outcome

    def wait(self, channel: str, still: Callable[[], None]) -> str:
        """Wait until the release is live on enough of a channel's pods."""
        options = self._options
        if options.survey is None:
            return "moved"
        wanted = Wanted(self._version, channel, options.enough)
        counted, reached = wait_live(self._cli, options.survey, wanted, options.timeout, still)
        text = f"live on {counted.live} of {counted.total} pods"
        if reached is Reached.NONE:
            raise TimedOut(f"{text} after {options.timeout:g} s: {missing_words(counted) or 'no pod answered'}")
        return text

    def pause(self, still: Callable[[], None]) -> None:
        """Let time pass, as long as nobody else moves the channel."""
        end = time.monotonic() + self._options.pause
        if self._options.pause:
            self.say(f"pause of {self._options.pause:g} s")
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(_TICK_SECONDS, left))
            still()

    def agree(self, question: str) -> bool:
        """Ask whether to go on, on a terminal."""
        return not self._options.ask or typer.confirm(question, err=True)
