"""Client processes of a benchmark: their output and their memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MIB = 1024 * 1024
SAMPLE_SECONDS = 0.005
TIMEOUT_SECONDS = 900.0


class Memory:
    """Samples the resident memory of a process from outside while the block lasts."""

    def __init__(self, pid: int) -> None:
        import psutil  # type: ignore[import-untyped]  # of Airflow

        self._process = psutil.Process(pid)
        self._gone: type[Exception] = psutil.NoSuchProcess
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.first_mib = self.peak_mib = self._now()

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.peak_mib = max(self.peak_mib, self._now())

    def _now(self) -> float:
        try:
            return round(float(self._process.memory_info().rss) / MIB, 1)
        except self._gone:
            return 0.0


def run_alone(command: Sequence[str]) -> dict[str, Any]:
    """Run a command; return its time and memory."""
    os.sync()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with bounded(process), Memory(process.pid) as memory:
        _, errors = process.communicate()
        seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed: {errors.strip()}")
    return {"seconds": round(seconds, 3), "peak_mib": memory.peak_mib, "above_idle_mib": None}


@contextmanager
def bounded(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process that takes too long. No process survives the block."""
    timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
    timer.start()
    with process:
        try:
            yield
        finally:
            timer.cancel()
            process.kill()


def read_until(process: subprocess.Popen[str], start: str, errors: Any) -> str:
    """Return the next line that starts with a text. Lines of Airflow's log are skipped."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return line
    errors.seek(0)
    words = errors.read().strip().splitlines() or ["it said nothing"]
    raise RuntimeError(f"The client process ended early: {words[-1]}")
