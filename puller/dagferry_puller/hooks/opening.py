"""The hooks that the settings ask for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dagferry_puller.exits import ConfigError
from dagferry_puller.hooks.acts import Exec, Touch, Webhook, parse_url
from dagferry_puller.hooks.event import Event
from dagferry_puller.hooks.hook import Hook
from dagferry_puller.hooks.memory import Memory
from dagferry_puller.prepare import read_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from dagferry_puller.hooks.info import HookInfo
    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.status import LiveInfo

_MAX_URL = 4096  # bytes of a file that holds one


class Hooks:
    """All hooks of a puller.

    Args:
        settings: all options.
        recorder: where they are shown.
    """

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self._settings = settings
        self._recorder = recorder
        self._lock = threading.Lock()
        self._known: dict[str, HookInfo] = {}
        acts: dict[str, Callable[[Event, int], None]] = {}
        if settings.exec_hook:
            acts["exec"] = Exec(settings.exec_hook, settings.hook_timeout)
        if settings.webhook or settings.webhook_file:
            token = read_token(settings.webhook_token_file, "webhook-token-file")
            acts["webhook"] = Webhook(_url(settings), token, settings.hook_timeout)
        if settings.touch_file:
            acts["touch"] = Touch(settings.touch_file)
        self._hooks = [Hook(name, act, Memory(settings, name), self._show) for name, act in acts.items()]

    def start(self) -> None:
        """Begin to work."""
        for hook in self._hooks:
            hook.start()

    def swapped(self, live: LiveInfo) -> None:
        """Tell all of them of a swap; returns at once."""
        event = Event(live, self._settings)
        for hook in self._hooks:
            hook.swapped(event)

    def _show(self, name: str, info: HookInfo) -> None:
        with self._lock:
            self._known = {**self._known, name: info}
            self._recorder.update(hooks=self._known)


def _url(settings: Settings) -> SplitResult:
    """Return the webhook's address: of the file that holds it, else of the option or its variable."""
    file = settings.webhook_file
    try:
        text = settings.webhook
        if file:
            with open(file, encoding="ascii") as opened:
                text = opened.read(_MAX_URL).strip()
        return parse_url(text)
    except OSError as error:
        raise ConfigError("--webhook-file", f"cannot read it: {error.strerror}") from error
    except ValueError as error:
        words = "is not ASCII" if isinstance(error, UnicodeError) else str(error)
        raise ConfigError("--webhook-file" if file else "--webhook (or DAGFERRY_WEBHOOK)", words) from error
