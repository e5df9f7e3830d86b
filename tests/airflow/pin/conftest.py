from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from support.airflow2 import Airflow2
from support.bundles import Simulator
from support.deployments import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeAirflow = Callable[..., Airflow2]


def _deployment(directory: Path) -> Deployment:
    return Deployment(directory, Simulator(directory / "store"))


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with closing(_deployment(tmp_path)) as made:
        yield made


@pytest.fixture
def make_airflow(tmp_path: Path, deployment: Deployment, airflow2_python: Path) -> Iterator[MakeAirflow]:
    with ExitStack() as stack:
        homes = (tmp_path / f"airflow-{number}" for number in range(9))

        def make(folder: Path = deployment.link, **options: object) -> Airflow2:
            made = Airflow2(next(homes), airflow2_python, folder, **options)  # type: ignore[arg-type]
            return stack.enter_context(closing(made))

        yield make


@pytest.fixture
def airflow(make_airflow: MakeAirflow) -> Airflow2:
    return make_airflow()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, airflow2_python: Path) -> Iterator[tuple[Deployment, Airflow2]]:
    """Provide a pinned Airflow whose scheduler runs; for tests that bring trees of their own."""
    directory = tmp_path_factory.mktemp("running")
    with closing(_deployment(directory)) as deployment:
        deployment.deploy({"empty.txt": ""})
        with closing(Airflow2(directory / "airflow", airflow2_python, deployment.link)) as airflow:
            airflow.scheduler()
            yield deployment, airflow
