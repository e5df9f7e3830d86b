"""Waiting for a store that is away for a moment: a gateway that restarts, a load balancer that reloads.

boto3 uses its own attempts up within half a second. What is bounded here is an outage, not a request: all requests
of a process share the time from the first failure to the next answer, so that no command waits twice for a dead store.
After it nothing is asked any more: a store that takes connections and is silent costs a time-out for each request.
"""

from __future__ import annotations

import functools
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

from dagferry_shared.errors import DagferryError, StoreUnreachable
from dagferry_shared.store.reading import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds
_LEAST_SECONDS = 10.0  # of an outage before nothing is asked any more, however short patience is


class StoreAway(StoreUnreachable):
    """No connection, no answer in time, or an error of the server's own: what a restart looks like from outside."""


class GivenUp(StoreUnreachable):
    """The store was away for so long that it was not even asked."""


def _silent(_: str) -> None:
    pass


@dataclass
class Patience:
    """How long requests that may be repeated are repeated while the store is away.

    Attributes:
        seconds: of one outage, from its first failure on; 0: not at all.
        say: told once an outage that requests are repeated, and once that the store is back.
    """

    seconds: float = 0.0
    say: Callable[[str], None] = _silent
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _since: float | None = field(default=None, init=False)
    _pauses: int = field(default=0, init=False)
    _over: bool = field(default=False, init=False)

    def call(self, request: Callable[[], Result]) -> Result:
        """Do a request, again and again until it is answered; its last error once patience is over."""
        while True:
            try:
                return self.once(request)
            except (StoreAway, Interrupted) as error:
                if not self._pause(error):
                    raise

    def once(self, request: Callable[[], Result]) -> Result:
        """Do a request that is not to be repeated.

        Raises:
            GivenUp: it was not done, as patience is over.
        """
        if self._over:
            raise GivenUp("the store was away for too long: nothing more is asked of it")
        try:
            result = request()
        except (StoreAway, Interrupted):
            self._failed()
            raise
        except DagferryError:
            self._answered()
            raise
        self._answered()
        return result

    def _failed(self) -> None:
        now = self.clock()
        if self._since is None:
            self._since, self._pauses = now, 0
        self._over = now - self._since >= max(self.seconds, _LEAST_SECONDS)

    def _pause(self, error: StoreUnreachable) -> bool:
        """Wait a little; False if patience is over."""
        left = self.seconds - (self.clock() - (self._since or 0.0))
        if left <= 0 or self._over:
            return False
        if not self._pauses:
            self.say(f"{error}; trying again for {self.seconds:.0f} s")
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._pauses, 10))
        self._pauses += 1
        self.sleep(min(left, random.uniform(0.5, 1) * pause))  # noqa: S311 - jitter, not a secret
        return True

    def _answered(self) -> None:
        if self._since is not None and self._pauses:
            self.say(f"the store answers again after {self.clock() - self._since:.0f} s")
        self._since, self._pauses, self._over = None, 0, False


@runtime_checkable
class Patient(Protocol):
    """A store whose requests may be told to wait; whoever opens it says for how long."""

    patience: Patience


_Patient = TypeVar("_Patient", bound=Patient)


def patient(
    request: Callable[Concatenate[_Patient, Arguments], Result],
) -> Callable[Concatenate[_Patient, Arguments], Result]:
    """Let a method that may be repeated wait as its object's ``patience`` says."""

    @functools.wraps(request)
    def repeated(self: _Patient, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return self.patience.call(lambda: request(self, *args, **kwargs))

    return repeated
