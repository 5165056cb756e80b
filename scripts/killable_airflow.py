"""An Airflow with short patience for what died: for tests and runs that kill its processes."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

import httpx

from scripts.local_airflow import COMPONENTS, LocalAirflow, free_port, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

EXECUTION_API = "execution-api"

SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    # The DAGs stay as they are.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
    # What died is missed after seconds, not after minutes.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "40",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
}

LOADED_ONCE = """
import hedra_provider.submission.budget
import hedra_provider.api.client
import hedra_provider.api.error_bodies
import hedra_provider.api.requests
import hedra_provider.submission.submit
import hedra_provider.transfer.download
import hedra_provider.operators
import hedra_provider.polling.blocking
"""
"""What each worker would spend a second on loading. Workers are forks of the scheduler, which has it then."""


class KillableAirflow(LocalAirflow):
    """
    An Airflow that soon misses what died.

    The workers talk to an API server of their own. In one server the two halves stop each other: a change by
    REST is noted in SQLite on the event loop, where it waits for the lock of a worker's transaction, which
    waits for the event loop to commit; nothing moves until SQLite's patience is over (seen on 3.3.2).

    :param env: Added to the environment of all components.
    :param patience_seconds: How long an answer of the REST API may take.
    """

    components: ClassVar[tuple[str, ...]] = (EXECUTION_API, *COMPONENTS)

    def __init__(
        self, home: Path, dags_folder: Path, env: Mapping[str, str], *, patience_seconds: float
    ) -> None:
        self._execution_port = free_port()
        self._execution_url = f"http://127.0.0.1:{self._execution_port}/execution/"
        own = {
            # SQLite lets one write at a time: who writes waits for longer than five seconds.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=20",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": self._execution_url,
        }
        super().__init__(home, dags_folder, {**SETTINGS, **own, **env})
        self._http.timeout = httpx.Timeout(patience_seconds)
        self._dead: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start everything, and wait until it is healthy."""
        config = self.home / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "airflow_local_settings.py").write_text(LOADED_ONCE)
        super().__enter__()
        try:
            wait_for(self._execution_api_answers, self.start_seconds, "the API server of the workers")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything, also what the dead left behind."""
        super().__exit__()
        self._end_what_the_dead_left()

    def _execution_api_answers(self) -> bool:
        self.check_alive()
        with suppress(httpx.TransportError):
            return self._http.get(f"{self._execution_url}health").is_success
        return False

    def _command(self, component: str) -> list[str]:
        if component == EXECUTION_API:
            port = str(self._execution_port)
            return ["api-server", "--apps", "execution", "--host", "127.0.0.1", "--port", port]
        if component == "api-server":
            return [*super()._command(component), "--apps", "core"]
        return super()._command(component)

    def _end_what_the_dead_left(self) -> None:
        for process in self._dead:
            # The workers of a killed scheduler: a group keeps its number while it has members.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._dead.clear()
