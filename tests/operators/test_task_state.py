"""Which place a task has for the records of its submits, and what happens where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from hedra_provider.api.errors import HedraConfigurationError, HedraStateError
from hedra_provider.operators.task_state import TaskStateStore, choose_store, find_store, new_try_id
from hedra_provider.storage.state_path import StatePathStore
from hedra_provider.submission.v3.record import TryRecord

needs_state = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="needs Airflow 3.3")


class State:
    """Airflow's accessor of the task state, without Airflow."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.error: Exception | None = None

    def get(self, key: str) -> Any:
        if self.error:
            raise self.error
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        assert retention is NEVER_EXPIRE
        if self.error:
            raise self.error
        self.values[key] = value


def context(try_number: int = 1, **more: Any) -> Any:
    return {"ti": SimpleNamespace(try_number=try_number), **more}


def record(try_id: str, key: str = "run") -> TryRecord:
    return TryRecord(key=key, try_id=try_id, attempt_group="group")


def test_state_path_wins_where_it_is_given(tmp_path):
    known = {"key": "run", "has_idempotency_key": False}
    store = choose_store(context(task_state_store=State()), state_path=str(tmp_path), **known)
    assert isinstance(store, StatePathStore)
    assert isinstance(choose_store(None, state_path=str(tmp_path), **known), StatePathStore)
    assert isinstance(
        choose_store(context(task_state_store=State()), state_path=None, **known), TaskStateStore
    )


@pytest.mark.parametrize(
    ("where", "has_idempotency_key", "why"),
    [
        (context(task_state_store=State()), True, "With an idempotency_key"),
        (context(), False, "no task state store"),
        (None, False, "Outside a task"),
    ],
)
def test_without_a_durable_place_the_error_names_state_path(where, has_idempotency_key, why):
    known = {"state_path": None, "key": "run", "has_idempotency_key": has_idempotency_key}
    with pytest.raises(HedraConfigurationError, match=why) as caught:
        choose_store(where, **known)
    assert "state_path" in str(caught.value)
    assert "Nothing was uploaded" in str(caught.value)
    assert find_store(where, **known) is None


@needs_state
def test_each_try_and_each_process_of_a_try_keeps_its_record():
    state = State()
    TaskStateStore(state, 1, "run").write(record("1-a"))
    TaskStateStore(state, 1, "run").write(record("1-b"))
    second = TaskStateStore(state, 2, "run")
    second.write(record("2-a"))
    TaskStateStore(state, 2, "after a clear").write(record("2-b", "after a clear"))
    assert [one.try_id for one in second.read()] == ["1-a", "1-b", "2-a"]
    assert all(isinstance(value, str) for value in state.values.values())
    assert (second.is_named_elsewhere("job_1"), second.name_job("job_1")) == (False, None)


@needs_state
def test_a_store_that_fails_is_a_retryable_error():
    state = State()
    store = TaskStateStore(state, 1, "run")
    store.write(record("1-a"))
    state.error = RuntimeError("the API server does not answer")
    for action in (store.read, lambda: store.write(record("1-a"))):
        with pytest.raises(HedraStateError, match="the API server does not answer") as caught:
            action()
        assert caught.value.retryable
    state.error = None
    state.values["hedra/1"] = "{"
    with pytest.raises(HedraStateError) as caught:
        store.read()
    assert not caught.value.retryable


def test_no_two_processes_have_one_try_id():
    assert len({new_try_id(1) for _ in range(100)}) == 100
