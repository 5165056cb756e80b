"""The sandbox of `make airflow`, which a restart finds again: the same key, port and state.

Its connection is stored in Airflow, as a user's is: it is shown under Admin > Connections, and can be tested.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from testbed.processes import free_port
from testbed.sandbox_process import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.local_airflow import LocalAirflow
    from testbed.sandbox_process import SandboxAddress

CONNECTION_ID = "hedra_default"


def kept_key(file: Path) -> str:
    """
    Return the sandbox's API key: made once, and kept in a file that only its owner may read.

    :param file: Where it is kept.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    with os.fdopen(handle, "w") as opened:
        key = f"sandbox_{secrets.token_hex(16)}"
        opened.write(f"{key}\n")
    return key


@contextmanager
def kept_sandbox(home: Path, *, port: int, state: Path, seconds: float) -> Iterator[SandboxAddress]:
    """
    Run a sandbox that knows what the one before it knew, for as long as the context lasts.

    :param home: Where its key and its log are kept.
    :param port: Its port; another free one if it is taken.
    :param state: The file that keeps everything over a restart.
    :param seconds: How long it takes for a video.
    :raises RuntimeError: If it did not start, or another sandbox uses the state.
    """
    key = kept_key(home / "sandbox.key")
    # v3's key is made of the same secret: <id>:<secret>.
    half = len("sandbox_") + 16
    key_v3 = f"{key[len('sandbox_') : half]}:{key[half:]}"
    state.parent.mkdir(parents=True, exist_ok=True)
    with _alone(state):
        arguments = ["--port", str(free_port(port)), "--state", str(state), "--seconds", str(seconds)]
        keys = ("--api-key", key, "--api-key-v3", key_v3)
        with sandbox(*arguments, *keys, log=home / "sandbox.log") as address:
            yield address


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Lock a state file against a second sandbox. The system releases the lock when the process ends."""
    with state.with_name(f"{state.name}.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"Another `make airflow` runs with {state}. End that one first.") from None
        yield


def store_connection(
    airflow: LocalAirflow,
    address: SandboxAddress,
    conn_id: str = CONNECTION_ID,
    *,
    state_path: Path | None = None,
) -> bool:
    """
    Store the sandbox's connection in Airflow's database.

    :param airflow: A running Airflow.
    :param address: Where the sandbox listens, and its key.
    :param conn_id: The connection's id.
    :param state_path: Where submits of API v3 are recorded: the connection is for v3 then. Default: None, it
        is for v2.
    :return: Whether it is the sandbox's now. One that the user made lead elsewhere stays as it is: False.
    """
    base_url, key = address.base_url, address.api_key
    if state_path:
        base_url, key = str(address.base_url_v3), str(address.api_key_v3)
    url = httpx.URL(base_url)
    # A stored connection without a port can't be tested on Airflow 3.3.1 and 3.3.2.
    fields: dict[str, Any] = {"host": base_url, "port": url.port, "password": key}
    about = {"connection_id": conn_id, "conn_type": "hedra", "description": "The sandbox, a local Hedra"}
    try:
        stored = airflow.call("GET", f"/connections/{conn_id}")
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        airflow.call("POST", "/connections", about | fields | _extra("", state_path))
        return True
    if httpx.URL(stored["host"] or "").host != url.host:
        return False
    # Its extras may be the user's.
    fields |= _extra(stored.get("extra") or "", state_path)
    airflow.call("PATCH", f"/connections/{conn_id}", about | fields, update_mask=sorted(fields))
    return True


def _extra(stored: str, state_path: Path | None) -> dict[str, str]:
    """Return the field of the extras with ``state_path`` in it; none where it need not change."""
    extra = json.loads(stored or "{}")
    if state_path is None or "state_path" in extra:
        return {}
    return {"extra": json.dumps(extra | {"state_path": str(state_path)})}
