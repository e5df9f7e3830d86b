"""From one notification to every pod: resolved anew, told in parallel, each pod by itself.

Notifications that come while one is under way are one. That holds for each pod alone, so that a dead one, which costs
two deadlines, delays nobody else. Fan-outs begin a second apart at least: a pod looks no more often anyway, and a flood
is not multiplied by the number of pods. After the first hundred, so many a second are told: each asks the store, and
one radosgw that thousands ask in one moment refuses some of them (tests/bench/SCALE.md).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from dagferry_puller.backoff import uniform
from dagferry_puller.logs import Complaints, log
from dagferry_puller.relay.names import MAX_PODS, Names
from dagferry_puller.relay.post import NotTaken, post
from dagferry_shared.pool import Pool
from dagferry_shared.targets import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_puller.relay.status import RelayRecorder
    from dagferry_shared.targets import Address, Target

THREADS = 32  # pods told at a time
AT_ONCE = 100  # pods, before the rate counts
MIN_GAP_SECONDS = 1.0  # between the starts of two fan-outs
_RETRY_SECONDS = 0.3  # before the second try, give or take
_BEAT_SECONDS = 10.0


class Pace:
    """When the next one is to be told: some at once, and so many a second after them.

    Args:
        rate: a second.
        at_once: that may come in one moment, after a pause.
    """

    def __init__(self, rate: float, at_once: int) -> None:
        self._each = 1 / rate
        self._saved = at_once * self._each
        self._last = float("-inf")  # the time of the last one, had all come evenly
        self._lock = threading.Lock()

    def delay(self, now: float) -> float:
        """Count one more; returns the seconds that it has to wait."""
        with self._lock:
            self._last = max(self._last, now - self._saved) + self._each
            return max(0.0, self._last - now)


class Fanout:
    """Tells pods, in threads of its own.

    Args:
        targets: whom to tell.
        token: what their ``/notify`` needs.
        seconds: that each one has to answer.
        rate: pods told a second, after the first hundred.
        recorder: what happened.
    """

    def __init__(
        self, targets: Sequence[Target], token: bytes | None, seconds: float, rate: int, recorder: RelayRecorder
    ) -> None:
        self._names = Names(targets, recorder, self._tell_soon)
        self._token = token
        self._seconds = seconds
        self._pace = Pace(rate, AT_ONCE)
        self._recorder = recorder
        self._asked = threading.Event()
        self._pool = Pool(THREADS, "tell")
        self._lock = threading.Lock()
        self._again: dict[Address, bool] = {}  # pods that are being told, and whether they are to be told once more
        self._complaints: dict[Address, Complaints] = {}

    def notified(self) -> None:
        """Tell all pods, soon; returns at once."""
        self._recorder.count(notifications=1)
        self._asked.set()

    def start(self) -> None:
        """Begin to work."""
        threading.Thread(target=self._work, name="fanout", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._recorder.beat()
            if not self._asked.wait(_BEAT_SECONDS):
                continue
            self._asked.clear()
            begun = time.monotonic()
            self._tell_all()
            time.sleep(max(0.0, begun + MIN_GAP_SECONDS - time.monotonic()))

    def _tell_all(self) -> None:
        addresses = self._names.look()
        self._forget(set(addresses))
        self._recorder.count(fanouts=1)
        self._recorder.update(pods=len(addresses))
        for address in addresses[:MAX_PODS]:
            self._tell_soon(address)

    def _forget(self, present: set[Address]) -> None:
        """Drop what was remembered of pods that are gone."""
        with self._lock:
            for key in [key for key in self._complaints if key not in present]:
                del self._complaints[key]

    def _tell_soon(self, address: Address) -> None:
        with self._lock:
            if address in self._again:
                self._again[address] = True
                return
            self._again[address] = False
        self._pool.submit(lambda: self._tell(address))

    def _tell(self, address: Address) -> None:
        try:
            while True:
                self._try_twice(address)
                with self._lock:
                    if not self._again[address]:
                        del self._again[address]
                        return
                    self._again[address] = False
        except BaseException:
            with self._lock:
                self._again.pop(address, None)  # a bug must not keep this pod from being told for ever
            raise

    def _try_twice(self, address: Address) -> None:
        with self._lock:
            complaints = self._complaints.setdefault(address, Complaints())
        time.sleep(self._pace.delay(time.monotonic()))
        begun = time.monotonic()
        try:
            try:
                post(address, self._token, self._seconds)
            except NotTaken:
                time.sleep(_RETRY_SECONDS * (0.5 + uniform()))
                post(address, self._token, self._seconds)
        except NotTaken as error:
            self._recorder.count(failed=1)
            complaints.failed(NotTaken(f"{show(address)} was not told: {error}"))
            return
        self._recorder.told(time.monotonic() - begun)
        complaints.well()
        log.debug("told %s", show(address))
