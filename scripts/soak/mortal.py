"""An Airflow whose processes are killed by id, and started again."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import psutil  # type: ignore[import-untyped]  # of Airflow

from scripts.airflow_home import stop
from scripts.killable_airflow import KillableAirflow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATIENCE_SECONDS = 30.0


class DyingAirflow(KillableAirflow):
    """
    A :class:`KillableAirflow` that starts again what is killed.

    :param env: Added to the environment of all components.
    """

    def __init__(self, home: Path, dags_folder: Path, env: Mapping[str, str]) -> None:
        super().__init__(home, dags_folder, env, patience_seconds=PATIENCE_SECONDS)

    # Killing

    def kill(self, component: str, *, group: bool) -> None:
        """
        End a component by SIGKILL, and start another one at once.

        :param group: Whether what it started dies with it, as in a container, or lives on.
        """
        # Each scheduler that dies alone leaves its idle workers: not for an hour.
        self._end_what_the_dead_left()
        process = self._processes.pop(component)
        if group:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        self._dead.append(process)
        self._start(component)

    def restart_scheduler(self) -> None:
        """Stop the scheduler as a service manager does, and start another one."""
        stop([self._processes.pop("scheduler")])
        self._start("scheduler")

    def kill_worker(self, chance: float, how: str) -> bool:
        """
        End one of the busy workers by SIGKILL.

        :param chance: In [0, 1): which one.
        :param how: ``both``, ``supervisor`` or ``runner``, the process that runs the task's code.
        :return: Whether there was one.
        """
        with suppress(psutil.NoSuchProcess):
            busy = self._busy_workers()
            if not busy:
                return False
            supervisor, runner = busy[int(chance * len(busy))]
            if how == "runner":
                runner.kill()
                return True
            # Between two tasks it may hold the lock of the executor's queue: who dies with that stops all of
            # them for good. While it has a runner it does not, and while it is stopped that stays so.
            supervisor.suspend()
            try:
                if runner.is_running() and runner.status() != psutil.STATUS_ZOMBIE:
                    supervisor.kill()
                    if how == "both":
                        runner.kill()
                    return True
            finally:
                with suppress(psutil.NoSuchProcess):
                    supervisor.resume()
        return False

    def _busy_workers(self) -> list[tuple[psutil.Process, psutil.Process]]:
        found = []
        for supervisor in psutil.Process(self._processes["scheduler"].pid).children():
            with suppress(psutil.NoSuchProcess):
                found += [
                    (supervisor, runner)
                    for runner in supervisor.children()
                    if runner.status() != psutil.STATUS_ZOMBIE
                ]
        return sorted(found, key=lambda pair: int(pair[1].pid))

    def revive_what_ended(self) -> list[str]:
        """Start again what ended by itself, as a service manager does; return its last words."""
        told = []
        for component, process in list(self._processes.items()):
            if process.poll() is None:
                continue
            words = self.log_file(component).read_text(errors="replace").splitlines()[-5:]
            told.append(f"{component} ended with {process.returncode}: " + " | ".join(words))
            self._dead.append(self._processes.pop(component))
            self._start(component)
        return told

    def triggerer_memory(self) -> tuple[int, float]:
        """Return the triggerer's process id, and its resident memory with that of its children, in MiB."""
        head = psutil.Process(self._processes["triggerer"].pid)
        rss_bytes = 0
        for process in (head, *head.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                rss_bytes += process.memory_info().rss
        return int(head.pid), rss_bytes / 1024**2

    # The REST API

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Call the REST API; what a locked database or a busy server refused is asked again."""
        for left in (2, 1, 0):
            try:
                return self.call(method, path, body, **params)
            except httpx.HTTPStatusError as error:
                if not error.response.is_server_error or not left:
                    raise
            except httpx.TransportError:
                if not left:
                    raise
            time.sleep(2)
        raise AssertionError("The last one returns or raises.")

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

    def clear_tasks(self, dag_id: str, run_id: str, tasks: list[Any]) -> None:
        """
        Clear tasks of a run and what comes after them.

        :param tasks: Ids, or pairs of id and map index.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": tasks,
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        self.ask("POST", f"/dags/{dag_id}/clearTaskInstances", body)
