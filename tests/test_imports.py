"""What importing does: it costs a DAG file little, and takes the default of ``deferrable`` from Airflow."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import hedra_provider

MODULES = [
    f"hedra_provider.{name}" for name in ("operators", "sensors", "triggers", "hooks", "provider_info")
]

PROBE = """
import json, sys
before = set(sys.modules)
{statement}
print("\\n" + json.dumps(sorted(set(sys.modules) - before)))
"""


def newly_loaded(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter; return the modules that it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(statement=statement)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


CHEAP = {f"hedra_provider.api{name}" for name in ("", ".errors", ".redaction")}
"""What DAG files may load of the API's package: together they cost a tenth of the budget of 60 ms, which
benchmarks/bench_import.py measures."""

BASELINE = "from airflow.sdk import DAG, BaseOperator, BaseSensorOperator"


def test_what_a_dag_file_imports_loads_neither_the_client_nor_the_sandbox():
    loaded = newly_loaded(f"import {', '.join(MODULES)}")
    assert loaded.issuperset(MODULES)
    assert {name for name in loaded if name.startswith("hedra_provider.api")} == CHEAP
    ours = tuple(f"hedra_provider.{name}" for name in ("polling", "sandbox", "testing", "transfer", "media"))
    paid = {
        f"hedra_provider.submission.{name}" for name in ("plan", "submit", "compare", "pricing", "budget")
    }
    assert loaded & paid == set()
    lineage = ("airflow.sdk.lineage", "airflow.lineage", "airflow.providers.common.compat.lineage")
    unwanted = (*ours, *lineage)
    assert sorted(name for name in loaded if name.startswith(unwanted)) == []


def test_operators_and_sensors_load_no_library_that_airflow_does_not():
    statements = (BASELINE, f"{BASELINE}; import hedra_provider.operators, hedra_provider.sensors")
    before, after = ({name.partition(".")[0] for name in newly_loaded(one)} for one in statements)
    assert after - before - sys.stdlib_module_names <= {"hedra_provider"}


def test_the_package_loads_nothing_but_itself():
    assert newly_loaded("import hedra_provider") == {"hedra_provider"}


def test_the_sandbox_may_import_no_module_that_is_there():
    about = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    (contract,) = [
        one
        for one in about["tool"]["importlinter"]["contracts"]
        if one.get("source_modules") == ["hedra_provider.sandbox"]
    ]
    modules = {f"hedra_provider.{one.name}" for one in pkgutil.iter_modules(hedra_provider.__path__)}
    assert set(contract["forbidden_modules"]) == modules - {"hedra_provider.sandbox"}


BY_DEFAULT = """
import json
from hedra_provider import operators, sensors

avatar = {"image": "face.png", "audio": "voice.wav"}
waits = {
    operators.HedraAvatarVideoOperator: avatar,
    operators.HedraGenerateOperator: {"request": {"type": "image"}},
    sensors.HedraGenerationSensor: {"generation_id": "an-id"},
    sensors.HedraCreditsSensor: {"minimum": 1},
}
made = {kind.__name__: kind(task_id="t", **arguments).deferrable for kind, arguments in waits.items()}
said = operators.HedraAvatarVideoOperator(task_id="t", deferrable=False, **avatar).deferrable
print("\\n" + json.dumps([made, said]))
"""


def test_operators_and_sensors_are_deferrable_by_airflows_configuration():
    # In a process of its own: the modules read it when they are imported.
    done = subprocess.run(
        [sys.executable, "-c", BY_DEFAULT],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"},
    )
    made, said_otherwise = json.loads(done.stdout.splitlines()[-1])
    assert set(made.values()) == {True}
    assert len(made) == 4
    assert said_otherwise is False
