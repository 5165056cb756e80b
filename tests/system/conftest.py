from __future__ import annotations

import shutil
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from testbed.crashable_airflow import CrashableAirflow

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)
    # Side by side and last: their Airflow takes its time, also when it idles, from no other test.
    items.sort(key=lambda item: item.get_closest_marker("crash") is not None)


def lay_out_dags(folder: Path) -> None:
    """Put the example DAGs, and those of the tests, into one DAGs folder."""
    shutil.copytree(ROOT / "dags", folder, dirs_exist_ok=True)
    shutil.copytree(Path(__file__).parent / "dags", folder, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def airflow_database(airflow_dags: Path) -> Path:
    """The DAGs folder, with the example DAGs and those of the tests."""
    lay_out_dags(airflow_dags)
    return airflow_dags


@pytest.fixture(scope="session")
def quick_database(airflow_database: Path) -> Path:
    """The same, for ``dag.test()``: its hundreds of commits do not wait for the disk."""
    from airflow.sdk.execution_time import supervisor
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    # Airflow 3.0 builds the API that its tasks talk to, seconds of work, again for each task.
    supervisor.in_process_api_server = cache(supervisor.in_process_api_server)

    @event.listens_for(Engine, "connect")
    def hurry(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    return airflow_database


@pytest.fixture
def run_dag(quick_database: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a DAG as ``dag.test()`` does; return its run."""
    # There is no scheduler that a trigger could outrun.
    monkeypatch.setattr("hedra_provider.triggers.FIRST_POLL_SECONDS", 0.0)

    def run(file: str, dag_id: str, **conf: Any) -> Any:
        try:
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:  # Airflow 3.0 and 3.1
            from airflow.models.dagbag import DagBag

        # dag.test() parses and stores every DAG of the folder, at each call.
        (quick_database / ".airflowignore").write_text(f"*\n!{file}\n")
        bag = DagBag(str(quick_database / file))
        assert bag.import_errors == {}
        return bag.dags[dag_id].test(run_conf=conf)

    return run


@pytest.fixture(scope="session")
def crashable_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashableAirflow]:
    """An Airflow that misses what died after seconds, for the tests that kill and clear."""
    from testbed.crashable_airflow import CrashableAirflow

    folder = tmp_path_factory.mktemp("crashable")
    lay_out_dags(folder / "dags")
    try:
        with CrashableAirflow(folder / "home", folder / "dags", parallelism=12) as airflow:
            # Their file's DAGs become known all at once.
            airflow.wait_for_dag("crashed", seconds=120)
            yield airflow
    finally:
        shutil.rmtree(folder / "home", ignore_errors=True)


@pytest.fixture(scope="session")
def outcome_of(
    request: pytest.FixtureRequest,
    crashable_airflow: CrashableAirflow,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[None]]]:
    """What became of the selected stories of all modules (their ``STORIES``), which go on side by side."""
    from tests.system.stories import Story, run_side_by_side

    # The last ones first: they take longest.
    stories = {
        name: item.module.STORIES[name]
        for item in reversed(request.session.items)
        if isinstance(item, pytest.Function) and (name := story_of(item))
    }
    folder = tmp_path_factory.mktemp("stories")
    with run_side_by_side(stories, partial(Story, crashable_airflow, folder)) as outcomes:
        yield outcomes


def story_of(item: pytest.Function) -> str | None:
    """Return the name of the story that a test is about."""
    return item.callspec.params.get("story") if hasattr(item, "callspec") else None
