"""A sandbox in a process of its own, for as long as a context lasts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.airflow_home import ROOT
from testbed.processes import stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class SandboxAddress:
    """How to reach a sandbox, as it said when it was ready."""

    base_url: str
    api_key: str
    connection: str
    """What AIRFLOW_CONN_HEDRA_DEFAULT takes."""
    base_url_v3: str | None = None
    """Base URL of API v3; None without it, as the two below."""
    api_key_v3: str | None = None
    connection_v3: str | None = None

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
                base_url_v3=said.get("base_url_v3"),
                api_key_v3=said.get("api_key_v3"),
                connection_v3=said.get("connection_v3"),
            )
        finally:
            stop([process])
