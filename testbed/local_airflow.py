"""A whole Airflow on loopback: the UI, the scheduler, the triggerer and the DAG processor.

`airflow standalone` is not used: it opens log servers on every interface.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, ClassVar

import httpx

from testbed.airflow_api import AirflowApi
from testbed.airflow_home import environment, migrate
from testbed.processes import free_port, stop, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

COMPONENTS = ("api-server", "scheduler", "triggerer", "dag-processor")


class AirflowStartError(RuntimeError):
    """A component ended, or was not healthy in time; the message holds its last words."""


class LocalAirflow(AirflowApi):
    """
    An Airflow in processes of its own, for as long as the context lasts.

    Each component leads a process group, logs to `<home>/logs/<component>.log`, and is stopped by SIGTERM;
    what does not end then is killed with its group.

    :param home: Becomes AIRFLOW_HOME; made and migrated if need be.
    :param dags_folder: Where the DAG files are.
    :param env: Added to the environment of all components, e.g. AIRFLOW_CONN_HEDRA_DEFAULT.
    :param port: Of the UI and the API; a free one by default.
    :param start_seconds: How long it may take to become healthy.
    """

    components: ClassVar[tuple[str, ...]] = COMPONENTS

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        start_seconds: float = 120.0,
    ) -> None:
        self.port = port or free_port()
        super().__init__(home, f"http://127.0.0.1:{self.port}")
        self.start_seconds = start_seconds
        self.env = environment(home, dags_folder, {**self._settings(), **(env or {})})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []

    def _settings(self) -> dict[str, str]:
        return {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            # The reason of a failure stands at the end of a long line.
            "AIRFLOW__API__DEFAULT_WRAP": "True",
            # For `xcom` on Airflow 3.0.
            "AIRFLOW__API__ENABLE_XCOM_DESERIALIZE_SUPPORT": "True",
            # A new or changed DAG file is found in seconds instead of minutes.
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
            # What a killed triggerer leaves is taken over in seconds as well.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
        }

    def __enter__(self) -> Self:
        """Start everything, and wait until it is healthy."""
        started = datetime.now(UTC)
        try:
            migrate(self.home, self.env, self.log_file("migrate"))
            for component in self.components:
                self._start(component)
            self._wait_until_healthy(started)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        stop(list(self._processes.values()))
        self._processes.clear()
        for log in self._logs:
            log.close()
        self._http.close()

    def log_file(self, component: str) -> Path:
        """Return where a component logs to."""
        return self.home / "logs" / f"{component}.log"

    def _start(self, component: str) -> None:
        self.log_file(component).parent.mkdir(parents=True, exist_ok=True)
        log = self.log_file(component).open("ab")
        self._logs.append(log)
        self._processes[component] = subprocess.Popen(
            self._argv(component),
            env=self._environment(component),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _environment(self, component: str) -> dict[str, str]:
        """Return the environment that a component runs in."""
        return self.env

    def _argv(self, component: str) -> list[str]:
        """Return the whole command line that runs a component."""
        return [sys.executable, "-m", "airflow", *self._command(component)]

    def _command(self, component: str) -> list[str]:
        """Return the arguments of `airflow` that run a component on loopback alone."""
        if component == "api-server":
            return [component, "--host", "127.0.0.1", "--port", str(self.port)]
        if component in ("scheduler", "triggerer"):
            return [component, "--skip-serve-logs"]
        return [component]

    def restart_triggerer(self, kill: signal.Signals = signal.SIGTERM) -> None:
        """
        End the triggerer by a signal, and start another.

        :param kill: SIGTERM lets it say goodbye; SIGKILL is a machine that went away.
        """
        self.stop_triggerer(kill)
        started = datetime.now(UTC)
        self._start("triggerer")
        self._wait_until_healthy(started, ("triggerer",))

    def stop_triggerer(self, kill: signal.Signals = signal.SIGTERM) -> None:
        """End the triggerer by a signal to its process group."""
        process = self._processes.pop("triggerer")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kill)
        stop([process])

    def check_alive(self) -> None:
        """Raise if a component has ended."""
        for component, process in self._processes.items():
            if process.poll() is not None:
                words = self.log_file(component).read_text(errors="replace").splitlines()[-15:]
                raise AirflowStartError(
                    f"airflow {component} ended with {process.returncode}:\n" + "\n".join(words)
                )

    def _wait_until_healthy(self, since: datetime, components: Sequence[str] = COMPONENTS[1:]) -> None:
        """Wait for heartbeats of these processes; those of processes that are gone count for a while, too."""

        def beating() -> bool:
            self.check_alive()
            try:
                health = self._http.get("/api/v2/monitor/health").json()
            except (httpx.HTTPError, ValueError):
                return False
            for component in components:
                name = component.replace("-", "_")
                state = health.get(name) or {}
                beat = state.get(f"latest_{name}_heartbeat")
                if state.get("status") != "healthy" or not beat:
                    return False
                if datetime.fromisoformat(beat) < since - timedelta(seconds=1):
                    return False
            return True

        wait_for(beating, self.start_seconds, f"a healthy Airflow at {self.url}", AirflowStartError)
