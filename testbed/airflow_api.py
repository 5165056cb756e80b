"""Airflow's REST API, as tests and scripts ask it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx

from testbed.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FINISHED = ("success", "failed")
TASK_ENDED = (*FINISHED, "upstream_failed", "skipped", "removed")
CALLS_AT_MOST = 5
PAUSE_SECONDS = 2.0


class AirflowApi:
    """
    A client of one Airflow's REST API.

    :param home: AIRFLOW_HOME; the simple auth manager keeps the passwords there.
    :param url: Of the API server, without a path.
    """

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)

    def check_alive(self) -> None:
        """Raise if Airflow has stopped. The base does not know: another process may run it."""

    def credentials(self) -> tuple[str, str]:
        """Return a user and a password for the UI."""
        file = self.home / "simple_auth_manager_passwords.json.generated"
        user, password = next(iter(json.loads(file.read_text()).items()))
        return user, password

    def token(self) -> str:
        """Return a new token for the REST API."""
        user, password = self.credentials()
        answer = self._http.post("/auth/token", json={"username": user, "password": password})
        return str(answer.raise_for_status().json()["access_token"])

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """
        Call the REST API.

        :param path: Below `/api/v2`.
        :raises httpx.HTTPStatusError: If Airflow says no; the message holds its reason.
        """
        return self._send(method, path, body, params)

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Call the REST API; call again after a server error or a lost answer. A change may be done twice."""
        return self._insist(method, path, body, params, lost_too=True)

    def _insist(self, method: str, path: str, body: Any, params: dict[str, Any], *, lost_too: bool) -> Any:
        """Call again after a server error, also after a lost answer if asked to."""
        for left in range(CALLS_AT_MOST - 1, -1, -1):
            try:
                return self._send(method, path, body, params)
            except httpx.HTTPStatusError as error:
                if not error.response.is_server_error or not left:
                    raise
            except httpx.TransportError:
                if not lost_too or not left:
                    raise
            time.sleep(PAUSE_SECONDS)
        raise AssertionError("The last one returns or raises.")

    def _send(self, method: str, path: str, body: Any, params: dict[str, Any]) -> Any:
        if "Authorization" not in self._http.headers:
            self._http.headers["Authorization"] = f"Bearer {self.token()}"
        answer = self._http.request(method, f"/api/v2{path}", json=body, params=params or None)
        if answer.is_error:
            raise httpx.HTTPStatusError(
                f"{method} {path}: {answer.status_code} {answer.text[:500]}",
                request=answer.request,
                response=answer,
            )
        return answer.json() if answer.content else None

    def wait_for_dag(self, dag_id: str, seconds: float = 60.0) -> None:
        """Wait until the DAG processor has read a DAG."""

        def known() -> bool:
            self.check_alive()
            try:
                self.call("GET", f"/dags/{dag_id}")
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.NOT_FOUND:
                    raise
                return False
            return True

        wait_for(known, seconds, f"DAG {dag_id}; import errors: {self.import_errors}")

    def import_errors(self) -> dict[str, str]:
        """Return what is wrong with DAG files, by file name."""
        found = self.call("GET", "/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in found}

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of a DAG; return its run id."""
        self.wait_for_dag(dag_id)
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run: queued, running, success, failed."""
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float = 120.0) -> str:
        """Wait until a run has ended; return its state."""
        state = ""

        def ended() -> bool:
            nonlocal state
            self.check_alive()
            state = self.run_state(dag_id, run_id)
            return state in FINISHED

        wait_for(ended, seconds, f"the end of {dag_id} {run_id}")
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, as the REST API shows them."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self.call("GET", path, limit=1000)["task_instances"])

    def task_state(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str | None:
        """Return the state of one task instance."""
        for instance in self.task_instances(dag_id, run_id):
            if (instance["task_id"], instance["map_index"]) == (task_id, map_index):
                state: str | None = instance["state"]
                return state
        return None

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, map_index: int = -1, seconds: float = 60.0
    ) -> str:
        """Wait until a task instance is in one of these states; return which. Raises if it ends elsewhere."""
        state: str | None = None

        def there() -> bool:
            nonlocal state
            self.check_alive()
            state = self.task_state(dag_id, run_id, task_id, map_index)
            if state in TASK_ENDED and state not in states:
                raise RuntimeError(f"{task_id} is {state}; it was to be {' or '.join(states)}.")
            return state in states

        wait_for(there, seconds, f"{task_id} to be {' or '.join(states)}")
        return str(state)

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """Return an XCom of a task."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.call("GET", path, deserialize="true", map_index=map_index)["value"]

    def logs(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of one try of a task."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.call("GET", path, map_index=map_index, full_content="true")["content"]
        if isinstance(content, str):
            return content
        # A failure's exception is beside its line, not in it.
        lines = ((line.get("event", line), line.get("error_detail")) for line in content)
        return "\n".join(f"{event} {detail}" if detail else str(event) for event, detail in lines)

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[Any], *, downstream: bool = False) -> None:
        """
        Clear tasks of a run, so that they run again.

        :param task_ids: Ids, or pairs of id and map index.
        :param downstream: Whether what comes after them is cleared too.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def runs(self, dag_id: str, *states: str) -> list[str]:
        """Return the ids of a DAG's runs that are in one of these states, all of them without any."""
        found: list[str] = []
        while True:
            page = self.ask(
                "GET",
                f"/dags/{dag_id}/dagRuns",
                state=list(states),
                limit=100,
                offset=len(found),
                order_by="id",
            )
            found += [row["dag_run_id"] for row in page["dag_runs"]]
            if not page["dag_runs"] or len(found) >= page["total_entries"]:
                return found

    def tasks(self, dag_id: str, run_id: str, *states: str) -> list[dict[str, Any]]:
        """Return task instances (of all runs: ``~``) in one of these states, the youngest first."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self.ask("GET", path, state=list(states), limit=100, order_by="-start_date")
        return list(found["task_instances"])

    def last_error(self, task: Mapping[str, Any]) -> str:
        """Return what the log of a task instance's last try says it failed with; nothing if it was killed."""
        path = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
        asked = {"map_index": task["map_index"], "full_content": "true"}
        lines = self.ask("GET", f"{path}/logs/{task['try_number']}", **asked)["content"]
        errors = [line["error_detail"][0] for line in lines if line.get("error_detail")]
        return f"{errors[-1]['exc_type']}: {errors[-1]['exc_value']}" if errors else ""
