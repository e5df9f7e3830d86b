"""Repository addresses in one form, so that a clone over ssh, https or with a CI token names the same repository."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from dagferry_publisher.errors import UsageError

_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^/:@]+):(?P<path>[^:].*)")


def normalise(address: str) -> str:
    """Return ``https://host[:port]/path`` (or ``file:///path``): no userinfo, no ``.git``, host in lower case.

    ssh, git and scp-like addresses become https, as they name the same project on the same host.

    Raises:
        UsageError: it is no address at all.
    """
    text = address.strip()
    if text.startswith("/"):
        text = f"file://{text}"
    if "://" not in text:
        match = _SCP.fullmatch(text)
        if not match:
            raise UsageError("--repository is not a repository URL such as https://gitlab.example.org/group/project")
        text = f"ssh://{match['host']}/{match['path']}"
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise UsageError("--repository has a malformed host or port") from error
    scheme = "https" if parts.scheme in {"ssh", "git", "git+ssh", "ssh+git"} else parts.scheme
    if scheme not in {"https", "http", "file"} or (scheme != "file" and not host):
        raise UsageError(f"--repository has the scheme {parts.scheme!r}; give an https, ssh or file address")
    path = parts.path.strip("/").removesuffix(".git").rstrip("/")
    if not path:
        raise UsageError("--repository names a host but no project")
    ssh_port = scheme != parts.scheme
    return f"{scheme}://{host}{f':{port}' if port and not ssh_port else ''}/{path}"
