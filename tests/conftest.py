"""What every test runs in: no key of the user's, and an Airflow home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.media import png, wav

# Airflow reads these once, at its first import: they are set before any test module imports it.
for name in [name for name in os.environ if name.startswith("AIRFLOW") or name == "HEDRA_API_KEY"]:
    del os.environ[name]
HOME = tempfile.mkdtemp(prefix="hedra-tests-")
os.environ["AIRFLOW_HOME"] = HOME
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = f"{HOME}/dags"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"

pytest_plugins = ["hedra_provider.testing"]

MORTAL = tuple(f"tests/system/test_{name}.py" for name in ("clears", "crashes", "many_texts", "paid_once"))
IMMORTAL = "tests/system/test_real_airflow.py"
# What their first test makes takes seconds: the database and the API of DAGs in this process, an S3.
TOGETHER = {
    "tests/security/test_foreign_rows.py": "dags",
    "tests/security/test_secrets_of_runs.py": "dags",
    "tests/security/test_secrets_of_runs_v3.py": "dags",
    "tests/storage/test_object_storage.py": "s3",
}


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client repeat without waiting."""
    from hedra_provider.api.client import HedraClient

    monkeypatch.setitem(HedraClient.__init__.__kwdefaults__, "sleep", lambda seconds: None)


@pytest.fixture
def portrait(tmp_path: Path) -> str:
    """Path of a picture."""
    path = tmp_path / "portrait.png"
    path.write_bytes(png())
    return str(path)


@pytest.fixture
def voice(tmp_path: Path) -> str:
    """Path of a recording of a second."""
    path = tmp_path / "voice.wav"
    path.write_bytes(wav(1.0))
    return str(path)


@pytest.fixture(scope="session")
def airflow_dags() -> Path:
    """The DAGs folder of this test process's Airflow, whose database is there."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    return Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let those tests that share an Airflow, or what is dear to make, go to one worker of `make test`."""
    from xdist.scheduler import LoadScopeScheduling

    class ByAirflow(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(MORTAL):
                return "mortal"
            if nodeid.startswith(IMMORTAL):
                return "immortal"
            return TOGETHER.get(nodeid.partition("::")[0], nodeid)

    return ByAirflow(config, log)
