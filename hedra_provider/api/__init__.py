"""Hedra's HTTP API (v2) in plain Python. Nothing in this package knows Airflow."""
