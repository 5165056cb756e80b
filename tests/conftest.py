"""What every test runs in: no key of the user's, and an Airflow home of its own."""

from __future__ import annotations

import os
import tempfile

# Airflow reads these once, at its first import: they are set before any test module imports it.
os.environ.pop("HEDRA_API_KEY", None)
for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_HEDRA")]:
    del os.environ[name]
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="hedra-tests-"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

pytest_plugins = ["hedra_provider.testing"]
