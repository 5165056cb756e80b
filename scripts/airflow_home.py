"""An Airflow of this checkout's own: its environment, its database, and a sandbox for it to talk to.

Nothing of the user's Airflow is read or touched, and no key of the user's gets in unless it is handed in.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
DAGS = ROOT / "dags"
OUT = ROOT / "out"

STOP_SECONDS = 20.0


def environment(home: Path, dags_folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Return the environment for an Airflow in `home`: the caller's without its Airflow settings and Hedra key.

    :param home: Becomes AIRFLOW_HOME.
    :param dags_folder: Where the DAG files are.
    :param extra: Wins over everything.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIRFLOW") and name != "HEDRA_API_KEY"
    }
    bin_folder = str(Path(sys.executable).parent)
    no_proxy = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "127.0.0.1,localhost"]))
    return {
        **kept,
        # The scheduler starts `airflow` by name.
        "PATH": os.pathsep.join([bin_folder, kept.get("PATH", os.defpath)]),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        **(extra or {}),
    }


def migrate(home: Path, env: Mapping[str, str], log: Path) -> bool:
    """
    Bring the database in `home` up to this Airflow, unless it is known to be.

    :param log: Receives Airflow's words.
    :return: Whether there was something to do.
    :raises RuntimeError: If Airflow could not.
    """
    mark = home / ".migrated"
    current = version("apache-airflow-core")
    if mark.exists() and mark.read_text() == current:
        return False
    home.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(command, env=dict(env), stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`airflow db migrate` failed; see {log}. `make clean` starts anew.")
    mark.write_text(current)
    return True


@dataclass(frozen=True)
class SandboxAddress:
    """How to reach a sandbox, as it said when it was ready."""

    base_url: str
    api_key: str
    connection: str
    """What AIRFLOW_CONN_HEDRA_DEFAULT takes."""

    def back_door(self, path: str) -> Any:
        """Return what the sandbox's back door answers, e.g. to `ledger`."""
        import httpx

        answer = httpx.get(str(httpx.URL(self.base_url).join(f"/_sandbox/{path}")), trust_env=False)
        return answer.raise_for_status().json()


@contextmanager
def sandbox(*arguments: str, log: Path | None = None) -> Iterator[SandboxAddress]:
    """
    Run a sandbox in a process of its own for as long as the context lasts.

    :param arguments: Of `python -m hedra_provider.sandbox`.
    :param log: Receives its log; none is kept by default.
    :raises RuntimeError: If it did not start.
    """
    with tempfile.TemporaryFile() if log is None else log.open("w+b") as errors:
        command = [sys.executable, "-m", "hedra_provider.sandbox", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True, cwd=ROOT
        )
        try:
            # A sandbox that ends instead closes its stdout, so this does not hang.
            line = process.stdout.readline() if process.stdout else ""
            if not line.strip():
                errors.seek(0)
                words = errors.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise RuntimeError(f"The sandbox did not start: {words[-1]}")
            said = json.loads(line)
            connection = said["connection"]
            yield SandboxAddress(
                base_url=said["base_url"],
                api_key=said["api_key"],
                connection=connection if isinstance(connection, str) else json.dumps(connection),
            )
        finally:
            stop([process])


def stop(processes: Sequence[subprocess.Popen[Any]], patience_seconds: float = STOP_SECONDS) -> None:
    """
    Ask processes, each the head of a group of its own, to end; kill the groups of those that do not.

    :param patience_seconds: For all of them together.
    """
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + patience_seconds
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        # Also what a head that ended left behind: a group keeps its number while it has members.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
