"""A small HTTP server that answers like Airflow 3 or 2.11, as far as dagferry asks, and keeps what it was asked."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

USER, PASSWORD, JWT = "dagferry", "very-secret", "jwt.of.dagferry"


def now() -> str:
    """Return an instant as Airflow writes it."""
    return datetime.now(UTC).isoformat()


class FakeAirflow:
    """The server; a context manager.

    Args:
        major: 3 or 2.
        tls: serve https by this.

    Attributes:
        dags: by id, fields of the API.
        errors: by file, fields of the API.
        asked: method and path with query of every request.
        tokens: of reparse requests, in order.
        parse: called with the file of each, to change ``dags`` and ``errors``.
        instead: by path (without query): status and body that are answered instead.
        page: entries in one answer.
    """

    def __init__(self, major: int = 3, *, tls: ssl.SSLContext | None = None) -> None:
        self.major = major
        self.dags: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.parse: Callable[[str], None] = self.parse_well
        self.instead: dict[str, tuple[int, bytes]] = {}
        self.page = 100
        self._lock = threading.Lock()
        self._tls = tls

    # What Airflow has

    def dag(self, name: str, *, file: str = "", version: str | None = None, parsed: str | None = None) -> None:
        """Add or replace a DAG."""
        facts = {"dag_id": name, "last_parsed_time": parsed or now(), "file_token": f"tok.{file or name}.py"}
        if self.major == 3:
            facts |= {"bundle_name": "dags-folder", "bundle_version": version, "last_parse_duration": 0.0}
            facts |= {"relative_fileloc": f"{file or name}.py"}
        self.dags[name] = {"fileloc": f"/{version or 'dags'}/{file or name}.py", "owners": ["x"], **facts}

    def error(self, file: str, text: str = "RuntimeError: no", at: str | None = None) -> None:
        """Add or replace an import error of a file (without .py)."""
        bundle = {"bundle_name": "dags-folder"} if self.major == 3 else {}
        facts = {"filename": self.place(file), "timestamp": at or now(), "stack_trace": f"Traceback …\n  x\n{text}\n"}
        self.errors[file] = {"import_error_id": 1, **facts, **bundle}

    def place(self, file: str) -> str:
        """Return a file's path as this version names it."""
        return f"{file}.py" if self.major == 3 else f"/dags/{file}.py"

    def parse_well(self, file: str) -> None:
        """Parse a file's DAGs, now."""
        self.errors.pop(file, None)
        for facts in self.dags.values():
            if facts["file_token"] == f"tok.{file}.py":
                facts["last_parsed_time"] = now()

    # The server

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = fake.answer(self.command, self.path, self.headers.get("Authorization", ""), self._body())
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_POST = do_GET  # noqa: N815 - as http.server has it

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, target: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        """Answer one request."""
        with self._lock:
            self.asked.append(f"{method} {target}")
            url = urlsplit(target)
            if url.path in self.instead:
                return self.instead[url.path]
            prefix = "/api/v2" if self.major == 3 else "/api/v1"
            if url.path == "/auth/token" and self.major == 3:
                good = json.loads(body) == {"username": USER, "password": PASSWORD}
                return (201, json.dumps({"access_token": JWT}).encode()) if good else (401, b"{}")
            if not url.path.startswith(prefix + "/"):
                return 404, b"<html>"
            if url.path == f"{prefix}/version":
                return 200, json.dumps(
                    {"version": "3.3.2" if self.major == 3 else "2.11.2", "git_version": None}
                ).encode()
            if authorization not in self._welcome():
                return 401, b"{}"
            return self._serve(method, url.path.removeprefix(prefix), parse_qs(url.query))

    def _welcome(self) -> set[str]:
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return {f"Bearer {JWT}"} if self.major == 3 else {f"Basic {basic}", f"Bearer {JWT}"}

    def _serve(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        if method == "PUT":
            token = path.removeprefix("/parseDagFile/")
            if not any(dag["file_token"] == token for dag in self.dags.values()):
                return 404, b"{}"
            self.tokens.append(token)
            self.parse(token.removeprefix("tok.").removesuffix(".py"))
            return 201, b""
        name, entries = ("dags", self.dags) if path == "/dags" else ("import_errors", self.errors)
        bundle = query.get("bundle_name", [""])[0]
        kept = [entry for entry in entries.values() if not bundle or entry["bundle_name"] == bundle]
        start = int(query["offset"][0])
        page = kept[start : start + min(self.page, int(query["limit"][0]))]
        return 200, json.dumps({name: page, "total_entries": len(kept)}).encode()
