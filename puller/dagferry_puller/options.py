"""Every option: from the command line, else from ``DAGFERRY_<OPTION>``, else its default; checked here, all of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dagferry_puller import optionvalues as read
from dagferry_puller.exits import ConfigError
from dagferry_shared.errors import Refused
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Option:
    """An option.

    Attributes:
        name: as typed, without dashes.
        read: makes the value of a text, or raises ValueError or Refused with words that follow the option's name.
        default: as text; None: must be given; empty: not set.
        help: one sentence.
        metavar: what stands for the value in the help; empty for a switch.
        modes: where it is allowed.
    """

    name: str
    read: Callable[[str], Any]
    default: str | None
    help: str
    metavar: str
    modes: tuple[str, ...] = ("run", "once")

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "DAGFERRY_" + self.name.upper().replace("-", "_")

    @property
    def attribute(self) -> str:
        """Its field in ``Settings``."""
        return self.name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Settings:
    """All options, checked. Times are seconds, sizes bytes."""

    mode: str
    store: str
    bundle: str
    channel: str
    trust: str
    root: str
    link: str
    period: float
    notified_period: float
    http: tuple[str, int] | None
    notify_token_file: str
    trigger_file: str
    exec_hook: tuple[str, ...]
    webhook: str
    webhook_file: str
    webhook_token_file: str
    touch_file: str
    hook_timeout: float
    airflow: str
    airflow_bundle: str
    airflow_credentials_file: str
    airflow_ca: str
    airflow_timeout: float
    check_command: tuple[str, ...]
    check_timeout: float
    keep: int
    keep_hours: int
    max_bytes: int
    max_files: int
    no_fsync: bool
    touch: str
    reuse: str
    on_revoked: str
    accept_expired_for: float
    min_rate: int
    download_timeout: float
    recheck: float
    log_format: str
    log_level: str
    commit: str
    pin: str
    no_link: bool
    no_retry: bool
    timeout: float
    offline_ok: bool


_BASE: tuple[Option, ...] = (
    Option("store", read.text, None, "the store: s3://BUCKET/PREFIX or file:///DIRECTORY", "URL"),
    Option("bundle", read.name, None, "the bundle to pull", "NAME"),
    Option("channel", read.name, None, "the channel to follow", "NAME"),
    Option("trust", read.text, None, "the trust file: which keys may sign what; read again when it changes", "FILE"),
    Option("root", read.text, None, "the volume's directory; made if it is not there", "DIR"),
    Option("link", read.link, "current", "the link's path below the root", "NAME"),
    Option("check-command", read.command, "", "run this before a swap; it gets the new directory as last argument, and "
           "anything but exit 0 keeps the old version. Split as a shell would, but no shell runs", "CMD"),
    Option("check-timeout", read.seconds, "120s", "the time that the check command has", "TIME"),
    Option("keep", read.positive, "3", "keep at least this many versions, the live one counted", "N"),
    Option("keep-hours", read.number, "24", "keep each version this long after it was live", "HOURS"),
    Option("max-bytes", read.positive, "2GiB", "refuse an archive that is, or unpacks to, more bytes", "BYTES"),
    Option("max-files", read.positive, "200000", "refuse an archive of more files, links and directories", "N"),
    Option("no-fsync", read.switch, "", "do not wait for the disk: for a volume that dies with its node", ""),
    Option("touch", read.choice("changed", "all"), "changed", "which files get a new modification time at a swap: "
           "changed ones, or all, so that Airflow parses every DAG again at once", "changed|all"),
    Option("reuse", read.choice("link", "copy", "none"), "link", "unchanged files of a new version are hard links to "
           "those of the live one, copies of them, or out of the whole archive like all others", "link|copy|none"),
    Option("on-revoked", read.choice("keep", "stop"), "keep", "what to do when the live release is revoked, or no "
           "longer verifies: keep it and alarm, or remove the link", "keep|stop"),
    Option("accept-expired-for", read.seconds_or_zero, "0", "a pod without any version takes a pointer that expired at "
           "most this long ago", "TIME"),
    Option("min-rate", read.number, "1024", "give up a download that is slower, on average after 10 s", "BYTES/S"),
    Option("download-timeout", read.seconds, "10m", "the time that one archive may take", "TIME"),
    Option("log-format", read.choice("text", "json"), "text", "for people, or one JSON object a line", "text|json"),
    Option("log-level", read.choice("debug", "info", "warning", "error"), "info", "the least to log", "LEVEL"),
)  # fmt: skip

_RUN: tuple[Option, ...] = (
    Option("period", read.seconds, "5s", "time between polls, give or take a fifth", "TIME"),
    Option("notified-period", read.seconds, "60s", "the same while notifications come: from the first one that "
           "announced a new pointer until a poll finds one that none did, for a day at most. So a lost notification is "
           "found after this time, and from then on polls come at --period again", "TIME"),
    Option("recheck", read.seconds, "1h", "how often the live tree is hashed again", "TIME"),
    Option("http", read.address, "127.0.0.1:9474", "where /healthz /readyz /status /metrics /notify are served; port 0 "
           "takes any and logs it; none serves nothing", "HOST:PORT"),
    Option("notify-token-file", str, "", "POST /notify needs 'Authorization: Bearer' and this file's content (or set "
           "DAGFERRY_NOTIFY_TOKEN to the token)", "FILE"),
    Option("trigger-file", str, "", "look at once when this file's modification time changes", "FILE"),
    Option("exec-hook", read.command, "", "run this after a swap; it gets the version's directory as last argument, "
           "and DAGFERRY_HOOK_* (see above). Split as a shell would, but no shell runs", "CMD"),
    Option("webhook", str, "", "POST there after a swap, as JSON, what --exec-hook gets as DAGFERRY_HOOK_*; "
           "anything but 2xx is a failure. With a secret in it: from the variable or --webhook-file", "URL"),
    Option("webhook-file", str, "", "the file that holds the webhook's address", "FILE"),
    Option("webhook-token-file", str, "", "send 'Authorization: Bearer' and this file's content (or set "
           "DAGFERRY_WEBHOOK_TOKEN)", "FILE"),
    Option("touch-file", str, "", "touch this file after a swap", "FILE"),
    Option("hook-timeout", read.seconds, "30s", "the time that one attempt of a hook has; it is tried again", "TIME"),
    Option("airflow", read.airflow, "", "after a swap make this Airflow parse now, and watch until it has; on the one "
           "puller beside its dag-processor or 2.11's scheduler. See --airflow-credentials-file", "URL"),
    Option("airflow-bundle", str, "", "Airflow 3's name of this bundle, if it has more than one", "NAME"),
    Option("airflow-credentials-file", str, "", "lines username=… and password=…, or token=… (or set "
           "DAGFERRY_AIRFLOW_USERNAME and _PASSWORD, or _TOKEN)", "FILE"),
    Option("airflow-ca", str, "", "CA certificates for an https Airflow, instead of the system's", "FILE"),
    Option("airflow-timeout", read.seconds, "5m", "how long Airflow may take to parse before that is late", "TIME"),
)  # fmt: skip

_ONCE: tuple[Option, ...] = (
    Option("commit", read.commit, "", "the version of this commit, from the channel's signed history", "SHA"),
    Option("pin", read.version, "", "exactly this version; needs no pointer", "VERSION_ID"),
    Option("no-link", read.switch, "", "with --pin: bring the version onto the volume and leave the link alone", ""),
    Option("no-retry", read.switch, "", "end at the first failure of the store: whoever calls tries again", ""),
    Option("timeout", read.seconds, "5m", "give up after this time", "TIME"),
    Option("offline-ok", read.switch, "", "succeed with the verified version that is live if the store is away", ""),
)

OPTIONS: tuple[Option, ...] = (
    *_BASE,
    *(Option(o.name, o.read, o.default, o.help, o.metavar, ("run",)) for o in _RUN),
    *(Option(o.name, o.read, o.default, o.help, o.metavar, ("once",)) for o in _ONCE),
)


def values(options: Iterable[Option], given: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the checked value of each option, by its attribute.

    Args:
        options: all there are.
        given: texts from the command line by option name.
        environ: where the rest comes from.

    Raises:
        ConfigError: the first setting that is wrong, by its name and variable.
    """
    found: dict[str, Any] = {}
    for option in options:
        text = given.get(option.name)
        if text is None:
            text = environ.get(option.variable, option.default)
        if text is None:
            raise ConfigError(f"--{option.name}", f"is missing; give it, or set {option.variable}")
        found[option.attribute] = _read(option, text)
    return found


def resolve(mode: str, given: Mapping[str, str | None], environ: Mapping[str, str] = os.environ) -> Settings:
    """Check all options and fill in what was not given.

    Args:
        mode: "run" or "once".
        given: texts from the command line by option name.
        environ: where the rest comes from; variables of the other mode are left alone.

    Raises:
        ConfigError: the first setting that is wrong, by its name and variable.
    """
    found: dict[str, Any] = {"mode": mode}
    for option in OPTIONS:
        allowed = mode in option.modes
        found |= values([option], given if allowed else {}, environ if allowed else {})
    settings = Settings(**found)
    if settings.commit and settings.pin:
        raise ConfigError("--pin", "cannot go together with --commit; give one of them")
    if settings.no_link and not settings.pin:
        raise ConfigError("--no-link", "is for --pin alone; give a version id")
    return settings


def _read(option: Option, text: str) -> object:
    try:
        return option.read(text)
    except Refused as error:
        raise ConfigError(f"--{option.name} (or {option.variable})", error.detail) from error
    except ValueError as error:
        raise ConfigError(f"--{option.name} (or {option.variable})", str(error)) from error
