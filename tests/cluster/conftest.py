"""A cluster for the tests in this folder: `make cluster-test`. They need Redis, PostgreSQL and Linux."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.testing import Sandbox
    from testbed.cluster_airflow import ClusterAirflow

ROOT = Path(__file__).parents[2]
ON_WORKERS_ONLY = "hedra_workers"
"""A connection in the environment of the workers, and of no other component."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def hedra() -> Iterator[Sandbox]:
    from hedra_provider.testing import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def started_cluster(hedra: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterAirflow]:
    from testbed.cluster_airflow import WORKERS, ClusterAirflow

    folder = tmp_path_factory.mktemp("cluster")
    shutil.copytree(ROOT / "dags", folder / "dags")
    shutil.copytree(Path(__file__).parent / "dags", folder / "dags", dirs_exist_ok=True)
    variables = {f"AIRFLOW_CONN_{ON_WORKERS_ONLY.upper()}": hedra.connection}
    airflow = ClusterAirflow(folder / "home", folder / "dags", env_of=dict.fromkeys(WORKERS, variables))
    with airflow:
        connection = {"connection_id": "hedra_default", "conn_type": "hedra"}
        connection |= {"host": hedra.base_url, "password": hedra.api_key}
        airflow.call("POST", "/connections", connection)
        for dag_id in ("elsewhere", "hedra_clips_from_table"):
            airflow.wait_for_dag(dag_id)
        yield airflow


@pytest.fixture
def cluster(started_cluster: ClusterAirflow, hedra: Sandbox) -> Iterator[ClusterAirflow]:
    """The cluster with all of its components, empty disks, and a Hedra that has seen nothing."""
    from testbed.cluster_airflow import MACHINES

    hedra.reset()
    for machine in MACHINES:
        started_cluster.revive(machine)
        for path in started_cluster.disk_of(machine).iterdir():
            # Not the folder itself: it is mounted.
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    yield started_cluster
    hedra.faults()
