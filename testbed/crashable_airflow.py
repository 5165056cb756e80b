"""An Airflow whose processes may be killed, and that soon misses what died."""

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
import psutil  # type: ignore[import-untyped]  # of Airflow

from testbed.local_airflow import COMPONENTS, LocalAirflow
from testbed.processes import free_port, stop, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

EXECUTION_API = "execution-api"

QUICK_TO_MISS = {
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

NOTED = re.compile(
    r"Received executor event with state (?:success|failed) for task instance "
    r"TaskInstanceKey\(dag_id='([^']+)', task_id='[^']+', run_id='([^']+)', try_number=(\d+)"
)
"""The scheduler's line when its executor says that a worker is done with a try."""


class CrashableAirflow(LocalAirflow):
    """
    An Airflow for tests and runs that kill its processes, and that many threads may watch without tiring it.

    The workers talk to an API server of their own. In one server the two halves stop each other: a change by
    REST is noted in SQLite on the event loop, where it waits for the lock of a worker's transaction, which
    waits for the event loop to commit; nothing moves until SQLite's timeout is over (seen on 3.3.2).

    Its ``restarting`` is held by who clears a running task, until that is done.

    :param env: Added to the environment of all components.
    :param parallelism: Tasks that run at a time.
    :param timeout_seconds: How long an answer of the REST API may take.
    """

    components: ClassVar[tuple[str, ...]] = (EXECUTION_API, *COMPONENTS)

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        parallelism: int = 8,
        # Airflow itself says so before this client gives up.
        timeout_seconds: float = 90.0,
    ) -> None:
        self._execution_port = free_port()
        self._execution_url = f"http://127.0.0.1:{self._execution_port}/execution/"
        own = {
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            # SQLite lets one write at a time: who writes waits for longer than five seconds.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=20",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": self._execution_url,
        }
        super().__init__(home, dags_folder, {**QUICK_TO_MISS, **own, **(env or {})})
        self._http.timeout = httpx.Timeout(timeout_seconds)
        self._dead: list[subprocess.Popen[bytes]] = []
        self.restarting = threading.Lock()
        self._changing = threading.Lock()
        self._watching = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[str | None, int]] = {}
        self._seen_at = float("-inf")
        self._noted: Counter[tuple[str, str, int]] = Counter()
        self._read_up_to = 0

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
        self.end_orphans()

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

    # Killing

    @property
    def scheduler_pid(self) -> int:
        """The process whose descendants the workers are."""
        return self._processes["scheduler"].pid

    def kill(self, component: str, *, group: bool = False) -> None:
        """
        End a component by SIGKILL.

        :param group: Whether what it started dies with it, as in a container, or lives on.
        """
        process = self._processes.pop(component)
        if group:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        self._dead.append(process)

    def revive(self, component: str, *, wait: bool = True) -> None:
        """
        Start a component that was killed.

        :param wait: Whether to wait until it is healthy.
        """
        started = datetime.now(UTC)
        self._start(component)
        if wait:
            self._wait_until_healthy(started, (component,))

    def end_orphans(self) -> None:
        """End what killed components left behind: a scheduler that dies alone leaves its idle workers."""
        for process in self._dead:
            # A group keeps its number while it has members.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._dead.clear()

    def restart_scheduler(self) -> None:
        """Stop the scheduler as a service manager does, and start another one."""
        stop([self._processes.pop("scheduler")])
        self._start("scheduler")

    def revive_what_ended(self) -> list[str]:
        """Start again what ended by itself, as a service manager does; return its last words."""
        ended = []
        for component, process in list(self._processes.items()):
            if process.poll() is None:
                continue
            words = self.log_file(component).read_text(errors="replace").splitlines()[-5:]
            ended.append(f"{component} ended with {process.returncode}: " + " | ".join(words))
            self._dead.append(self._processes.pop(component))
            self._start(component)
        return ended

    def triggerer_memory(self) -> tuple[int, float]:
        """Return the triggerer's process id, and its resident memory with that of its children, in MiB."""
        head = psutil.Process(self._processes["triggerer"].pid)
        rss_bytes = 0
        for process in (head, *head.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                rss_bytes += process.memory_info().rss
        return int(head.pid), rss_bytes / 1024**2

    # Watching

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

        A change that a locked database rejected was not done, and is asked for again.
        """
        if method == "GET":
            return super().call(method, path, body, **params)
        with self._changing:
            answer = self._insist(method, path, body, params, lost_too=False)
        with self._watching:
            self._seen_at = float("-inf")
        return answer
