"""An Airflow whose components can be killed, and that many threads may watch without tiring it."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from scripts.local_airflow import COMPONENTS, LocalAirflow, free_port, wait_for
from scripts.soak import mortal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

CALLS_AT_MOST = 5

# As short of patience as the soak's; more tasks at once.
SETTINGS = {**mortal.SETTINGS, "AIRFLOW__CORE__PARALLELISM": "12"}

LOADED_ONCE = """
import hedra_provider.api.budget
import hedra_provider.api.client
import hedra_provider.api.error_answers
import hedra_provider.api.requests
import hedra_provider.api.submit
import hedra_provider.api.transfer
import hedra_provider.api.waiting
import hedra_provider.operators
"""
"""What each worker would spend a second on loading. Workers are forks of the scheduler, which has it then."""

NOTED = re.compile(
    r"Received executor event with state (?:success|failed) for task instance "
    r"TaskInstanceKey\(dag_id='([^']+)', task_id='[^']+', run_id='([^']+)', try_number=(\d+)"
)
"""The scheduler's line when its executor says that a worker is done with a try."""


class MortalAirflow(LocalAirflow):
    """
    An Airflow with short patience for what died.

    The workers talk to an API server of their own. In one server the two halves stop each other: a change by
    REST is noted in SQLite on the event loop, where it waits for the lock of a worker's transaction, which
    waits for the event loop to commit; nothing moves until SQLite's patience is over (seen on 3.3.2).

    Its ``restarting`` is held by who clears a running task, until that is done.

    :param env: Added to the environment of all components.
    """

    components: ClassVar[tuple[str, ...]] = ("execution-api", *COMPONENTS)

    def __init__(self, home: Path, dags_folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._execution_port = free_port()
        self._execution_url = f"http://127.0.0.1:{self._execution_port}/execution/"
        own = {
            # SQLite lets one write at a time: who writes waits for longer than five seconds.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=20",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": self._execution_url,
        }
        super().__init__(home, dags_folder, {**SETTINGS, **own, **(env or {})})
        # Airflow itself says so before this client gives up.
        self._http.timeout = httpx.Timeout(90.0)
        self.restarting = threading.Lock()
        self._writing = threading.Lock()
        self._watching = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[str | None, int]] = {}
        self._seen_at = float("-inf")
        self._dead: list[subprocess.Popen[bytes]] = []
        self._noted: Counter[tuple[str, str, int]] = Counter()
        self._read_up_to = 0

    def _command(self, component: str) -> list[str]:
        if component == "execution-api":
            port = str(self._execution_port)
            return ["api-server", "--apps", "execution", "--host", "127.0.0.1", "--port", port]
        if component == "api-server":
            return [*super()._command(component), "--apps", "core"]
        return super()._command(component)

    def __enter__(self) -> MortalAirflow:
        """Start everything, and wait until it is healthy."""
        config = self.home / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "airflow_local_settings.py").write_text(LOADED_ONCE)
        super().__enter__()

        def answering() -> bool:
            self.check_alive()
            with suppress(httpx.TransportError):
                return self._http.get(f"{self._execution_url}health").is_success
            return False

        try:
            wait_for(answering, self.start_seconds, "the API server of the workers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for process in self._dead:
            # The workers that a killed scheduler left behind: a group keeps its number while it has members.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

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

        What a locked database refused was not done, and is asked again.
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
