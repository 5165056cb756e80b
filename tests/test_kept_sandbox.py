"""The sandbox of `make airflow`: a restart finds the same key, port and generations."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

import pytest

from hedra_provider.api import calls
from hedra_provider.api.client import HedraClient
from scripts.kept_sandbox import kept_key, kept_sandbox
from scripts.local_airflow import HOME
from testbed.airflow_home import ROOT
from testbed.processes import free_port

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from testbed.sandbox_process import SandboxAddress


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path):
    file = tmp_path / "home" / "sandbox.key"
    key = kept_key(file)
    assert kept_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kept_key(tmp_path / "other.key") != key


def test_git_ignores_the_key():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert HOME.relative_to(ROOT).parts[0] == ".airflow"
    assert ".airflow*/" in ignored


def started(home: Path, port: int) -> AbstractContextManager[SandboxAddress]:
    return kept_sandbox(home, port=port, state=home / "sandbox.state", seconds=0.0)


def test_a_restart_finds_what_ran(tmp_path: Path):
    port = free_port()
    with started(tmp_path, port) as first, HedraClient(first.api_key, base_url=first.base_url) as client:
        voice = client.list_voices()[0]
        body = {"type": "text_to_speech", "voice_id": voice.id, "text": "Hello"}
        paid = client.run(calls.submit(body))
        with pytest.raises(RuntimeError, match="End that one first"), started(tmp_path, port):
            pass
    with started(tmp_path, port) as again, HedraClient(again.api_key, base_url=again.base_url) as client:
        assert again == first
        assert client.get_generation(paid.id).id == paid.id


def test_a_port_that_is_taken_is_replaced(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with started(tmp_path, taken.getsockname()[1]) as address:
            assert f":{taken.getsockname()[1]}/" not in address.base_url
