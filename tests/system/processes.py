"""Which process talks to a sandbox, and how it dies. Processes are known by their sockets and their parents,
never by a name.
"""

from __future__ import annotations

import psutil


def worker_behind(port: int, scheduler_pid: int) -> tuple[psutil.Process, psutil.Process]:
    """
    Find the two processes of the task that holds a connection: its supervisor, and the runner of its code.

    :param port: The connection's port on the client's side, as the sandbox saw it.
    :param scheduler_pid: The scheduler that must be their ancestor.
    """
    owners = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.pid and connection.laddr and connection.laddr.port == port
    }
    for owner in owners:
        runner = psutil.Process(owner)
        ancestors = runner.parents()
        if scheduler_pid in [process.pid for process in ancestors]:
            return ancestors[0], runner
    raise LookupError(f"No worker of scheduler {scheduler_pid} holds port {port}; {owners} do.")


def kill(*processes: psutil.Process, seconds: float = 10.0) -> None:
    """End processes as a lost machine does, in this order, and wait until they are gone."""
    for process in processes:
        process.kill()
    deadline_passed = psutil.wait_procs(processes, timeout=seconds)[1]
    left = [process for process in deadline_passed if process.status() != psutil.STATUS_ZOMBIE]
    if left:
        raise RuntimeError(f"Still there after SIGKILL: {left}")
