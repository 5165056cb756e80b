"""The two services that a cluster needs, on loopback, in temporary folders: Redis and PostgreSQL.

Both come from the system's packages: `apt-get install redis-server postgresql`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.processes import free_port, stop, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INSTALL = "apt-get install redis-server postgresql"
READY_SECONDS = 30.0


@contextmanager
def redis() -> Iterator[str]:
    """
    Run a Redis that keeps nothing on disk, for as long as the context lasts.

    :return: Its URL, as Celery's ``broker_url`` takes it.
    :raises RuntimeError: If Redis is not installed, or does not start.
    """
    port = free_port()
    command = [_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with tempfile.TemporaryDirectory(prefix="cluster-redis-") as folder:
        process = _start([*command, "--dir", folder], Path(folder))
        try:
            _wait_for_port(process, port, "Redis")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            stop([process])


@contextmanager
def postgresql() -> Iterator[str]:
    """
    Run a PostgreSQL with an empty database, for as long as the context lasts.

    PostgreSQL does not run as root. If you are root, the user ``postgres`` of the system's package runs it.

    :return: The URL of the database, without the driver: ``postgres@127.0.0.1:PORT/airflow``.
    :raises RuntimeError: If PostgreSQL is not installed, or does not start.
    """
    port, user = free_port(), "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="cluster-postgresql-"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    command = [_program("initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync"]
    try:
        subprocess.run(command, user=user, cwd=folder, check=True, capture_output=True)
        # What is lost in a crash of this machine is only a test.
        unsafe = ["-c", "fsync=off", "-c", "max_connections=200"]
        command = [_program("postgres"), "-D", str(data), "-k", str(folder)]
        command += ["-h", "127.0.0.1", "-p", str(port)]
        process = _start([*command, *unsafe], folder, user=user)
        try:
            _wait_for_port(process, port, "PostgreSQL")
            make = [_program("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "airflow"]
            wait_for(lambda: subprocess.run(make, capture_output=True).returncode == 0, 10, "createdb")
            yield f"postgres@127.0.0.1:{port}/airflow"
        finally:
            stop([process])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    """Find a program; Debian keeps those of PostgreSQL's server outside PATH."""
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    if found is None:
        raise RuntimeError(f"{name} is not installed. On Debian or Ubuntu: {INSTALL}")
    return found


def _start(command: Sequence[str], folder: Path, *, user: str | None = None) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        command,
        user=user,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for_port(process: subprocess.Popen[Any], port: int, name: str) -> None:
    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}.")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    wait_for(listens, READY_SECONDS, f"{name} on port {port}", RuntimeError)
