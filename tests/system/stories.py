"""Runs that go through something, each with a Hedra of its own, many at a time in one Airflow."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hedra_provider.sandbox import catalogue
from hedra_provider.sandbox.v3 import models
from hedra_provider.testing import Sandbox
from testbed import worker_processes
from testbed.airflow_api import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import psutil

    from testbed.crashable_airflow import CrashableAirflow

TASK = "avatar"
AT_ONCE = 14
"""Some work while others wait for a heartbeat to be missed; on two cores more of them starve each other."""
OVER = threading.Event()
"""Set when nobody waits for the stories any more."""

STARTED = ("scheduled", "queued", "running", "deferred", *FINISHED)
FOREVER = 36_000.0
"""Seconds on the sandbox's clock that only a test lets pass."""
LONG_V3 = 7_200.0
"""The same for v3, whose results are there for 24 hours."""

LOST = (
    {"on": "POST /generations", "when": "after", "times": None, "reset": True},
    {"on": "GET /generations/{id}/status", "skip": 1, "times": 5, "reset": True},
)
"""Submits are accepted, but not answered. Of the searches for them only the first is answered."""

LOST_V3 = ({"on": "POST /v3/models/{model}", "when": "after", "times": None, "reset": True},)
"""Submits with a v3 key are accepted, but not answered: neither the first, nor those that repeat it."""


class Story:
    """
    A run of one of the DAGs in ``dags/crash.py``, and its Hedra. A context manager.

    :param name: Distinguishes it from all others.
    :param dag_id: The DAG.
    :param api: Whose key the connection has: that of Hedra's API v2 or v3.
    :param state_path: Whether the connection has one; else the records are in Airflow's task state store.
    :param extra: Of the connection to Hedra.
    :param options: Of the sandbox.
    """

    def __init__(
        self,
        airflow: CrashableAirflow,
        folder: Path,
        name: str,
        dag_id: str,
        *,
        api: int = 2,
        state_path: bool = False,
        extra: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        name = re.sub(r"\W+", "_", name)
        self.airflow, self.dag_id, self.run_id = airflow, dag_id, f"story_{name}"
        self.connection = f"hedra_{name}"
        self.folder = folder / name
        self.destination = f"{self.folder}/avatar.mp4"
        self.seconds = float(options.get("seconds", LONG_V3 if api == 3 else FOREVER))
        self.hedra = Sandbox(**{"media": False, "queue_seconds": 0.0, **options, "seconds": self.seconds})
        self.api, self.api_key = api, ""
        self.extra = dict(extra or {})
        if state_path:
            self.extra["state_path"] = f"{folder}/records_{name}"
        voice = (models.VOICES if api == 3 else catalogue.VOICES)[0]["id"]
        self.conf = {"destination": self.destination, "connection": self.connection, "voice": voice}
        self.parts_of_the_dead: set[str] = set()
        self._noted_before: dict[int, int] = {}
        self._passed_for = 0

    def __enter__(self) -> Story:
        self.folder.mkdir()
        self.hedra.start()
        self.api_key = self.hedra.api_key_v3 if self.api == 3 else self.hedra.api_key
        self.airflow.call("POST", "/connections", self._connection())
        return self

    def _connection(self) -> dict[str, str]:
        """The connection to this story's Hedra, as Airflow's API takes it."""
        return {
            "connection_id": self.connection,
            "conn_type": "hedra",
            "host": self.hedra.base_url_v3 if self.api == 3 else self.hedra.base_url,
            "password": self.api_key,
            "extra": json.dumps(self.extra),
        }

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

    def start(self, run_id: str | None = None) -> None:
        """Start the run; another one by its id."""
        self.run_id = run_id or self.run_id
        body = {"dag_run_id": self.run_id, "logical_date": None, "conf": self.conf}
        self.airflow.call("POST", f"/dags/{self.dag_id}/dagRuns", body)

    def edit(self) -> None:
        """Change the text that the run asks for."""
        self.airflow.call("POST", "/variables", {"key": self._prompt, "value": "A singing person"})

    def edit_back(self) -> None:
        """Let the run ask for what it asked for at first."""
        self.airflow.call("DELETE", f"/variables/{self._prompt}")

    @property
    def _prompt(self) -> str:
        return f"prompt_{self.run_id}"

    def rotate_key(self) -> None:
        """Give Airflow another API key; the old one ends after that."""
        self.api_key = f"rotated_{self.connection}" + (":secret" if self.api == 3 else "")
        self.airflow.call("PATCH", f"/connections/{self.connection}", self._connection())
        self.hedra.change_key(self.api_key)

    def move_to_v3(self) -> None:
        """Give Airflow a v3 key in place of the v2 key."""
        self.api, self.api_key = 3, self.hedra.api_key_v3
        self.airflow.call("PATCH", f"/connections/{self.connection}", self._connection())

    def mark(self, state: str) -> None:
        """Set the task's state by hand."""
        path = f"/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{TASK}"
        self.airflow.call("PATCH", path, {"new_state": state})

    def clear(self) -> None:
        """
        Clear the task. If it has ended, its run shall have, too: the scheduler may be about to say so.

        One that runs is cleared when no other is: of the running tasks that Airflow 3.3.2 restarts in one
        round of its scheduler, it moves ``max_tries`` of the first alone. (It sets the state of each in a
        session that it then closes; the next one is read again, without the change, before it is stored.)
        """
        (now,) = self.airflow.task_instances(*self.key)
        state, tried = now["state"], now["try_number"]
        if state in FINISHED:
            self.airflow.wait_for_run(*self.key)
        with self.airflow.restarting if state == "running" else nullcontext():
            self.airflow.clear(self.dag_id, self.run_id, [TASK])
            if state == "running":
                self.wait_for(*STARTED, try_number=tried + 1)

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

    def wait_until_backfilled(self, seconds: float = 240.0) -> None:
        """Wait until no backfill of the DAG is under way."""

        def over() -> bool:
            backfills = self.airflow.call("GET", "/backfills", dag_id=self.dag_id)["backfills"]
            return all(backfill["completed_at"] for backfill in backfills)

        wait(over, seconds, lambda: f"the end of the backfills of {self.dag_id}")

    def delete(self, *, workers: int = 2) -> None:
        """
        Delete the run, which has ended. What was noted of it is not of the next one of its name.

        :param workers: How many it had: two if it was deferred.
        """
        self.airflow.wait_for_run(*self.key)
        wait(lambda: self._noted(1) >= workers, 120, lambda: f"the end of the workers of {self.run_id}")
        self._noted_before[1] = self.airflow.noted(*self.key, 1)
        self.airflow.call("DELETE", f"/dags/{self.dag_id}/dagRuns/{self.run_id}")

    def _noted(self, try_number: int) -> int:
        """How often the scheduler has noted the end of a worker of a try."""
        return self.airflow.noted(*self.key, try_number) - self._noted_before.get(try_number, 0)

    def kill_worker(self, method: str, path: str, *, runner: bool = True) -> None:
        """
        Wait for a request that the sandbox holds; kill who sent it; let all later ones pass.

        :param path: Templated, as the sandbox's faults have it.
        :param runner: Whether to kill also the process that runs the task's code, or its supervisor only.
        """
        deadline = time.monotonic() + 60
        while True:
            try:
                supervisor, code = self.worker(self.wait_until_held(method, path))
                break
            except LookupError:
                # It was a request before the held one, which has ended in the meantime.
                if time.monotonic() > deadline or OVER.wait(0.2):
                    raise
        worker_processes.kill(supervisor, *([code] if runner else []))
        self.parts_of_the_dead = self.parts()
        self.hedra.faults()

    def worker(self, port: int) -> tuple[psutil.Process, psutil.Process]:
        """Return the supervisor and the runner behind a connection."""
        return worker_processes.worker_behind(port, self.airflow.scheduler_pid)

    # What is seen of it

    def wait_until_held(self, method: str, path: str, seconds: float = 240.0) -> int:
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

    def wait_for(self, *states: str, try_number: int = 1, seconds: float = 240.0) -> int:
        """Wait until the task is in one of these states, in this try or a later one; return its try."""

        def there() -> bool:
            state, tried = self.airflow.glance(*self.key)
            return state in states and tried >= try_number

        wait(there, seconds, lambda: f"{self.run_id} to be {states}; it is {self.airflow.glance(*self.key)}")
        return self.airflow.glance(*self.key)[1]

    def finish(
        self, ending: str = "success", *, try_number: int = 1, noted: bool = True, seconds: float = 240.0
    ) -> int:
        """
        Let the generation that the deferred task waits for become complete.

        :param ending: The state that the task then comes to.
        :param noted: Whether to wait, before, until the scheduler has noted that the worker is done, see
            :meth:`CrashableAirflow.noted`; one that was killed never does.
        :return: The try that came to it.
        """

        def ended() -> bool:
            state, tried = self.airflow.glance(*self.key)
            if state == "deferred" and tried >= try_number and (self._noted(tried) or not noted):
                self.let_it_end()
            return state == ending and tried >= try_number

        wait(ended, seconds, lambda: f"{self.run_id} to be {ending}; it is {self.airflow.glance(*self.key)}")
        return self.airflow.glance(*self.key)[1]

    def let_it_end(self) -> None:
        """Move the sandbox's clock so far that what was submitted ends; on v3 once for each job."""
        jobs = len(self.paid())
        if self.api == 2 or jobs > self._passed_for:
            self.hedra.advance(self.seconds)
        self._passed_for = jobs

    def paid(self) -> list[dict[str, Any]]:
        """
        The submissions that cost something, whichever key they had.

        Of v3, ``generation_id`` is the job, ``credits`` are US dollars, ``request`` is the body.
        """
        rows = [row for row in self.hedra.submissions if row["credits"] > 0]
        return rows + [
            {"generation_id": row["job_id"], "credits": row["usd"], "request": row["body"], **row}
            for row in self.hedra.submissions_v3
            if row["usd"] > 0
        ]

    def parts(self) -> set[str]:
        """Unfinished files in the destination's folder."""
        return {path.name for path in self.folder.glob(".*.part")} if self.folder.is_dir() else set()

    def log(self, try_number: int) -> str:
        """The log of one try."""
        return self.airflow.logs(self.dag_id, self.run_id, TASK, try_number)

    def assert_paid(self, times: int, *, refunded: int = 0, gave: int = -1) -> None:
        """
        Credits were spent so many times, and the run ended well, with a whole file.

        :param refunded: How many were given back, the first ones.
        :param gave: Whose file it is: by default that of the last one.
        """
        paid = self.paid()
        assert len(paid) == times, [row["request"] for row in paid]
        ledger = self.hedra.ledger()
        used = ledger["credits"]["used"] + ledger["usd"]["spent"]
        assert used == pytest.approx(sum(row["credits"] for row in paid[refunded:]))
        assert self.airflow.wait_for_run(*self.key, seconds=30) == "success"
        result = self.airflow.xcom(self.dag_id, self.run_id, TASK, "generation")
        assert result["status"] == "complete"
        assert result["generation_id"] == paid[gave]["generation_id"]
        file = self.folder / result["uri"].rpartition("/")[2]
        assert file.read_bytes() == self.file_of(result["generation_id"])
        assert self.parts() <= self.parts_of_the_dead

    def file_of(self, generation_id: str) -> bytes:
        """The file of a generation, as the sandbox has it."""
        headers = {"X-API-Key": self.api_key}
        with httpx.Client(trust_env=False) as client:
            if generation_id.startswith("job_"):
                url = f"{self.hedra.base_url_v3}/jobs/{generation_id}"
                file = client.get(url, headers=headers).raise_for_status().json()["outputs"][0]
            else:
                url = f"{self.hedra.base_url}/generations/{generation_id}/status"
                file = client.get(url, headers=headers).raise_for_status().json()
            return client.get(file["url"]).raise_for_status().content


def wait(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Wait until a condition holds, and raise if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {seconds:.0f} s in vain for {what()}.")
        if OVER.wait(0.5):
            raise RuntimeError("The tests were ended.")


def wait_until_paid(story: Story, times: int) -> None:
    """Wait until the sandbox was paid so often; that it is never more often is asserted at the end."""
    wait(lambda: len(story.paid()) >= times, 240, lambda: f"{story.run_id} to pay {times} times")


Begin = Callable[..., Story]
"""Makes a story of a DAG, and the further options of :class:`Story`."""

RunStory = Callable[[Begin], None]
"""Goes through a story, and asserts."""


@contextmanager
def run_side_by_side(
    stories: Mapping[str, RunStory], begin: Callable[..., Story]
) -> Iterator[dict[str, Future[None]]]:
    """
    Run stories in threads, so that one waits while another works.

    :param stories: By name.
    :param begin: Makes a story of a name and what else :class:`Story` takes.
    :return: What became of them.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            yield {name: threads.submit(run, partial(begin, name)) for name, run in stories.items()}
        finally:
            # Ctrl-C ends the stories that are still going on; else there are none.
            OVER.set()
            threads.shutdown(cancel_futures=True)
