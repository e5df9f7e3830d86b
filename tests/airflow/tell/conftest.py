"""One site on each Airflow, whose puller tells it; at Airflow's default settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.airflowsites import AirflowSite, make_airflow_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", params=[3, 2], ids=["3", "2.11"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowSite]:
    """A site whose puller tells Airflow; the channel is not held, and all is parsed."""
    major = request.param
    python = request.getfixturevalue(f"airflow{major}_python")
    site = make_airflow_site(tmp_path_factory.mktemp(f"told{major}"), python, major)
    try:
        site.wait_parsed(site.start(told=True))
        yield site
    finally:
        site.close()
