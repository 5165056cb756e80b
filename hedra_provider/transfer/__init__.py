"""Transfer files between file objects and Hedra, whole or not at all. Knows no Airflow and no paths."""
