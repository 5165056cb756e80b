"""A whole Airflow on loopback: the UI, the scheduler, the triggerer, the DAG processor, and a sandbox.

    python -m scripts.local_airflow         opens it on dags/ until Ctrl-C

As a library, `LocalAirflow` starts and stops the same for a test and speaks Airflow's REST API. `airflow
standalone` is not used: it opens log servers on every interface.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, NoReturn

import httpx

from scripts.airflow_home import DAGS, ROOT, environment, migrate, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HOME = ROOT / ".airflow" / "ui"
COMPONENTS = ("api-server", "scheduler", "triggerer", "dag-processor")
FINISHED = ("success", "failed")
TASK_ENDED = (*FINISHED, "upstream_failed", "skipped", "removed")
POLL_SECONDS = 0.5


class AirflowStartError(RuntimeError):
    """A component ended, or was not healthy in time; the message holds its last words."""


class LocalAirflow:
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
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start_seconds = start_seconds
        self.env = environment(home, dags_folder, {**self._settings(), **(env or {})})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []
        self._http = httpx.Client(base_url=self.url, timeout=30.0, trust_env=False)

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

    def __enter__(self) -> LocalAirflow:
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

    # The REST API

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
        told = ((line.get("event", line), line.get("error_detail")) for line in content)
        return "\n".join(f"{event} {detail}" if detail else str(event) for event, detail in told)

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str], *, downstream: bool = False) -> None:
        """Clear tasks of a run, so that they run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)


def free_port(preferred: int = 0) -> int:
    """Return a free port on loopback; the preferred one if it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise AirflowStartError("There is no free port on 127.0.0.1.")


def wait_for(
    condition: Callable[[], bool],
    seconds: float,
    what: str,
    error: type[Exception] = TimeoutError,
) -> None:
    """Wait until a condition holds, and raise if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise error(f"Waited {seconds:.0f} s in vain for {what}.")
        time.sleep(POLL_SECONDS)


def _open_ui(options: argparse.Namespace) -> NoReturn:
    """Run Airflow and a sandbox that a restart finds again, until something ends them."""
    from scripts.kept_sandbox import CONNECTION_ID, kept_sandbox, store_connection

    with kept_sandbox(
        HOME, port=options.sandbox_port, state=options.state.resolve(), seconds=options.seconds
    ) as address:
        print(f"The sandbox, a local Hedra: {address.base_url}")
        if httpx.URL(address.base_url).port != options.sandbox_port:
            print(f"Port {options.sandbox_port} is taken: the sandbox listens on another one.")
        print("Starting Airflow, about 20 s ...", flush=True)
        with LocalAirflow(HOME, DAGS, port=free_port(options.port)) as airflow:
            if not store_connection(airflow, address):
                print(
                    f"Connection {CONNECTION_ID} does not lead to the sandbox and stays as it is: the "
                    "examples may spend credits. Delete it in the UI to get the sandbox's again."
                )
            user, password = airflow.credentials()
            print(f"\n  {airflow.url}    user {user}    password {password}\n")
            print(f"Logs: {airflow.log_file('*').relative_to(ROOT)}. Ctrl-C ends it.", flush=True)
            while True:
                time.sleep(1)
                airflow.check_alive()


def main() -> int:
    """Run Airflow on this checkout's DAGs until it is interrupted."""
    parser = argparse.ArgumentParser(prog="make airflow", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=8080, help="of the UI; another free one if it is taken")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the sandbox takes for a video")
    parser.add_argument(
        "--sandbox-port", type=int, default=8091, help="of the sandbox; another free one if it is taken"
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=HOME / "sandbox.state",
        help="where the sandbox keeps everything over a restart (default: %(default)s)",
    )
    options = parser.parse_args()
    # Both end the program by an exception, so that what was started is stopped; SIGINT, too, where it came
    # ignored, as a shell gives it to what runs in the background.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _open_ui(options)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
