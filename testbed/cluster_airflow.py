"""An Airflow with two Celery workers and two triggerers, each with its own disk."""

from __future__ import annotations

import os
import random
import signal
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from testbed.crashable_airflow import QUICK_TO_MISS
from testbed.local_airflow import LocalAirflow
from testbed.processes import free_port, wait_for
from testbed.services import postgresql, redis

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
MACHINES = (*WORKERS, *TRIGGERERS)
"""The components that have their own host name and their own disk."""
OTHERS = ("api-server", "scheduler", "dag-processor")


class ClusterAirflow(LocalAirflow):
    """
    A cluster on one machine, for as long as the context lasts.

    Each worker and each triggerer has a host name of its own, and sees a folder of its own as :attr:`disk`.
    So one path names several files, as it does on several machines. Linux namespaces do that (``unshare``).
    All other folders are shared.

    :param home: Becomes AIRFLOW_HOME; all components share it, and so the logs.
    :param dags_folder: Where the DAG files are.
    :param env: Added to the environment of all components.
    :param env_of: Added to the environment of one component, by its name, e.g. ``{"worker-1": {...}}``.
    :param quick: Whether Airflow misses what died after seconds; otherwise its own settings apply (minutes).
    :param slots: Tasks that one worker runs at a time.
    """

    components: ClassVar[tuple[str, ...]] = (*OTHERS, *MACHINES)

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        env_of: Mapping[str, Mapping[str, str]] | None = None,
        quick: bool = True,
        slots: int = 2,
        port: int | None = None,
    ) -> None:
        short = QUICK_TO_MISS if quick else {}
        own = {"AIRFLOW__CORE__EXECUTOR": "CeleryExecutor", "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(slots)}
        # Below the ports that Linux gives to clients: a client could take one before the API server starts.
        port = port or free_port(random.randint(15_000, 30_000))
        super().__init__(home, dags_folder, {**short, **own, **(env or {})}, port=port, start_seconds=180.0)
        if not quick:
            for name in ("JOB_HEARTBEAT_SEC", "TRIGGERER_HEALTH_CHECK_THRESHOLD"):
                self.env.pop(f"AIRFLOW__TRIGGERER__{name}", None)
        self.env_of = dict(env_of or {})
        self.disk = home / "disk"
        self._services = ExitStack()

    def __enter__(self) -> Self:
        """Start everything, and wait until it is healthy and both workers take tasks."""
        for folder in (self.disk, *map(self.disk_of, MACHINES)):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            database = self._services.enter_context(postgresql())
            self.env |= {
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
                # Plain `db+postgresql://` asks for psycopg 3.
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{database}",
                "AIRFLOW__CELERY__BROKER_URL": self._services.enter_context(redis()),
                # Without it, Celery does not start as root. Containers run as root.
                "C_FORCE_ROOT": "1",
            }
        except BaseException:
            self._services.close()
            raise
        super().__enter__()
        try:
            for worker in WORKERS:
                self._wait_for_worker(worker, 0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        try:
            super().__exit__()
        finally:
            self._services.close()

    def disk_of(self, machine: str) -> Path:
        """Return the folder that a worker or a triggerer sees as :attr:`disk`."""
        return self.home / "disks" / machine

    def kill(self, component: str) -> None:
        """Kill a component and its children, as if its machine failed. A second call does nothing."""
        process = self._processes.pop(component, None)
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def revive(self, component: str) -> None:
        """Start a killed component. A running one stays as it is."""
        if component in self._processes:
            return
        started, position = datetime.now(UTC), self._log_size(component)
        self._start(component)
        if component in WORKERS:
            self._wait_for_worker(component, position)
        elif component in OTHERS[1:]:
            self._wait_until_healthy(started, (component,))

    def signal(self, component: str, number: signal.Signals) -> None:
        """Send a signal to a component and its children. SIGSTOP simulates a machine that hangs."""
        os.killpg(self._processes[component].pid, number)

    def pid(self, component: str) -> int:
        """Return the process id of a component."""
        return self._processes[component].pid

    def _log_size(self, component: str) -> int:
        return self.log_file(component).stat().st_size if self.log_file(component).exists() else 0

    def _wait_for_worker(self, worker: str, position: int) -> None:
        def ready() -> bool:
            self.check_alive()
            with self.log_file(worker).open("rb") as log:
                log.seek(position)
                return f"celery@{worker} ready.".encode() in log.read()

        wait_for(ready, self.start_seconds, f"{worker} to take tasks")

    def _environment(self, component: str) -> dict[str, str]:
        return {**self.env, **self.env_of.get(component, {})}

    def _command(self, component: str) -> list[str]:
        if component in TRIGGERERS:
            return ["triggerer", "--skip-serve-logs"]
        if component in WORKERS:
            return ["celery", "worker", "--skip-serve-logs", "--celery-hostname", f"celery@{component}"]
        return super()._command(component)

    def _argv(self, component: str) -> list[str]:
        command = super()._argv(component)
        if component not in MACHINES:
            return command
        own = [] if os.geteuid() == 0 else ["--map-root-user"]
        script = 'echo "$1" > /proc/sys/kernel/hostname && mount --bind "$2" "$3" && shift 3 && exec "$@"'
        machine = [component, str(self.disk_of(component)), str(self.disk)]
        return ["unshare", *own, "--mount", "--uts", "sh", "-c", script, "sh", *machine, *command]
