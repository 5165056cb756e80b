"""The records of submits in Airflow's own task state store, by a real ``dag.test()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="needs Airflow 3.3")


def test_a_retry_reads_the_records_of_the_first_try(run_dag: Callable[..., Any]):
    run = run_dag("records_of_submits.py", "records_of_submits")
    assert run.state == "success"
    (instance,) = run.get_task_instances()
    assert instance.xcom_pull(task_ids="keep") == ["0001", "0001", "0002", "0002"]

    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(TaskStateStoreModel).filter_by(run_id=run.run_id).all()
        kept = sorted((row.key, row.expires_at) for row in rows)
    assert kept == [("hedra/1", None), ("hedra/2", None)]
