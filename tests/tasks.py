"""Run operators and triggers as Airflow would, without its database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tests.airflow_names import AirflowRescheduleException, TaskDeferred


class TaskInstance(SimpleNamespace):
    """What the operators use of a task instance, and the XComs that it pushed."""

    def __init__(self, **changes: Any) -> None:
        fields = {"dag_id": "shop", "run_id": "manual__1", "task_id": "avatar", "map_index": -1}
        super().__init__(**(fields | {"try_number": 1, "max_tries": 2} | changes))
        self.xcoms: dict[str, Any] = {}
        self.pushed: list[str] = []

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value
        self.pushed.append(key)


class TaskState:
    """Airflow's accessor of a task's state (3.3), without Airflow; tries and clears share it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values[key] = value


def context_of(ti: TaskInstance) -> Any:
    context = {"ti": ti, "task_instance": ti}
    state = getattr(ti, "task_state", None)
    return context | ({"task_state_store": state} if state else {})


def run(operator: Any, ti: TaskInstance | None = None) -> Any:
    """Execute an operator to its end, its trigger included."""
    ti = ti or TaskInstance()
    try:
        return operator.execute(context_of(ti))
    except TaskDeferred as deferred:
        event = fire(deferred.trigger)
        return getattr(operator, deferred.method_name)(context_of(ti), event=event)


def fire(trigger: Any) -> Any:
    """Serialize a trigger, make it again, and run it until its event."""
    path, kwargs = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    again = type(trigger)(**kwargs)
    assert again.serialize() == trigger.serialize()

    async def first() -> Any:
        return (await anext(again.run())).payload

    return asyncio.run(first())


class SensorInstance(TaskInstance):
    first_reschedule: datetime | None = None

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


def wait(operator: Any, ti: SensorInstance | None = None) -> Any:
    """Run the sensor as Airflow does: resume what defers, repeat what reschedules."""
    ti = ti or SensorInstance()
    for _ in range(50):
        try:
            return operator.execute(context_of(ti))
        except TaskDeferred as deferred:
            kwargs = {"event": fire(deferred.trigger)}
            return operator.resume_execution(deferred.method_name, kwargs, context_of(ti))
        except AirflowRescheduleException:
            ti.first_reschedule = ti.first_reschedule or datetime.now(UTC)
    raise AssertionError("rescheduled for ever")
