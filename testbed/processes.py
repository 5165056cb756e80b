"""Processes and ports on loopback: end a process group, find a free port, wait for a condition."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STOP_SECONDS = 20.0
POLL_SECONDS = 0.5


def stop(processes: Sequence[subprocess.Popen[Any]], timeout_seconds: float = STOP_SECONDS) -> None:
    """
    Ask processes, each the head of a group of its own, to end; kill the groups of those that do not.

    :param timeout_seconds: For all of them together.
    """
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + timeout_seconds
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        # Also what a head that ended left behind: a group keeps its number while it has members.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def free_port(preferred: int = 0) -> int:
    """Return a free port on loopback; the preferred one if it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise RuntimeError("There is no free port on 127.0.0.1.")


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
