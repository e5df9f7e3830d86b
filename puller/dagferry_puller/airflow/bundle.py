"""``DagferryBundle``: a DAG bundle for Airflow 3 whose versions are dagferry's."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_puller.airflow.base import BaseDagBundle, BundleVersion, get_bundle_tracking_file
from dagferry_puller.airflow.errors import Missing, explained
from dagferry_puller.airflow.sidecar import Sidecar, peek
from dagferry_shared.errors import DagferryError

if TYPE_CHECKING:
    from dagferry_puller.airflow.held import Held
    from dagferry_puller.airflow.reparse import Reparse
    from dagferry_puller.airflow.storage import Storage

log = logging.getLogger("dagferry_puller.airflow")

# Options of ``dagferry-puller once`` that the own storage takes, as keyword arguments.
OPTIONS = (
    "store", "bundle", "channel", "trust", "keep", "keep_hours", "max_bytes", "max_files", "no_fsync", "touch", "reuse",
    "on_revoked", "accept_expired_for", "min_rate", "download_timeout", "check_command", "check_timeout", "timeout",
)  # fmt: skip


class DagferryBundle(BaseDagBundle):
    """A bundle that is one signed version, whole, for each process that parses or runs it.

    Its version is dagferry's version id (``<commit>-<release digest>``), which Airflow keeps with each DAG run, and
    ``path`` is that version's own directory, never the link. Two ways to get at versions, which go together:

    - **sidecar**: ``root`` is a volume that a ``dagferry-puller`` fills. It is only read (mount it readOnly); what its
      link names is the newest version. Needs nothing else.
    - **own**: without such a root, or for the pinned version of a run that is no longer on it, ``dagferry-puller once``
      pulls into ``[dag_processor] dag_bundle_storage_path``, verifying everything as ever. Needs ``store``,
      ``channel`` and ``trust``.

    A version is leased for as long as this process uses it and for an hour, so that no puller retires it meanwhile.

    In ``airflow.cfg``, a sidecar's volume at ``/dags``, and a store for runs that are pinned to older versions::

        [dag_processor]
        dag_bundle_config_list = [{"name": "etl", "classpath": "dagferry_puller.airflow.DagferryBundle",
            "kwargs": {"root": "/dags", "refresh_interval": 5,
                       "store": "s3://dags/prod", "channel": "main", "trust": "/etc/dagferry/trust.json"}}]

    What is not given here is taken from ``DAGFERRY_*`` in the environment, as by the puller; credentials of the store
    always are (``AWS_*``). Numbers and true/false may be given as such.

    Args:
        root: directory of the sidecar's root, or ``DAGFERRY_ROOT``.
        link: the link's path below it, or ``DAGFERRY_LINK``; default ``current``.
        subdir: directory of the version that holds the DAGs; default: all of it.
        store: ``s3://BUCKET/PREFIX`` or ``file:///DIRECTORY``; own storage is used only with one.
        bundle: dagferry's name of the bundle; default: ``DAGFERRY_BUNDLE``, else Airflow's name of it.
        channel: the channel to follow.
        trust: path of the trust file.
        timeout: the time that one pull has, the wait for another process's included; default ``2m``. The dag-processor
            does nothing else meanwhile.
        keep, keep_hours, max_bytes, max_files, no_fsync, touch, reuse, on_revoked, accept_expired_for, min_rate,
            download_timeout, check_command, check_timeout: as ``dagferry-puller once --help`` says.
        name, version, refresh_interval, view_url_template, ...: Airflow's own. ``refresh_interval`` (seconds, 300 by
            default) is how often the dag-processor looks for a new version. Without a ``view_url_template`` versions
            link to their commit in GitLab.
    """

    supports_versioning = True

    def __init__(
        self, *, root: str | None = None, link: str | None = None, subdir: str | None = None, **kwargs: object
    ) -> None:
        options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
        given = {name: _text(value) for name, value in options.items() if value is not None}
        super().__init__(**kwargs)
        environ = os.environ
        self._sidecar = Sidecar(
            root or environ.get("DAGFERRY_ROOT", ""), link or environ.get("DAGFERRY_LINK", "current")
        )
        self._given = {"bundle": environ.get("DAGFERRY_BUNDLE", self.name), **given}
        self._subdir = subdir or ""
        self._held: Held | None = None
        self._before: Held | None = None  # what was current before: Airflow's queue may hold paths of it
        self._refreshed = False
        self._reparse: Reparse | None = None
        self._interval = self.refresh_interval
        self._is_marked = False

    # What Airflow calls

    def initialize(self) -> None:
        """Get the version, or the newest one; BundleUnavailable says why there is none.

        The newest one is what is live in the own storage, if it is whole and trusted, when no newer can be had.
        """
        self._get()
        super().initialize()

    def refresh(self) -> None:
        """Get the newest version, and make sure that it is whole.

        Raises:
            BundleUnavailable: it cannot be had. Airflow keeps what it has and tries again after some seconds. The first
                refresh is content with what ``initialize`` was: files are looked for only after a refresh.
        """
        from dagferry_puller.airflow.reparse import Reparse  # noqa: PLC0415 - not needed by tasks

        before = self._held
        self._get()
        self._refreshed = True
        if self._reparse is None:
            self._reparse = Reparse(self.name)
        if before and self._held and before.version != self._held.version:
            self._reparse.switched(before.stamp, self.path)
        else:
            self._reparse.settle(self.path)
        # Airflow looks at it every bundle_refresh_check_interval.
        self.refresh_interval = 0 if self._reparse.is_pending else self._interval

    @property
    def path(self) -> Path:
        """The directory with the DAGs, of the version that was got last."""
        directory = self._held.path if self._held else self._peek()
        return Path(directory or os.path.join(self._own_root, "versions", self.version or "none"), self._subdir)

    def get_current_version(self) -> BundleVersion | None:
        """Return the version that ``path`` is of."""
        if self._held:
            return BundleVersion(self._held.version)
        directory = self._peek()
        version = self.version or (os.path.basename(directory) if directory else None)
        return BundleVersion(version) if version else None

    def view_url_template(self) -> str | None:
        """Return the address of a version's commit; needs no initialisation.

        The repository is that of a release on this host, else the one that the trust file names; None if there is no
        such, or it is no web address.
        """
        from dagferry_puller.airflow import links  # noqa: PLC0415 - not needed by tasks

        configured = super().view_url_template()
        if configured:
            return configured
        directories = (self._sidecar.peek(None), peek(self._own_root, "current", None))
        found = links.template(directory for directory in directories if directory)
        if found is None and self._storage().is_configured:
            try:
                found = links.of_trust(self._storage().environ)
            except (DagferryError, OSError) as error:
                log.warning("bundle %s: versions link to nothing: %s", self.name, error)
        return found

    # Versions

    @property
    def _own_root(self) -> str:
        # Not base_dir itself: below base_dir/versions Airflow's cleanup removes what it thinks is unused.
        return os.path.join(self.base_dir, "dagferry")

    def _storage(self) -> Storage:
        from dagferry_puller.airflow.storage import Storage  # noqa: PLC0415 - not needed with a sidecar

        return Storage(self._own_root, self._given, os.environ)

    def _peek(self) -> str | None:
        return self._sidecar.peek(self.version) or peek(self._own_root, "current", self.version)

    def _get(self) -> None:
        wanted = f"version {self.version}" if self.version else "newest version"
        with explained(self.name, wanted, self._held.version if self._held else None):
            held = self._pinned(self.version) if self.version else self._head()
            if not os.path.isdir(os.path.join(held.path, self._subdir)):
                # Airflow would take a missing directory for an empty one and deactivate every DAG.
                raise Missing(f"version {held.version} has no directory {self._subdir!r} (the bundle's subdir)")
            if self._held and self._held.version != held.version:
                self._before = self._held
            self._held = held
        if sys.pycache_prefix is None:  # root can write into a version, and bytecode there is tampering
            sys.dont_write_bytecode = True

    def _pinned(self, version: str) -> Held:
        if not self._is_marked:
            self._mark(version)
        held = self._sidecar.pinned(version) if self._sidecar.root else None
        if held:
            return held
        storage = self._storage()
        if not storage.is_configured:
            raise Missing(
                f"it is not in {self._sidecar.root or 'a sidecar root (none is set)'}: it was retired, or the init "
                "container unpacked another one. Keep versions longer there (--keep, --keep-hours), or give the bundle "
                "a store, channel and trust, to fetch what is missing"
            )
        return storage.pinned(version)

    def _head(self) -> Held:
        if self._sidecar.is_there:
            return self._sidecar.head()
        storage = self._storage()
        if not storage.is_configured:
            raise Missing(
                f"no dagferry-puller has filled {self._sidecar.root or 'a root (none is set)'} yet, and there is no "
                "store; set root to the sidecar's volume, or store, channel and trust"
            )
        try:
            return storage.head()
        except (DagferryError, OSError) as error:
            standing = None if self._refreshed else storage.standing()
            if standing is None:
                raise
            log.warning(
                "bundle %s: %s. Version %s is used, which is here and verified", self.name, error, standing.version
            )
            return standing

    def _mark(self, version: str) -> None:
        """Let Airflow's cleanup of versions that it has noted do no harm.

        It removes ``base_dir/versions/<version>``, and an error in it ends a scheduler with the LocalExecutor; so
        there is an empty directory for it. Its note of this version is locked against a cleanup that runs meanwhile.
        Nothing of this is needed where the storage cannot be written: Airflow takes no notes there either.
        """
        with suppress(OSError):
            os.makedirs(os.path.join(self.versions_dir, version), exist_ok=True)
            note = os.open(get_bundle_tracking_file(self.name, version), os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, note).atexit = False
            fcntl.flock(note, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._is_marked = True


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
