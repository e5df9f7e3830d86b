"""What is given back: code, only what the file has all of, and free memory; the process goes on as before."""

from __future__ import annotations

import subprocess
import sys

from dagferry_puller.footprint import clean_code

SMAPS = """\
55d0c0000000-55d0c0010000 r--p 00000000 08:01 1234                       /usr/bin/python3.11
Rss:                  64 kB
Anonymous:             0 kB
55d0c0010000-55d0c0030000 r-xp 00010000 08:01 1234                       /usr/bin/python3.11
Rss:                 128 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55d0c0030000-55d0c0040000 r-xp 00000000 08:01 1235                       /usr/lib/x86_64-linux-gnu/breakpoint.so
Rss:                  64 kB
Anonymous:             4 kB
55d0c0040000-55d0c0050000 r-xp 00000000 08:01 1236                       /usr/lib/with space/a b.so (deleted)
Anonymous:             0 kB
55d0c0050000-55d0c0060000 rw-p 00000000 08:01 1236                       /usr/lib/data.so
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
7ffd00010000-7ffd00020000 rwxp 00000000 00:00 0
Anonymous:             0 kB
"""

GIVES_BACK = """
import hashlib, re
from pathlib import Path
from dagferry_puller.footprint import give_back

def resident():
    return int(re.search(r"Rss: +(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1])

before, digest = resident(), hashlib.sha256(b"x").hexdigest()
give_back()
after = resident()
assert hashlib.sha256(b"x").hexdigest() == digest
print(before - after)
"""


FREE = """
import re
from pathlib import Path
from dagferry_puller.footprint import give_back

def anonymous():
    return int(re.search(r"Anonymous: +(\\d+)", Path("/proc/self/smaps_rollup").read_text())[1])

pieces = [bytes([number % 256]) * 2000 for number in range(20_000)]
last = pieces[-1]  # what lies above free memory keeps the allocator from giving it back
del pieces
before = anonymous()
give_back()
print(before - anonymous())
"""


def test_code_that_somebody_wrote_to_and_what_is_no_file_stays() -> None:
    found = [hex(start) for start, _ in clean_code(SMAPS.splitlines())]
    assert found == ["0x55d0c0010000", "0x55d0c0040000"]
    assert sum(length for _, length in clean_code(SMAPS.splitlines())) == 0x30000


def test_process_that_gave_its_code_back_is_smaller_and_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", GIVES_BACK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1024  # KiB


def test_memory_that_lies_free_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20_000  # KiB, of 40,000


def test_python_without_ctypes_keeps_its_code_and_goes_on() -> None:
    program = "import sys; sys.modules['ctypes'] = None\nfrom dagferry_puller.footprint import *\ngive_back()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
