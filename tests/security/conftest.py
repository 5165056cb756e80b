from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.sandbox.v3.models import VOICES

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

HOME = Path(os.environ["AIRFLOW_HOME"])
Run = Callable[[str], dict[str, str]]


class Elsewhere:
    """Another server: it answers everything with 404, and remembers all that it was sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen.append(f"{self.requestline}\n{self.headers}\n{body.decode('latin-1')}")
                answer = json.dumps({"detail": f"Who are you? You said {self.headers}"}).encode()
                self.send_response(404)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    other = Elsewhere()
    thread = threading.Thread(target=other.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield other
    other.server.shutdown()
    thread.join()
    other.server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a retry."""
    from hedra_provider.api.client import HedraClient

    real = HedraClient.__init__

    def hurried(self: HedraClient, api_key: str, **settings: Any) -> None:
        real(self, api_key, **{"sleep": lambda seconds: None} | settings)

    monkeypatch.setattr(HedraClient, "__init__", hurried)


@pytest.fixture(scope="session")
def security_dags(airflow_dags: Path) -> Path:
    """The folder of these tests' DAGs."""
    folder = airflow_dags / "security"
    shutil.copytree(Path(__file__).parent / "dags", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def all_dags(security_dags: Path) -> dict[str, Any]:
    """Their DAGs by id."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.0 and 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(str(security_dags))
    assert bag.import_errors == {}
    return dict(bag.dags)


@pytest.fixture
def run_dag(
    all_dags: dict[str, Any], hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
) -> Run:
    """Run a DAG as ``dag.test()`` does; return the states of its tasks."""

    def go(dag_id: str) -> dict[str, str]:
        found = all_dags[dag_id].test(run_conf={"folder": str(tmp_path), "voice_id": VOICES[0]["id"]})
        return {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in found.get_task_instances()}

    return go
