"""An Airflow whose components can be killed, and that many threads may watch without tiring it."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from scripts.killable_airflow import KillableAirflow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CALLS_AT_MOST = 5

NOTED = re.compile(
    r"Received executor event with state (?:success|failed) for task instance "
    r"TaskInstanceKey\(dag_id='([^']+)', task_id='[^']+', run_id='([^']+)', try_number=(\d+)"
)
"""The scheduler's line when its executor says that a worker is done with a try."""


class MortalAirflow(KillableAirflow):
    """
    A :class:`KillableAirflow` that many threads watch.

    Its ``restarting`` is held by who clears a running task, until that is done.

    :param env: Added to the environment of all components.
    """

    def __init__(self, home: Path, dags_folder: Path, env: Mapping[str, str] | None = None) -> None:
        more_at_once = {"AIRFLOW__CORE__PARALLELISM": "12"}
        # Airflow itself says so before this client gives up.
        super().__init__(home, dags_folder, {**more_at_once, **(env or {})}, patience_seconds=90.0)
        self.restarting = threading.Lock()
        self._writing = threading.Lock()
        self._watching = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[str | None, int]] = {}
        self._seen_at = float("-inf")
        self._noted: Counter[tuple[str, str, int]] = Counter()
        self._read_up_to = 0

    @property
    def scheduler_pid(self) -> int:
        """The process whose descendants the workers are."""
        return self._processes["scheduler"].pid

    def kill(self, component: str) -> None:
        """End one process by SIGKILL; what it started lives on."""
        process = self._processes.pop(component)
        process.kill()
        process.wait()
        self._dead.append(process)

    def revive(self, component: str) -> None:
        """Start a component that was killed."""
        started = datetime.now(UTC)
        self._start(component)
        self._wait_until_healthy(started, (component,))

    def glance(self, dag_id: str, run_id: str) -> tuple[str | None, int]:
        """Return state and try number of a run's task, at most a second old."""
        with self._watching:
            if time.monotonic() - self._seen_at > 1.0:
                self.check_alive()
                rows = self.task_instances("~", "~")
                self._seen = {
                    (row["dag_id"], row["dag_run_id"]): (row["state"], row["try_number"]) for row in rows
                }
                self._seen_at = time.monotonic()
        return self._seen.get((dag_id, run_id), (None, 0))

    def noted(self, dag_id: str, run_id: str, try_number: int) -> int:
        """
        Return how often the scheduler has noted that a worker was done with a try.

        A try that defers has a worker twice. If it is resumed before the scheduler has noted that the first
        one is done, that note may come when the second is queued; Airflow then takes the second for a worker
        that died, and fails the task (seen on 3.3.2, when the scheduler is busy).
        """
        with self._watching, self.log_file("scheduler").open("rb") as log:
            log.seek(self._read_up_to)
            # The last line may be half there.
            whole, newline, _ = log.read().rpartition(b"\n")
            self._read_up_to += len(whole) + len(newline)
            for dag, run, tried in NOTED.findall(whole.decode(errors="replace")):
                self._noted[dag, run, int(tried)] += 1
            return self._noted[dag_id, run_id, try_number]

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """
        Call the REST API; changes go one by one, and :meth:`glance` sees them.

        A request that fails on a locked database was not done, and is sent again.
        """
        if method == "GET":
            return super().call(method, path, body, **params)
        with self._writing:
            for left in range(CALLS_AT_MOST, 0, -1):
                try:
                    answer = super().call(method, path, body, **params)
                    break
                except httpx.HTTPStatusError as error:
                    if not error.response.is_server_error or left == 1:
                        raise
                    time.sleep(2)
        with self._watching:
            self._seen_at = float("-inf")
        return answer
