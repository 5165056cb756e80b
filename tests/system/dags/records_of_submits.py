"""A task that keeps records of submits in Airflow's task state store, over two tries."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, get_current_context, task


@dag(schedule=None)
def records_of_submits():
    @task(retries=1, retry_delay=timedelta(0))
    def keep() -> list[str]:
        from hedra_provider.operators.task_state import TaskStateStore, choose_store, new_try_id
        from hedra_provider.submission.v3.record import TryRecord

        context = get_current_context()
        number = context["ti"].try_number
        store = choose_store(context, state_path=None, key="run", has_idempotency_key=False)
        assert isinstance(store, TaskStateStore)
        # A deferred try is continued by another process: each writes a record of its own.
        for _ in range(2):
            # Longer than Airflow's limit for values, at which it only warns.
            record = TryRecord(key="run", try_id=new_try_id(number), attempt_group="x" * 70_000)
            store.write(record)
            assert record in store.read()
        other = choose_store(context, state_path=None, key="cleared", has_idempotency_key=False)
        other.write(TryRecord(key="cleared", try_id=new_try_id(number), attempt_group="group"))
        found = sorted(one.try_id.partition("-")[0] for one in store.read())
        if number == 1:
            raise RuntimeError("the first try fails")
        return found

    keep()


records_of_submits()
