"""Bytes between file objects and Hedra: nothing is lost, nothing is half. Knows no Airflow and no paths."""
