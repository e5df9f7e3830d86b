"""``dagferry-check`` as a process, and DAGs that do what nobody wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = Path(os.path.abspath(sys.executable)).with_name("dagferry-check")
# Makes a host that permits no namespaces: what a container's default seccomp profile does.
WITHOUT_NAMESPACES = ("unshare", "-Ur", "sh", "-c", 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', "sh")


@dataclass(frozen=True)
class Checked:
    """How a check ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The document on stdout."""
        return json.loads(self.stdout)

    def errors(self) -> dict[str, list[dict[str, Any]]]:
        """Return the errors of the document by file."""
        found: dict[str, list[dict[str, Any]]] = {}
        for error in self.report["errors"]:
            found.setdefault(error["file"], []).append(error)
        return found


def run_check(
    *arguments: str | Path,
    command: Path = COMMAND,
    prefix: tuple[str, ...] = (),
    environ: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Checked:
    """Run the command to its end; processes in the sandbox are measured, too, if this one is."""
    measured = [f"--env={name}" for name in os.environ if name.startswith("COVERAGE_PROCESS")]
    done = subprocess.run(
        [*prefix, command, *measured, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(environ or {})},
        cwd=cwd,
        timeout=180,
    )
    return Checked(done.returncode, done.stdout, done.stderr)


def write_tree(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below a directory."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory


def snapshot(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, modification time and content of everything below a directory."""
    found = {}
    for path in sorted(directory.rglob("*")):
        stat = path.lstat()
        found[str(path.relative_to(directory))] = (
            stat.st_mode,
            stat.st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else b"",
        )
    return found


def processes_with(mark: str) -> list[str]:
    """Return the processes that have a text in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if mark in line:
            found.append(str(path))
    return found


_DAG = "from airflow import DAG\n"
MARK = f"left-behind-by-a-dag-of-{os.getpid()}"  # other workers do the same at the same time
SECRET = "hush-7f3a"  # in many variables of the process that starts the check
SECRETS = dict.fromkeys(
    ["AWS_SECRET_ACCESS_KEY", "DAGFERRY_NOTIFY_TOKEN", "AIRFLOW_CONN_X", "AIRFLOW__CORE__FERNET_KEY", "CI_JOB_TOKEN"],
    SECRET,
)


def hostile(port: int) -> dict[str, str]:
    """Return DAG files by name.

    Args:
        port: where nothing may connect to.
    """
    return {
        "a_good.py": _DAG + "from helpers.names import NAME\nwith DAG(NAME, schedule=None): pass\n",
        "helpers/__init__.py": "",
        "helpers/names.py": "NAME = 'good'\n",
        "syntax.py": _DAG + "def f(:\n",
        "missing.py": _DAG + "import os\nimport nothing_here\n",
        "sleeps.py": _DAG + "import time\ntime.sleep(600)\n",
        "hangs.py": _DAG + "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: signal.pause()\n",
        "exits.py": _DAG + "import os\nos._exit(0)\n",
        "stops.py": _DAG + "import sys\nsys.exit('enough')\n",
        "prints.py": _DAG
        + "import sys\nfor _ in range(100): print('x' * 1_000_000); sys.stderr.write('y' * 1_000_000)\n"
        + "with DAG('prints', schedule=None): pass\n",
        "forks.py": _DAG
        + "import subprocess, sys\n"
        + f"command = [sys.executable, '-c', 'import time; time.sleep(600)', '{MARK}']\n"
        + "subprocess.Popen(command, start_new_session=True)\nwith DAG('forks', schedule=None): pass\n",
        "g_after.py": _DAG + "import glob\n"
        "for path in glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try: line = open(path, errors='replace').read()\n"
        "    except OSError: continue\n"
        f"    if '{MARK}' in line: raise RuntimeError('the file before still runs')\n",
        "writes.py": _DAG + "import os\nfrom pathlib import Path\nhere, done = Path(__file__).parent, []\n"
        "for act in (lambda: (here / 'new.py').write_text('x'), lambda: (here / 'a_good.py').write_text('x'),\n"
        "            lambda: (here / 'a_good.py').unlink(), lambda: (here / 'more').mkdir()):\n"
        "    try: act(); done.append(act)\n"
        "    except OSError: pass\n"
        "if done: raise RuntimeError(f'wrote {len(done)}')\n",
        "memory.py": _DAG + "x = bytearray(10 << 30)\n",
        "secrets.py": _DAG + "import glob, os\nfound = [str(dict(os.environ))]\n"
        "for path in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try: found.append(open(path, errors='replace').read())\n"
        "    except OSError: pass\n"
        f"leak = any('{SECRET[:4]}' + '{SECRET[4:]}' in text for text in found)\n"
        "raise RuntimeError('leak' if leak else 'nothing')\n",
        # Only what this check made: a sandbox that is broken must not end the machine that tests it.
        "kills.py": _DAG + "import os, signal\n"
        "targets, pid = [], os.getppid()\n"
        "while pid:\n"
        "    try: line, stat = open(f'/proc/{pid}/cmdline').read(), open(f'/proc/{pid}/stat').read()\n"
        "    except OSError: break\n"
        "    if 'dagferry_puller.airflow.check' in line or '/dagferry-check' in line: targets.insert(0, pid)\n"
        "    pid = int(stat.rpartition(')')[2].split()[1])\n"
        "assert targets\n"
        "for pid in targets:\n"
        "    try: os.kill(pid, signal.SIGKILL)\n"
        "    except OSError: pass\n"
        "with DAG('kills', schedule=None): pass\n",
        "spoofs.py": _DAG + "import json, os\nfrom pathlib import Path\n"
        "good = str(Path(__file__).parent / 'a_good.py')\n"
        "lie = json.dumps({'dags': ['spoofed'], 'errors': [{'file': good, 'text': 'a lie'}]})\n"
        "end = json.dumps({'end': True})\n"
        "for fd in range(3, 256):\n"
        "    try: os.write(fd, lie.encode()); os.ftruncate(fd, len(lie))\n"
        "    except OSError: pass\n"
        "os._exit(0)\n",
        "babbles.py": _DAG + "import os\nfor fd in range(3, 256):\n"
        "    try: os.write(fd, b'{\"dags\": [[[[' * 200_000)\n"
        "    except OSError: pass\n"
        "os._exit(0)\n",
        "same_a.py": _DAG + "with DAG('same', schedule=None): pass\n",
        "same_b.py": _DAG + "with DAG('same', schedule=None): pass\n",
        "connects.py": _DAG + f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)\n"
        "with DAG('connects', schedule=None): pass\n",
        "ignored.py": _DAG + "raise RuntimeError('it should not be loaded')\n",
        ".airflowignore": "ignored.py\n",
        "z_last.py": _DAG + "with DAG('last', schedule=None): pass\n",
    }


# What must be found in ``hostile``: kind, words of the message, line.
FINDINGS: dict[str, tuple[str, str, int | None]] = {
    "syntax.py": ("import", "SyntaxError", 2),
    "missing.py": ("import", "No module named 'nothing_here'", 3),
    "sleeps.py": ("import", "DagBag import timeout", 3),
    "hangs.py": ("timeout", "not loaded within {seconds} s", None),
    "exits.py": ("died", "exit 0", None),
    "stops.py": ("import", "SystemExit: enough", 3),
    "memory.py": ("import", "MemoryError", 2),
    "secrets.py": ("import", "RuntimeError: nothing", 8),
    "spoofs.py": ("import", "a lie", None),
    "babbles.py": ("died", "nonsense", None),
    "same_a.py": ("duplicate", "'same' is also in same_b.py", None),
    "same_b.py": ("duplicate", "'same' is also in same_a.py", None),
    "connects.py": ("import", "Error", 3),
}
