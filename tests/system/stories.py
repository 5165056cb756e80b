"""Runs that go through something, each with a Hedra of its own, many at a time in one Airflow."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from hedra_provider.testing import Sandbox
from scripts.airflow_home import migrate
from scripts.local_airflow import FINISHED, LocalAirflow
from tests.system import processes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    import psutil

TASK = "avatar"
AT_ONCE = 6
CALLS_AT_MOST = 5
FOREVER = 36_000.0
"""Seconds on the sandbox's clock that only a test lets pass."""
SETTLED_SECONDS = 5.0
"""After which the executor has noted that a worker is done. Were the same try resumed before, or made again
by a new run of a deleted one's name, Airflow may take that for a worker that died, and fail the task.
"""

SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    # The DAGs stay as they are.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
    # A worker that died is missed after seconds, not after five minutes.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "6",
    # So is a scheduler.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "40",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
}

IDS_ARE_USED_ONCE = """
CREATE TRIGGER IF NOT EXISTS ids_are_used_once BEFORE DELETE ON trigger
WHEN OLD.id = (SELECT max(id) FROM trigger) BEGIN SELECT RAISE(IGNORE); END
"""
"""SQLite gives the id of a deleted row to the next one, and a triggerer that still runs the old trigger takes
it for the new one. So a row goes only when a younger one has come.
"""


class MortalAirflow(LocalAirflow):
    """An Airflow whose components can be killed, and that many threads may watch without tiring it."""

    def __init__(self, home: Path, dags_folder: Path) -> None:
        # SQLite lets one write at a time: who writes waits for longer than five seconds.
        database = f"sqlite:///{home}/airflow.db?timeout=20"
        super().__init__(home, dags_folder, {**SETTINGS, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database})
        # Airflow itself says so before this client gives up.
        self._http.timeout = httpx.Timeout(90.0)
        self._writing = threading.Lock()
        self._watching = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[str | None, int]] = {}
        self._seen_at = float("-inf")
        self._dead: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> MortalAirflow:
        """Start everything, on a database in which the ids of triggers are as unique as in PostgreSQL."""
        migrate(self.home, self.env, self.log_file("migrate"))
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            database.execute(IDS_ARE_USED_ONCE)
        super().__enter__()
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


class Story:
    """
    A run of one of the DAGs in ``dags/crash.py``, and its Hedra. A context manager.

    :param name: Tells it from all others.
    :param dag_id: The DAG.
    :param options: Of the sandbox.
    """

    def __init__(self, airflow: MortalAirflow, folder: Path, name: str, dag_id: str, **options: Any) -> None:
        name = re.sub(r"\W+", "_", name)
        self.airflow, self.dag_id, self.run_id = airflow, dag_id, f"story_{name}"
        self.connection = f"hedra_{name}"
        self.folder = folder / name
        self.destination = f"{self.folder}/avatar.mp4"
        self.hedra = Sandbox(**{"media": False, "queue_seconds": 0.0, "seconds": FOREVER, **options})
        self.parts_of_the_dead: set[str] = set()

    def __enter__(self) -> Story:
        self.folder.mkdir()
        self.hedra.start()
        self.airflow.call(
            "POST",
            "/connections",
            {
                "connection_id": self.connection,
                "conn_type": "hedra",
                "host": self.hedra.base_url,
                "password": self.hedra.api_key,
            },
        )
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.hedra.stop()
        if error is not None:
            state, tries = self.airflow.glance(*self.key)
            error.add_note(f"{self.run_id} is {state}.")
            for number in range(1, tries + 1):
                # A try that Airflow left out has no log.
                with suppress(httpx.HTTPStatusError):
                    error.add_note(f"The log of its try {number}:\n{self.log(number)}")

    # What is done to it

    @property
    def conf(self) -> dict[str, str]:
        """The run's configuration."""
        return {"destination": self.destination, "connection": self.connection}

    def start(self, run_id: str | None = None) -> None:
        """Start the run; another one by its id."""
        self.run_id = run_id or self.run_id
        body = {"dag_run_id": self.run_id, "logical_date": None, "conf": self.conf}
        self.airflow.call("POST", f"/dags/{self.dag_id}/dagRuns", body)

    def edit(self) -> None:
        """Change the text that the run asks for."""
        self.airflow.call("POST", "/variables", {"key": f"prompt_{self.run_id}", "value": "A singing person"})

    def clear(self) -> None:
        """Clear the task. If it has ended, its run shall have, too: the scheduler may be about to say so."""
        if self.airflow.glance(*self.key)[0] in FINISHED:
            self.airflow.wait_for_run(*self.key)
        self.airflow.clear(self.dag_id, self.run_id, [TASK])

    def backfill(self, days: tuple[str, str], reprocess: str) -> list[str]:
        """Backfill the DAG; return the ids of the runs."""
        body = {
            "dag_id": self.dag_id,
            "from_date": f"{days[0]}T00:00:00Z",
            "to_date": f"{days[1]}T00:00:00Z",
            "reprocess_behavior": reprocess,
            "dag_run_conf": self.conf,
        }
        self.airflow.call("POST", "/backfills", body)
        return [
            row["dag_run_id"] for row in self.airflow.call("GET", f"/dags/{self.dag_id}/dagRuns")["dag_runs"]
        ]

    def wait_until_backfilled(self, seconds: float = 90.0) -> None:
        """Wait until no backfill of the DAG is under way."""

        def over() -> bool:
            backfills = self.airflow.call("GET", "/backfills", dag_id=self.dag_id)["backfills"]
            return all(backfill["completed_at"] for backfill in backfills)

        wait(over, seconds, lambda: f"the end of the backfills of {self.dag_id}")

    def delete(self) -> None:
        """Delete the run."""
        self.airflow.wait_for_run(*self.key)
        time.sleep(SETTLED_SECONDS)
        self.airflow.call("DELETE", f"/dags/{self.dag_id}/dagRuns/{self.run_id}")

    def kill_worker(self, method: str, path: str, *, runner: bool = True) -> None:
        """
        Wait for a request that the sandbox holds; kill who sent it; let all later ones pass.

        :param path: Templated, as the sandbox's faults have it.
        :param runner: Whether to kill also the process that runs the task's code, or its supervisor only.
        """
        supervisor, code = self.worker(self.wait_until_held(method, path))
        processes.kill(supervisor, *([code] if runner else []))
        self.parts_of_the_dead = self.parts()
        self.hedra.faults()

    def worker(self, port: int) -> tuple[psutil.Process, psutil.Process]:
        """Return the supervisor and the runner behind a connection."""
        return processes.worker_behind(port, self.airflow.scheduler_pid)

    # What is seen of it

    def wait_until_held(self, method: str, path: str, seconds: float = 90.0) -> int:
        """Wait until a request is under way that the sandbox does not answer; return the client's port."""
        rows: list[dict[str, Any]] = []

        def held() -> bool:
            rows[:] = [row for row in self.hedra.requests(method, path) if row["status"] is None]
            return bool(rows)

        wait(held, seconds, lambda: f"{method} {path} of {self.run_id}, {self.airflow.glance(*self.key)}")
        return int(rows[-1]["connection"].rpartition(":")[2])

    @property
    def key(self) -> tuple[str, str]:
        """The DAG and the run."""
        return self.dag_id, self.run_id

    def wait_for(self, *states: str, try_number: int = 1, seconds: float = 120.0) -> int:
        """Wait until the task is in one of these states, in this try or a later one; return its try."""

        def there() -> bool:
            state, tried = self.airflow.glance(*self.key)
            return state in states and tried >= try_number

        wait(there, seconds, lambda: f"{self.run_id} to be {states}; it is {self.airflow.glance(*self.key)}")
        return self.airflow.glance(*self.key)[1]

    def finish(self, ending: str = "success", *, try_number: int = 1, seconds: float = 150.0) -> int:
        """
        Let the generation that the deferred task waits for become complete.

        :param ending: The state that the task then comes to.
        :return: The try that came to it.
        """
        deferred_since: float | None = None

        def ended() -> bool:
            nonlocal deferred_since
            state, tried = self.airflow.glance(*self.key)
            if state == "deferred" and tried >= try_number:
                deferred_since = deferred_since or time.monotonic()
                if time.monotonic() - deferred_since > SETTLED_SECONDS:
                    self.hedra.advance(FOREVER)
            else:
                deferred_since = None
            return state == ending and tried >= try_number

        wait(ended, seconds, lambda: f"{self.run_id} to be {ending}; it is {self.airflow.glance(*self.key)}")
        return self.airflow.glance(*self.key)[1]

    def paid(self) -> list[dict[str, Any]]:
        """The submissions that cost credits."""
        return [row for row in self.hedra.submissions if row["credits"] > 0]

    def parts(self) -> set[str]:
        """Unfinished files in the destination's folder."""
        return {path.name for path in self.folder.glob(".*.part")} if self.folder.is_dir() else set()

    def log(self, try_number: int) -> str:
        """The log of one try."""
        return self.airflow.logs(self.dag_id, self.run_id, TASK, try_number)

    def assert_paid(self, times: int, *, refunded: int = 0) -> None:
        """Credits were spent so many times, and the run ended well, with the last one's whole file."""
        paid = self.paid()
        assert len(paid) == times, [row["request"] for row in paid]
        used = self.hedra.ledger()["credits"]["used"]
        assert used == sum(row["credits"] for row in paid[refunded:])
        assert self.airflow.wait_for_run(*self.key, seconds=30) == "success"
        result = self.airflow.xcom(self.dag_id, self.run_id, TASK, "generation")
        assert result["status"] == "complete"
        assert result["generation_id"] == paid[-1]["generation_id"]
        file = self.folder / result["uri"].rpartition("/")[2]
        assert file.read_bytes() == self.file_of(result["generation_id"])
        assert self.parts() <= self.parts_of_the_dead

    def file_of(self, generation_id: str) -> bytes:
        """The file of a generation, as the sandbox has it."""
        headers = {"X-API-Key": self.hedra.api_key}
        with httpx.Client(trust_env=False) as client:
            status = client.get(
                f"{self.hedra.base_url}/generations/{generation_id}/status", headers=headers
            ).json()
            return client.get(status["url"]).raise_for_status().content


def wait(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Wait until a condition holds, and raise if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {seconds:.0f} s in vain for {what()}.")
        time.sleep(0.25)


Begin = Callable[..., Story]
"""Makes a story of a DAG and options of the sandbox."""


@contextmanager
def told_side_by_side(
    stories: Mapping[str, Callable[[Begin], None]], wanted: Collection[str], begin: Callable[..., Story]
) -> Iterator[dict[str, Future[None]]]:
    """
    Tell stories in threads, so that one waits while another works.

    :param stories: All of a module.
    :param wanted: Those that were selected.
    :param begin: Makes a story of a name, a DAG and options of the sandbox.
    :return: What became of them.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            yield {
                name: threads.submit(tell, partial(begin, name))
                for name, tell in stories.items()
                if name in wanted
            }
        finally:
            threads.shutdown(cancel_futures=True)
