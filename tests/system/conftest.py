from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


def lay_out_dags(folder: Path) -> None:
    """Put the example DAGs, and those of the tests, into one DAGs folder."""
    shutil.copytree(ROOT / "dags", folder, dirs_exist_ok=True)
    shutil.copytree(Path(__file__).parent / "dags", folder, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def airflow_database() -> Path:
    """The database of this test process's Airflow home, and its DAGs folder."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    lay_out_dags(folder)
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    return folder


@pytest.fixture
def run_dag(airflow_database: Path) -> Callable[..., Any]:
    """Run a DAG as ``dag.test()`` does; return its run."""

    def run(file: str, dag_id: str, **conf: Any) -> Any:
        try:
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:  # Airflow 3.0 and 3.1
            from airflow.models.dagbag import DagBag

        bag = DagBag(str(airflow_database / file))
        assert bag.import_errors == {}
        return bag.dags[dag_id].test(run_conf=conf)

    return run
