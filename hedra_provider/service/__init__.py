"""What Airflow's side needs of Hedra, for both versions of its API. Knows no Airflow."""
