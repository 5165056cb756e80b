"""What importing costs a DAG file: the API client and the sandbox load when work starts, not before."""

from __future__ import annotations

import json
import subprocess
import sys

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


def test_what_a_dag_file_imports_loads_neither_the_client_nor_the_sandbox():
    loaded = newly_loaded(f"import {', '.join(MODULES)}")
    assert loaded.issuperset(MODULES)
    ours = ("hedra_provider.api", "hedra_provider.sandbox", "hedra_provider.testing")
    lineage = ("airflow.sdk.lineage", "airflow.lineage", "airflow.providers.common.compat.lineage")
    unwanted = (*ours, *lineage)
    assert sorted(name for name in loaded if name.startswith(unwanted)) == []


def test_the_package_loads_nothing_but_itself():
    assert newly_loaded("import hedra_provider") == {"hedra_provider"}
