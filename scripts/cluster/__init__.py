"""An Airflow cluster on this machine: CeleryExecutor, Redis, PostgreSQL, two workers, two triggerers."""
