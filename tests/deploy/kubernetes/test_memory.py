"""What the manifests request is what a large tree takes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from support.bundles import Simulator
from support.manifests import all_containers
from support.pods import Pod

if TYPE_CHECKING:
    from pathlib import Path

FILES, CHANGED = 20_000, 2_000


def test_a_swap_of_many_files_takes_no_more_than_is_requested(tmp_path: Path) -> None:
    (request,) = {c.spec["resources"]["requests"]["memory"] for c in all_containers() if c.mode == "run"}
    simulator = Simulator(tmp_path / "store")
    pod = Pod(tmp_path, simulator)
    some = random.Random(1)
    tree = {f"d{number % 100}/f{number}.py": some.randbytes(500).hex() for number in range(FILES)}
    simulator.publish(tree, "a")
    running = pod.run("--no-fsync")
    try:
        running.wait("the first is live", lambda s: s["ready"])
        changed = {name: some.randbytes(500).hex() for name in list(tree)[:CHANGED]}
        second = simulator.publish(tree | changed, "b")
        running.wait_live(second.version)
        with open(f"/proc/{running.process.pid}/status") as file:
            peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
        print(f"{FILES} files, {CHANGED} changed: {peak:.0f} MiB at most")
        assert peak < int(request.removesuffix("Mi"))
    finally:
        pod.close()


def test_the_limit_is_twice_the_request() -> None:
    for container in (c for c in all_containers() if c.mode):
        memory = {key: int(value["memory"].removesuffix("Mi")) for key, value in container.spec["resources"].items()}
        assert memory["limits"] == 2 * memory["requests"], container.id
