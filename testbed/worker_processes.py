"""Which process runs a task, and how it dies. Processes are known by their sockets and their parents,
never by a name.
"""

from __future__ import annotations

from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # of Airflow


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


def kill_busy_worker(scheduler_pid: int, chance: float, how: str) -> bool:
    """
    End one of the busy workers by SIGKILL.

    :param scheduler_pid: The scheduler whose worker it is.
    :param chance: In [0, 1): which one.
    :param how: ``both``, ``supervisor`` or ``runner``, the process that runs the task's code.
    :return: Whether there was one.
    """
    with suppress(psutil.NoSuchProcess):
        busy = _busy_workers(scheduler_pid)
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


def _busy_workers(scheduler_pid: int) -> list[tuple[psutil.Process, psutil.Process]]:
    found = []
    for supervisor in psutil.Process(scheduler_pid).children():
        with suppress(psutil.NoSuchProcess):
            found += [
                (supervisor, runner)
                for runner in supervisor.children()
                if runner.status() != psutil.STATUS_ZOMBIE
            ]
    return sorted(found, key=lambda pair: int(pair[1].pid))
