"""An Airflow of this checkout's own: its environment and its database.

Nothing of the user's Airflow is read or touched, and no key of the user's gets in unless it is handed in.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
DAGS = ROOT / "dags"
OUT = ROOT / "out"


def environment(home: Path, dags_folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Return the environment for an Airflow in `home`: the caller's without its Airflow settings and Hedra key.

    :param home: Becomes AIRFLOW_HOME.
    :param dags_folder: Where the DAG files are.
    :param extra: Wins over everything.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIRFLOW") and name != "HEDRA_API_KEY"
    }
    bin_folder = str(Path(sys.executable).parent)
    no_proxy = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "127.0.0.1,localhost"]))
    return {
        **kept,
        # The scheduler starts `airflow` by name.
        "PATH": os.pathsep.join([bin_folder, kept.get("PATH", os.defpath)]),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        **(extra or {}),
    }


def migrate(home: Path, env: Mapping[str, str], log: Path) -> bool:
    """
    Bring the database in `home` up to this Airflow, unless it is known to be.

    :param log: Receives Airflow's words.
    :return: Whether there was something to do.
    :raises RuntimeError: If Airflow could not.
    """
    mark = home / ".migrated"
    current = version("apache-airflow-core")
    if mark.exists() and mark.read_text() == current:
        return False
    home.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(command, env=dict(env), stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`airflow db migrate` failed; see {log}. `make clean` starts again from nothing.")
    mark.write_text(current)
    return True
