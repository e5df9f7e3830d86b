"""Asking Airflow and telling it: the few requests that dagferry needs, the same on 3.x and 2.11."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from dagferry_shared.airflowapi import answers
from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from dagferry_shared.airflowapi.wire import Wire, tls_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_shared.airflowapi.address import Address
    from dagferry_shared.airflowapi.answers import Dag, ImportFailure
    from dagferry_shared.airflowapi.credentials import Credentials
    from dagferry_shared.airflowapi.wire import Answer
    from dagferry_shared.strictjson import Fields

SECONDS = 10.0  # for one request
PAGE = 100  # Airflow's own default and limit ([api] maximum_page_limit)
MAX_ENTRIES = 20_000  # DAGs or import errors; more is not an Airflow
_PREFIXES = {3: "/api/v2", 2: "/api/v1"}
_GOOD = {200, 201, 204}

Entry = TypeVar("Entry")


class Airflow:
    """One Airflow. Not for several threads at once.

    Which version it is, is asked for, and again after any error: an Airflow may be upgraded while we run.

    Args:
        address: of its API server, or of 2.11's webserver.
        credentials: who we are.
        seconds: for one request.
        ca: file of CA certificates for https; empty: the system's.

    Attributes:
        version: as it says, empty before it was asked.
        major: 3 or 2; 0 before it was asked.
    """

    def __init__(self, address: Address, credentials: Credentials, *, seconds: float = SECONDS, ca: str = "") -> None:
        self._wire = Wire(address, seconds, tls_context(ca) if address.tls else None)
        self._address = address
        self._credentials = credentials
        self.major = 0
        self._bearer = ""
        self.version = ""

    def dags(self, bundle: str = "") -> tuple[Dag, ...]:
        """Return the DAGs that are there (not those that Airflow holds to be gone).

        Args:
            bundle: of this bundle alone; 2.11 knows none.

        Raises:
            AirflowError: as everywhere here.
        """
        found = self._all("dags", answers.dag, {"bundle_name": bundle})
        by_id = {dag.dag_id: dag for dag in found if not bundle or self.major < 3 or dag.bundle == bundle}
        return tuple(by_id.values())  # a list that changes between two pages may name one twice

    def import_failures(self, bundle: str = "") -> tuple[ImportFailure, ...]:
        """Return the files that cannot be imported; those that these credentials may see."""
        found = self._all("import_errors", answers.failure, {"bundle_name": bundle})
        kept = {(one.bundle, one.file): one for one in found if not bundle or self.major < 3 or one.bundle == bundle}
        return tuple(kept.values())

    def reparse(self, token: str) -> None:
        """Ask for a file to be parsed now; 3.x also looks for new and deleted files of its bundle.

        Args:
            token: of a ``Dag``.
        """
        self._ask("PUT", f"/parseDagFile/{token}")

    def detect(self) -> int:
        """Return the major version, asked for once."""
        if not self.major:
            for major, prefix in _PREFIXES.items():
                answer = self._wire.request("GET", f"{prefix}/version", {})
                if answer.status == 404:
                    continue
                self._check(answer)
                said, self.version = answers.checked(lambda body=answer.body: answers.version(body))  # type: ignore[misc]
                if said != major:
                    raise AirflowError(Trouble.BAD_ANSWER, f"version {self.version} is not one of {prefix}")
                self.major = major
                return major
            raise AirflowError(Trouble.NOT_FOUND, f"{self._address} has no API of Airflow 3 or 2")
        return self.major

    def _all(self, name: str, read: Callable[[Fields], Entry], query: dict[str, str]) -> list[Entry]:
        found: list[Entry] = []
        path = {"import_errors": "/importErrors"}.get(name, f"/{name}")
        while True:
            more = query if self.detect() >= 3 and query["bundle_name"] else {}
            order = {"order_by": "dag_id" if name == "dags" else "import_error_id"}
            words = urlencode({"limit": PAGE, "offset": len(found), **order, **more})
            body = self._ask("GET", f"{path}?{words}").body
            page = answers.checked(lambda body=body: answers.page(body, name))  # type: ignore[misc]
            found += answers.checked(lambda page=page: [read(entry) for entry in page.entries])  # type: ignore[misc]
            if len(found) > MAX_ENTRIES:
                raise AirflowError(Trouble.BAD_ANSWER, f"more than {MAX_ENTRIES} {name}")
            if not page.entries or len(found) >= page.total:
                return found

    def _ask(self, method: str, path: str) -> Answer:
        """Send one request as who we are; a login that has run out is renewed once."""
        try:
            prefix = _PREFIXES[self.detect()]
            answer = self._wire.request(method, prefix + path, self._authorization())
            if answer.status in {401, 403} and self._bearer:  # 3.x: 401 one that ran out, 403 one of another secret
                self._bearer = ""
                answer = self._wire.request(method, prefix + path, self._authorization())
            self._check(answer)
        except AirflowError:
            self.major, self._bearer = 0, ""
            raise
        return answer

    def _authorization(self) -> dict[str, str]:
        who = self._credentials
        if who.token:
            return {"Authorization": f"Bearer {who.token}"}
        if not who.username:
            return {}
        if self.major < 3:
            pair = base64.b64encode(f"{who.username}:{who.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        self._bearer = self._bearer or self._login()
        return {"Authorization": f"Bearer {self._bearer}"}

    def _login(self) -> str:
        body = json.dumps({"username": self._credentials.username, "password": self._credentials.password}).encode()
        answer = self._wire.request("POST", "/auth/token", {"Content-Type": "application/json"}, body)
        self._check(answer)
        return answers.checked(lambda: answers.access_token(answer.body))

    def _check(self, answer: Answer) -> None:
        status = answer.status
        if status in _GOOD:
            return
        if status in {401, 403}:
            hint = (
                "credentials are wrong or missing"
                if status == 401
                else "these credentials are wrong, or may not do this"
            )
            raise AirflowError(Trouble.DENIED, f"{self._address} answered {status}: {hint}")
        if status == 404:
            raise AirflowError(Trouble.NOT_FOUND, f"{self._address} answered 404")
        if status >= 500 or status == 429:
            raise AirflowError(Trouble.UNREACHABLE, f"{self._address} answered {status}")
        hint = "; redirects are not followed" if 300 <= status < 400 else ""
        raise AirflowError(Trouble.BAD_ANSWER, f"{self._address} answered {status}{hint}")
