"""``make fuzz SECONDS=120 [PARSER=name]``: coverage-guided fuzzing (atheris) of every parser of hostile bytes.

Each parser runs in a process of its own, for the given time, from the seeds in ``tests/fuzz/seeds``. A finding is any
exception but a refusal, an accepted input with a second meaning (``targets.py``), more memory than the limit, or an
input that takes over 10 s. Findings are written to ``.cache/fuzz/<parser>/finding-…`` and end the run with exit 1; each
becomes a seed, which a test replays, and a regression test of its own. What was learnt stays in ``.cache/fuzz`` too.

    python tests/fuzz/fuzz.py --seconds 120 [--parser NAME] [--jobs N]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
CACHE = ROOT / ".cache" / "fuzz"
SEEDS = TESTS / "fuzz" / "seeds"
PATHS = [os.fspath(path) for path in (TESTS, ROOT / "shared", ROOT / "publisher", ROOT / "puller")]
MEMORY_MIB = 192  # atheris and the parsers take about 70
INPUT_SECONDS = 10
MAX_INPUT = 64 * 1024  # bytes
NAMES = ("envelope", "release", "pointer", "trust", "state", "archive", "tar", "frame", "delta", "notification")


def fuzz_one(name: str, arguments: list[str]) -> None:
    """Fuzz one parser in this process until libFuzzer's limits end it."""
    import atheris

    with atheris.instrument_imports(include=["dagferry_shared", "dagferry_puller"]):
        from fuzz import targets

    mutator = targets.MUTATORS.get(name)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        assert mutator is not None
        return mutator(data, most, random.Random(seed), atheris.Mutate)[:most]

    more = {"custom_mutator": mutate} if mutator else {}
    atheris.Setup([sys.argv[0], *arguments], targets.TARGETS[name], **more)
    atheris.Fuzz()


@dataclass(frozen=True)
class Outcome:
    """What a parser's run came to."""

    name: str
    executions: int
    coverage: tuple[int, int]  # libFuzzer's counters at the start and at the end
    features: tuple[int, int]
    peak_mib: int
    finding: str  # empty: none

    def row(self) -> str:
        """Return a line of the table."""
        coverage, features = (f"{first} + {last - first}" for first, last in (self.coverage, self.features))
        verdict = self.finding or "none"
        return f"{self.name:<13} {self.executions:>10} {coverage:>12} {features:>14} {self.peak_mib:>5} MiB  {verdict}"


HEADER = f"{'parser':<13} {'executions':>10} {'coverage':>12} {'features':>14} {'peak RSS':>9}  findings"


def outcome_of(name: str, log: str, code: int) -> Outcome:
    """Read libFuzzer's report."""
    shown = [(int(cov), int(ft)) for cov, ft in re.findall(r"\bcov: (\d+) ft: (\d+)", log)] or [(0, 0)]
    stats = {key: int(value) for key, value in re.findall(r"stat::(\w+):\s+(\d+)", log)}
    peak = stats.get("peak_rss_mb", 0)
    finding = "" if code == 0 else f"FINDING (exit {code}): {CACHE / name}"
    if code == 0 and not 0 < peak <= MEMORY_MIB:
        finding = f"FINDING: {peak} MiB of memory, {MEMORY_MIB} allowed"
    first, last = shown[0], shown[-1]
    executions = stats.get("number_of_executed_units", 0)
    return Outcome(name, executions, (first[0], last[0]), (first[1], last[1]), peak, finding)


def run(name: str, seconds: int) -> Outcome:
    """Fuzz one parser in a process of its own; its log is kept."""
    corpus = CACHE / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={INPUT_SECONDS}"]
    places = [f"-artifact_prefix={CACHE / name}/finding-", f"-max_len={MAX_INPUT}", "-print_final_stats=1"]
    command = [sys.executable, __file__, "--child", name, "--", *limits, *places, os.fspath(corpus)]
    done = subprocess.run([*command, os.fspath(SEEDS / name)], capture_output=True, text=True, errors="replace")
    log = done.stderr + done.stdout
    (CACHE / name / "log").write_text(log)
    return outcome_of(name, log, done.returncode)


def main() -> None:
    sys.path[:1] = PATHS  # this directory is the package "fuzz", not a place for modules
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=120, help="for each parser")
    parser.add_argument("--parser", choices=NAMES, help="this one only")
    parser.add_argument("--jobs", type=int, default=2, help="parsers at a time")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        fuzz_one(asked.child, asked.arguments)
        return
    names = [asked.parser] if asked.parser else list(NAMES)
    print(HEADER, flush=True)
    failed = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        for outcome in pool.map(lambda name: run(name, asked.seconds), names):
            print(outcome.row(), flush=True)
            failed += bool(outcome.finding)
    total = f"{asked.seconds} s for each of {len(names)} parsers"
    sys.exit(f"{total}: {failed} with findings" if failed else print(f"{total}: no findings"))


if __name__ == "__main__":
    main()
