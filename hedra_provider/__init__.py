"""Apache Airflow provider for Hedra's video generation API (v2).

Importing this package imports nothing else: DAG files are parsed every few seconds.
"""

__version__ = "0.1.0"
