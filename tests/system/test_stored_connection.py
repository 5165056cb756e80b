"""A connection that only Airflow's database has: ``dag.test()`` of a deferrable operator reads it too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hedra_provider.testing import Sandbox

VARIABLE = "AIRFLOW_CONN_HEDRA_DEFAULT"


@pytest.fixture
def stored_connection(
    hedra_sandbox: Sandbox, airflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Move the sandbox's connection from the environment into the database, as `airflow connections add`."""
    from airflow.models import Connection as StoredConnection
    from airflow.utils.session import create_session

    fields = json.loads(hedra_sandbox.connection)
    monkeypatch.delenv(VARIABLE)
    with create_session() as session:
        session.add(StoredConnection(conn_id="hedra_default", **fields))
    yield
    with create_session() as session:
        session.query(StoredConnection).filter(StoredConnection.conn_id == "hedra_default").delete()


@pytest.mark.usefixtures("stored_connection")
def test_a_deferred_wait_reads_a_connection_of_the_database(
    hedra_sandbox: Sandbox, run_dag: Callable[..., Any], tmp_path: Path
):
    """The submit was paid, then "conn_id isn't defined" failed the wait, and each call paid again."""
    target = tmp_path / "a.mp4"
    run = run_dag("crash.py", "deferred", destination=str(target), connection="hedra_default")
    assert run.state == "success"
    assert target.exists()
    assert len(hedra_sandbox.submissions) == 1


@pytest.mark.skipif(
    not hasattr(Connection, "aextra_dejson"), reason="before Airflow 3.3.2 a thread looks it up"
)
@pytest.mark.usefixtures("stored_connection")
def test_what_a_wait_can_not_read_is_found_before_the_submit(
    hedra_sandbox: Sandbox, run_dag: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hedra_provider.connection._lacks_async_look_up", lambda: False)
    run = run_dag("crash.py", "deferred", destination=str(tmp_path / "a.mp4"), connection="hedra_default")
    assert run.state == "failed"
    assert hedra_sandbox.submissions == []
